//! What a file's content is called.

use std::fmt;

use lamina_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::tar::SparsePart;

/// The name of a content: the SHA-256 of a file's bytes.
///
/// Of a file with holes it is the SHA-256 over its map and the bytes it stores
/// ([`ObjectId::sparse`]): hashing holes of terabytes is work that a tar of one kilobyte could ask
/// for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 32]);

impl ObjectId {
    /// Returns the id with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the id of a file that has `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the id of a file with holes: `size` bytes long, with `stored` (by its own id) in
    /// `parts`.
    pub fn sparse(size: u64, parts: &[SparsePart], stored: Self) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"lamina sparse file 1\0");
        hash.update(size.to_le_bytes());
        hash.update((parts.len() as u64).to_le_bytes());
        for part in parts {
            hash.update(part.offset.to_le_bytes());
            hash.update(part.length.to_le_bytes());
        }
        hash.update(stored.0);
        Self(hash.finalize().into())
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the id as a digest; for a file with holes, of no bytes that exist as such.
    pub fn digest(&self) -> Digest {
        Digest::from_sha256(self.0)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A reference from a tar to a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRef {
    /// The content.
    pub id: ObjectId,
    /// How many bytes the tar stores of it: the file's length, less than it for one with holes.
    pub stored: u64,
}
