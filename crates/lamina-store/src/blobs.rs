//! Blobs: immutable bytes named by their digest, in `oci/blobs/<alg>/<hex>`.
//!
//! ```text
//! put      small documents: written whole, synced, linked into place
//! fetch    downloads: partial/<alg>-<hex> grows, is verified, marked as not synced, renamed into
//!          place; synced with the image (see `sync.rs`)
//! ```
//! A name in `blobs/` therefore always has the right bytes, also after a power cut, as far as the
//! disk keeps them: of what was not synced then the next open drops the names. [`Blobs::read`] hashes again; [`Blobs::open`] does not.

mod partial;
mod release;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use lamina_fs::{At, Dir, Durability, Lock, LockError, PathError};
use lamina_types::{Algorithm, Digest, ErrorKind};
use rustix::fs::{Mode, OFlags};

pub use partial::Partial;

use crate::area::Area;
use crate::hash::Hasher;
use crate::lock::{self, Waiting};
use crate::ops::{Line, OpError, Operation};
use crate::store::Store;
use crate::sync::{self, Unsynced};

/// The blobs of a store.
#[derive(Debug, Clone, Copy)]
pub struct Blobs<'s>(pub(crate) &'s Store);

/// What [`Blobs::fetch`] found.
#[derive(Debug)]
pub enum Fetch {
    /// The blob is here, and leased by the operation.
    Here,
    /// The caller is the one who downloads it.
    Missing(Box<Partial>),
}

/// Why a blob could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A file could not be opened, read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Somebody else is downloading the blob and the caller gave up waiting.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The blob could not be leased.
    #[error(transparent)]
    Lease(#[from] OpError),
    /// The bytes have another length than was announced.
    #[error("blob {digest} has {found} bytes instead of {expected}")]
    Size {
        /// The blob.
        digest: Digest,
        /// The announced length.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// The bytes do not hash to the digest.
    #[error("blob {expected} has content with digest {found}")]
    Digest {
        /// The name.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
}

impl BlobError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            Self::Size { .. } | Self::Digest { .. } => ErrorKind::DataLoss,
        }
    }
}

