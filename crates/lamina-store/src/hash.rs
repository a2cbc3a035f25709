//! SHA-256 and SHA-512 behind one face, chosen by the digest that is to be compared.

use std::io::{self, Read};

use lamina_types::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

/// A running hash.
#[derive(Debug, Clone)]
pub struct Hasher(Running);

#[derive(Debug, Clone)]
enum Running {
    // Instructions of the CPU are used where it has them.
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Returns a hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Running::Sha256(Sha256::new()),
            Algorithm::Sha512 => Running::Sha512(Box::new(Sha512::new())),
        })
    }

    /// Returns a SHA-256 of nothing yet.
    pub fn sha256() -> Self {
        Self::new(Algorithm::Sha256)
    }

    /// Returns a hash of nothing yet, of the algorithm of `expected`.
    pub fn like(expected: &Digest) -> Self {
        Self::new(expected.algorithm())
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Running::Sha256(hash) => hash.update(bytes),
            Running::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Adds what `reader` has, to its end; returns how many bytes that were.
    pub fn update_from(&mut self, mut reader: impl Read) -> io::Result<u64> {
        let mut buffer = vec![0; 256 << 10];
        let mut total = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(read) => {
                    self.update(&buffer[..read]);
                    total += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the digest of everything that was added.
    pub fn finish(self) -> Digest {
        match self.0 {
            Running::Sha256(hash) => Digest::from_sha256(hash.finalize().into()),
            Running::Sha512(hash) => Digest::from_sha512(hash.finalize().into()),
        }
    }

    /// Returns the digest of `bytes`.
    pub fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}
