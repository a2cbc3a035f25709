//! The pool: contents of files, each once, whatever layers and images they came in.
//!
//! ```text
//! pool/xx/<20 characters>     the bytes; mode 0400; xx: one byte of the id in hexadecimal, then
//!                             fifteen in base64url
//! xattr user.lamina.object    id (32)  batch (8)  1 if the id is that of a file with holes (1)
//! ```
//! A name has 128 bits of the id: with its slashes it is 24 bytes long, the longest that overlayfs
//! keeps inside an ext4 inode as a redirect. The whole id is compared on every hit.
//!
//! An object is written without a name and then linked, so a name always has the whole content; it
//! is immutable. It is leased by its key before its existence is relied on, and held by the index
//! of every layer that refers to it. Objects are not synced one by one: each batch of new ones has
//! a marker in `unsynced/` until the next sync, and after a power cut what was of a marked batch
//! is hashed again and dropped if it is not what it was (see `sync.rs`).

mod check;
mod writer;

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use lamina_fs::{At, PathError};
use lamina_layer::ObjectId;
use lamina_types::ErrorKind;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

pub(crate) use check::drop_suspects;
pub(crate) use check::{Found, Seal};
pub use writer::PoolWriter;

use crate::area::Area;
use crate::ops::OpError;
use crate::store::Store;
use crate::sync::SyncError;

/// The pool of a store.
#[derive(Debug, Clone, Copy)]
pub struct Pool<'s>(pub(crate) &'s Store);

/// What an object's file is called: the first 128 bits of its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey([u8; 16]);

impl ObjectKey {
    /// Returns the file's path below the pool, `xx/<20 characters>`: what a redirect to it is,
    /// after a slash.
    pub fn path(&self) -> String {
        let (first, rest) = self.0.split_at(1);
        let (first, rest) = (HEXLOWER.encode(first), BASE64URL_NOPAD.encode(rest));
        format!("{first}/{rest}")
    }

    /// Reads the two parts of a path below the pool.
    pub(crate) fn parse(folder: &str, name: &str) -> Option<Self> {
        let first = HEXLOWER.decode(folder.as_bytes()).ok()?;
        let rest = BASE64URL_NOPAD.decode(name.as_bytes()).ok()?;
        let bytes: [u8; 16] = [first, rest].concat().try_into().ok()?;
        (folder.len() == 2).then_some(Self(bytes))
    }
}

impl From<&ObjectId> for ObjectKey {
    fn from(id: &ObjectId) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&id.as_bytes()[..16]);
        Self(key)
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let key = bytes.and_then(|bytes| bytes.try_into().ok()).map(Self);
        key.ok_or(text)
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        HEXLOWER.encode(&key.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Why an object could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A file could not be made or read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The object could not be leased.
    #[error(transparent)]
    Lease(#[from] OpError),
    /// A store lock could not be taken.
    #[error(transparent)]
    Lock(#[from] lamina_fs::LockError),
    /// Another content has the same name: a collision of 128 bits, or damage.
    #[error("{} is object {found} where {expected} should be", path.display())]
    Collision {
        /// The file.
        path: PathBuf,
        /// What is wanted.
        expected: Box<ObjectId>,
        /// What is there.
        found: Box<ObjectId>,
    },
}

impl PoolError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Collision { .. } => ErrorKind::DataLoss,
        }
    }
}

impl From<PoolError> for SyncError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Path(error) => Self::Path(error),
            PoolError::Lock(error) => Self::Lock(error),
            other => Self::Pool(Box::new(other)),
        }
    }
}

impl Pool<'_> {
    /// Returns the folder: the data-only layer of overlay mounts.
    pub fn path(&self) -> PathBuf {
        self.0.path(Area::Pool)
    }

    /// Opens an object for reading, `None` if it is not here; its bytes are not hashed again.
    ///
    /// Leased by the caller, as everything whose existence is relied on.
    pub fn open(&self, id: &ObjectId) -> Result<Option<File>, PoolError> {
        let path = ObjectKey::from(id).path();
        let file = match self.0.dir(Area::Pool)?.open_file(&path, OFlags::RDONLY) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        match Seal::of(&file).at("read", self.path().join(&path))? {
            Some(seal) if seal.id == *id => Ok(Some(file)),
            Some(seal) => Err(PoolError::Collision {
                path: self.path().join(path),
                expected: Box::new(*id),
                found: Box::new(seal.id),
            }),
            None => Ok(None),
        }
    }

    /// Returns whether the object is here, `size` bytes long.
    pub fn contains(&self, id: &ObjectId, size: u64) -> Result<bool, PoolError> {
        Ok(matches!(self.find(id, size)?, Found::Here { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_24_bytes_as_a_redirect_and_read_back() {
        let id = ObjectId::of(b"content");
        let key = ObjectKey::from(&id);
        let path = key.path();
        assert_eq!(path.len() + 1, 24);
        let (folder, name) = path.split_once('/').unwrap();
        assert_eq!(ObjectKey::parse(folder, name), Some(key));
        assert_eq!(ObjectKey::parse("a", name), None);
        assert_eq!(ObjectKey::parse(folder, "short"), None);
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<ObjectKey>(&text).unwrap(), key);
        assert!(serde_json::from_str::<ObjectKey>("\"00\"").is_err());
    }
}