impl Blobs<'_> {
    /// Returns whether the blob is here.
    pub fn contains(&self, digest: &Digest) -> Result<bool, PathError> {
        self.dir(digest)?.exists(digest.hex())
    }

    /// Returns the blob's length, `None` if it is not here.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, PathError> {
        match self.dir(digest)?.stat(digest.hex()) {
            Ok(stat) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns where the blob is or would be, for messages and other tools.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.0.path(area(digest)).join(digest.hex())
    }

    /// Opens the blob for reading; its bytes are not hashed again.
    pub fn open(&self, digest: &Digest) -> Result<File, PathError> {
        self.dir(digest)?.open_file(digest.hex(), OFlags::RDONLY)
    }

    /// Reads a document of at most `limit` bytes and hashes it again: for manifests and
    /// configurations, whose every use is checked.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, BlobError> {
        let bytes = self.dir(digest)?.read(digest.hex(), limit)?;
        let found = Hasher::digest_of(digest.algorithm(), &bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(BlobError::Digest {
                expected: digest.clone(),
                found,
            })
        }
    }

    /// Stores a document under its SHA-256, leased by `op`. Idempotent; durable on return.
    pub fn put(&self, op: &Operation, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Hasher::digest_of(Algorithm::Sha256, bytes);
        self.put_as(op, &digest, bytes)?;
        Ok(digest)
    }

    /// Stores a document under a digest that is known beforehand and is checked here.
    pub fn put_as(&self, op: &Operation, digest: &Digest, bytes: &[u8]) -> Result<(), BlobError> {
        let found = Hasher::digest_of(digest.algorithm(), bytes);
        if found != *digest {
            return Err(BlobError::Digest {
                expected: digest.clone(),
                found,
            });
        }
        op.lease(&[Line::Blob(digest.clone())])?;
        let dir = self.dir(digest)?;
        // A file of the right name and length is believed unless its content is wrong: then it is
        // replaced, which repairs a damaged store.
        if dir.exists(digest.hex())? && self.read(digest, bytes.len() as u64).is_ok() {
            return Ok(());
        }
        Ok(dir.replace(digest.hex(), bytes, 0o444, Durability::Durable)?)
    }

    /// Leases the blob and looks whether it is here; if not, becomes the one who downloads it.
    ///
    /// Of several processes one gets [`Fetch::Missing`]; the others wait, told by `wait` at every
    /// tick, and find it or take over where the first was killed. The caller may hold the lock of
    /// no other blob with a greater digest.
    pub fn fetch(
        &self,
        op: &Operation,
        digest: &Digest,
        size: u64,
        wait: Waiting<'_>,
    ) -> Result<Fetch, BlobError> {
        op.lease(&[Line::Blob(digest.clone())])?;
        if self.whole(digest, size)? {
            return Ok(Fetch::Here);
        }
        let lock = lock::blob(self.0, digest, wait)?;
        if self.whole(digest, size)? {
            retire(self.0, digest, lock);
            return Ok(Fetch::Here);
        }
        Ok(Fetch::Missing(Box::new(Partial::open(
            self.0, digest, size, lock,
        )?)))
    }

    /// Lets go of a partial download that somebody left who was killed after its layer was
    /// published; not of one that somebody is at.
    pub fn discard_left(&self, digest: &Digest) -> Result<(), BlobError> {
        let (dir, name) = (self.0.dir(Area::Partial)?, partial::name(digest));
        if dir.exists(&name)?
            && let Some(lock) = lock::try_blob(self.0, digest)?
        {
            match dir.unlink(&name) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => retire(self.0, digest, lock),
            }
        }
        Ok(())
    }

    /// Opens a file without a name on the store's filesystem, for [`Blobs::adopt`]. It vanishes
    /// with its descriptor.
    pub fn unnamed(&self) -> Result<File, PathError> {
        self.0.dir(Area::BlobsSha256)?.unnamed_file(0o600)
    }

    /// Makes a file of [`Blobs::unnamed`] the blob `digest`, leased by `op`. The caller has hashed
    /// its content. Idempotent; visible on return, on the disk after the next [`Store::sync`].
    pub fn adopt(&self, op: &Operation, file: &File, digest: &Digest) -> Result<(), BlobError> {
        op.lease(&[Line::Blob(digest.clone())])?;
        let path = self.path(digest);
        let size = file.metadata().at("stat", &path)?.len();
        if self.whole(digest, size)? {
            return Ok(());
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(0o444)).at("set the mode of", &path)?;
        let _lock = self.0.lock_shared().map_err(OpError::from)?;
        sync::mark(self.0, &Unsynced::blob(digest))?;
        match self.dir(digest)?.publish(file, digest.hex()) {
            // Another upload of the same was first.
            Err(error) if error.is_already_exists() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Moves a blob whose content has proved wrong out of the way, so that it is fetched again.
    pub fn drop_damaged(&self, digest: &Digest) -> Result<(), PathError> {
        self.0.trash(self.dir(digest)?, digest.hex()).map(drop)
    }

    /// Returns whether the blob is here with the announced length; one of another length is a lie
    /// of whoever announced it, not a reason to download.
    fn whole(&self, digest: &Digest, size: u64) -> Result<bool, BlobError> {
        match self.size(digest)? {
            None => Ok(false),
            Some(found) if found == size => Ok(true),
            Some(found) => Err(BlobError::Size {
                digest: digest.clone(),
                expected: size,
                found,
            }),
        }
    }

    pub(crate) fn dir(&self, digest: &Digest) -> Result<&Dir, PathError> {
        self.0.dir(area(digest))
    }
}

/// Ends the life of a blob's lock file, its blob being here or not wanted any more.
fn retire(store: &Store, digest: &Digest, held: Lock) {
    lock::retire(store, &lock::blob_name(digest));
    drop(held);
}

pub(crate) fn area(digest: &Digest) -> Area {
    match digest.algorithm() {
        Algorithm::Sha256 => Area::BlobsSha256,
        Algorithm::Sha512 => Area::BlobsSha512,
    }
}

/// Writes all of `bytes` at the end of a partial download.
fn append(mut file: &File, bytes: &[u8], path: &PathBuf) -> Result<(), PathError> {
    file.write_all(bytes).at("write", path)
}
