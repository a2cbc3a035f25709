//! SHA-256 and SHA-512 behind one face, chosen by the digest that is to be compared.

use std::io::{self, Read};

use lamina_types::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

/// A running hash.
#[derive(Debug, Clone)]
pub(crate) enum Hasher {
    /// SHA-256; instructions of the CPU are used where it has them.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Returns a hash of nothing yet, of the algorithm of `expected`.
    pub(crate) fn like(expected: &Digest) -> Self {
        match expected.algorithm() {
            Algorithm::Sha256 => Self::sha256(),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Returns a SHA-256 of nothing yet.
    pub(crate) fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Returns the digest of everything that was added.
    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_sha256(hash.finalize().into()),
            Self::Sha512(hash) => Digest::from_sha512(hash.finalize().into()),
        }
    }
}

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
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hash.finish()),
            Ok(count) => hash.update(&buffer[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
