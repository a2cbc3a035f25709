//! Digests of what is at hand.

use std::io::{self, Read};

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
