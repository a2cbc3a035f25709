//! Removing in two steps: rename away at once, unlink later.
//!
//! Unlinking a tree takes seconds, and on some filesystems it slows down the creation of files
//! that follows; renaming takes microseconds and is atomic.

use std::ffi::{OsStr, OsString};

use data_encoding::HEXLOWER;
use lamina_fs::{At, Dir, Durability, PathError, RemoveError};
use lamina_types::ErrorKind;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::area::Area;
use crate::store::Store;

/// What [`Store::empty_trash`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Emptied {
    /// How many entries were unlinked.
    pub removed: usize,
    /// Whether another process was doing the same, and nothing was done here.
    pub busy: bool,
}

/// Why something could not be moved to the trash or unlinked.
#[derive(Debug, thiserror::Error)]
pub enum TrashError {
    /// A rename or a listing failed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Part of an entry could not be unlinked; the rest of the trash was.
    #[error(transparent)]
    Remove(#[from] RemoveError),
}

impl TrashError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Remove(error) => error.kind(),
        }
    }
}

impl Store {
    /// Renames `name` in `dir` into the trash; a missing name is no error. Returns its name there.
    ///
    /// Atomic and idempotent: whoever looks sees the whole entry or none.
    pub fn trash(&self, dir: &Dir, name: impl AsRef<OsStr>) -> Result<Option<OsString>, PathError> {
        let trash = self.dir(Area::Trash)?;
        let to = OsString::from(random_name());
        match dir.rename_to(name, trash, &to, Durability::Volatile) {
            Ok(()) => Ok(Some(to)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renames `name` in `dir` into the trash and unlinks it there: for what is known to be small.
    ///
    /// What a killed process leaves is unlinked by the next [`Store::empty_trash`].
    pub fn discard(&self, dir: &Dir, name: impl AsRef<OsStr>) -> Result<bool, TrashError> {
        match self.trash(dir, name)? {
            Some(trashed) => {
                self.dir(Area::Trash)?.remove_tree(&trashed)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Unlinks everything in the trash; goes on after a failure and returns the first.
    ///
    /// Slow and without locks: meant for the end of a command, after its result is shown. One
    /// process does it at a time, others return at once.
    pub fn empty_trash(&self) -> Result<Emptied, TrashError> {
        let trash = self.dir(Area::Trash)?;
        // A descriptor of its own: the flock of a shared one would not exclude our own threads.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let guard =
            rustix::fs::openat(trash, ".", flags, Mode::empty()).at("open", trash.path())?;
        match rustix::fs::flock(&guard, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Ok(Emptied {
                    removed: 0,
                    busy: true,
                });
            }
            Err(error) => Err(error).at("lock", trash.path())?,
        }
        let mut emptied = Emptied::default();
        let mut first = None;
        for entry in trash.entries()? {
            match trash.remove_tree(&entry.name) {
                Ok(()) => emptied.removed += 1,
                Err(error) => first = first.or(Some(error)),
            }
        }
        match first {
            Some(error) => Err(error.into()),
            None => Ok(emptied),
        }
    }
}

/// Returns a name that nothing else has: 128 random bits.
pub(crate) fn random_name() -> String {
    let mut bytes = [0_u8; 16];
    // Before the kernel's generator is ready the call waits, and it cannot fail otherwise.
    getrandom::fill(&mut bytes).expect("getrandom(2) fills 16 bytes");
    HEXLOWER.encode(&bytes)
}
