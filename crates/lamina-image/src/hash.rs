//! Digests of what is at hand.

use std::io::{self, Read, Write};

use lamina_store::Hasher;
use lamina_types::Digest;

/// Returns the digest of `bytes` by the algorithm of `expected`.
pub(crate) fn digest_like(expected: &Digest, bytes: &[u8]) -> Digest {
    let mut hash = Hasher::like(expected);
    hash.update(bytes);
    hash.finish()
}

/// Returns the SHA-256 digest of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let mut hash = Hasher::sha256();
    hash.update(bytes);
    hash.finish()
}

/// Returns the digest of what `reader` has, by the algorithm of `expected`.
pub(crate) fn digest_of_file(expected: &Digest, reader: &mut impl Read) -> io::Result<Digest> {
    read_into(Hasher::like(expected), reader)
}

/// Returns the SHA-256 digest of what `reader` has.
pub(crate) fn sha256_of(reader: &mut impl Read) -> io::Result<Digest> {
    read_into(Hasher::sha256(), reader)
}

fn read_into(mut hash: Hasher, reader: &mut impl Read) -> io::Result<Digest> {
    hash.update_from(reader)?;
    Ok(hash.finish())
}

/// A writer that hashes and counts what passes.
pub(crate) struct Hashing<W> {
    inner: W,
    hash: Hasher,
    size: u64,
}

impl<W: Write> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Hasher::sha256(),
            size: 0,
        }
    }

    /// Returns the digest of what was written, and its length.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (self.hash.finish(), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
