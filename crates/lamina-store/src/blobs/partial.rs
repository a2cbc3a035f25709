//! A download that is not complete: `partial/<alg>-<hex>`, kept over crashes and cancellations.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use lamina_fs::{At, Durability, Lock, PathError};
use lamina_types::Digest;
use rustix::fs::{Mode, OFlags};

use super::{BlobError, append, area, retire};
use crate::area::Area;
use crate::hash::Hasher;
use crate::store::Store;
use crate::sync::{self, Unsynced};

/// The one download of a blob that is running, on this machine.
///
/// Holds the blob's lock. Dropping it keeps what has arrived; the next [`Blobs::fetch`] goes on
/// from there, having hashed it again.
///
/// [`Blobs::fetch`]: super::Blobs::fetch
#[derive(Debug)]
pub struct Partial {
    store: Store,
    digest: Digest,
    expected: u64,
    name: String,
    file: File,
    len: u64,
    hasher: Hasher,
    lock: Lock,
}

impl Partial {
    /// Opens what has arrived so far and hashes it.
    pub(super) fn open(
        store: &Store,
        digest: &Digest,
        expected: u64,
        lock: Lock,
    ) -> Result<Self, BlobError> {
        let name = name(digest);
        let dir = store.dir(Area::Partial)?;
        let path = dir.path().join(&name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o600);
        let fd = rustix::fs::openat(dir, &name, flags, mode).at("open", &path)?;
        let file = File::from(fd);
        let mut hasher = Hasher::new(digest.algorithm());
        let mut len = hasher.update_from(&file).at("read", &path)?;
        if len > expected {
            file.set_len(0).at("truncate", &path)?;
            hasher = Hasher::new(digest.algorithm());
            len = 0;
        }
        let mut partial = Self {
            store: store.clone(),
            digest: digest.clone(),
            expected,
            name,
            file,
            len,
            hasher,
            lock,
        };
        partial.seek_to_end()?;
        Ok(partial)
    }

    /// Returns the blob's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns how many bytes have arrived: where a ranged request goes on.
    #[expect(
        clippy::len_without_is_empty,
        reason = "it is a position, not a container"
    )]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns the announced length.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// Opens what has arrived for reading from the start, by a descriptor of its own: what a
    /// resumed download feeds its unpacker first.
    pub fn reader(&self) -> Result<File, PathError> {
        let dir = self.store.dir(Area::Partial)?;
        dir.open_file(&self.name, OFlags::RDONLY)
    }

    /// Appends bytes and hashes them. More bytes than were announced are an error at once.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let len = self.len + bytes.len() as u64;
        if len > self.expected {
            return Err(self.wrong_size(len));
        }
        append(&self.file, bytes, &self.path())?;
        self.hasher.update(bytes);
        self.len = len;
        Ok(())
    }

    /// Throws away what has arrived: for a server that ignores ranges.
    pub fn restart(&mut self) -> Result<(), BlobError> {
        self.file.set_len(0).at("truncate", self.path())?;
        self.hasher = Hasher::new(self.digest.algorithm());
        self.len = 0;
        Ok(self.seek_to_end()?)
    }

    /// Verifies length and digest and publishes the blob.
    ///
    /// Visible to everybody on return, on the disk after the next [`Store::sync`] (which setting a
    /// ref does); a power cut before that makes it absent.
    ///
    /// A wrong digest throws the bytes away, so that the next attempt starts anew; too few bytes
    /// are kept, so that it goes on.
    pub fn finish(self) -> Result<(), BlobError> {
        self.verify()?;
        let path = self.path();
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o444)).at("set the mode of", &path)?;
        let partial = self.store.dir(Area::Partial)?;
        let blobs = self.store.dir(area(&self.digest))?;
        {
            let _lock = self.store.lock_shared()?;
            sync::mark(&self.store, &Unsynced::blob(&self.digest))?;
            partial.rename_to(&self.name, blobs, self.digest.hex(), Durability::Volatile)?;
        }
        retire(&self.store, &self.digest, self.lock);
        Ok(())
    }

    /// Verifies length and digest as [`Partial::finish`] does, and publishes nothing.
    pub fn verify(&self) -> Result<(), BlobError> {
        if self.len != self.expected {
            return Err(self.wrong_size(self.len));
        }
        let found = self.hasher.clone().finish();
        if found != self.digest {
            self.store.dir(Area::Partial)?.unlink(&self.name)?;
            return Err(BlobError::Digest {
                expected: self.digest.clone(),
                found,
            });
        }
        Ok(())
    }

    /// Lets go of a blob that nobody keeps, once what was made of it is published: what of it has
    /// not reached the disk yet never does, which is most of it where the network is fast.
    ///
    /// Who waits for the blob finds what was made of it, or becomes the one who downloads it.
    pub fn discard(self) -> Result<(), BlobError> {
        self.store.dir(Area::Partial)?.unlink(&self.name)?;
        retire(&self.store, &self.digest, self.lock);
        Ok(())
    }

    fn seek_to_end(&mut self) -> Result<(), PathError> {
        let path = self.path();
        let end = SeekFrom::Start(self.len);
        self.file.seek(end).map(drop).at("seek", path)
    }

    fn path(&self) -> PathBuf {
        self.store.path(Area::Partial).join(&self.name)
    }

    fn wrong_size(&self, found: u64) -> BlobError {
        BlobError::Size {
            digest: self.digest.clone(),
            expected: self.expected,
            found,
        }
    }
}

/// What a blob's partial download is called.
pub(super) fn name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// Appends as [`Partial::append`]; the [`BlobError`] is inside the I/O error.
impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
