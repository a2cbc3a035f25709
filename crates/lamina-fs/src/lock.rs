//! Advisory locks with one order and a bounded wait.
//!
//! A lock is `flock` on a close-on-exec descriptor, so the kernel drops it with its process. The
//! holder's pid is in the file, for the message of whoever gives up waiting. The file may be
//! unlinked by anybody at any time: a lock counts only if, once taken, the name still leads to the
//! locked inode.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{io, thread};

use lamina_types::ErrorKind;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::{At, Dir, PathError};

/// The engine's lock order: while a thread holds a lock it may wait only for locks of a later
/// rank, or of the same rank with a greater name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// What has been removed and can be brought back: undoing, and ending its time.
    Removed,
    /// One container.
    Container,
    /// The names of volumes: shared by who begins to use one, exclusive for who takes one away.
    Volume,
    /// One blob being fetched.
    Blob,
    /// One layer being unpacked.
    Layer,
    /// The store: shared by readers and leases, exclusive for a batch of the collector.
    Store,
    /// The index of references.
    RefIndex,
    /// One network.
    Network,
}

/// A lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file could not be opened or locked.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Somebody held the lock for the whole wait.
    #[error("lock {}: held by {holder} for {} s", path.display(), waited.as_secs())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as "process 123".
        holder: String,
        /// How long we waited.
        waited: Duration,
    },
}

impl LockError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Held { .. } => ErrorKind::Timeout,
        }
    }
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
#[must_use = "a lock is held only as long as the value lives"]
pub struct Lock {
    fd: OwnedFd,
    #[cfg(debug_assertions)]
    _order: order::Held,
}

impl Lock {
    /// How long a wait lasts unless the caller says otherwise.
    pub const PATIENCE: Duration = Duration::from_secs(60);

    /// Waits for the only lock on `name` in `dir` (the file is made if it is missing).
    pub fn exclusive(dir: &Dir, name: impl AsRef<OsStr>, rank: Rank) -> Result<Self, LockError> {
        Self::wait(dir, name.as_ref(), rank, Kind::Exclusive, Self::PATIENCE)
    }

    /// Waits for a lock on `name` that other shared holders may have too.
    pub fn shared(dir: &Dir, name: impl AsRef<OsStr>, rank: Rank) -> Result<Self, LockError> {
        Self::wait(dir, name.as_ref(), rank, Kind::Shared, Self::PATIENCE)
    }

    /// As [`Lock::exclusive`], giving up after `patience`.
    pub fn exclusive_within(
        dir: &Dir,
        name: impl AsRef<OsStr>,
        rank: Rank,
        patience: Duration,
    ) -> Result<Self, LockError> {
        Self::wait(dir, name.as_ref(), rank, Kind::Exclusive, patience)
    }

    /// As [`Lock::shared`], giving up after `patience`.
    pub fn shared_within(
        dir: &Dir,
        name: impl AsRef<OsStr>,
        rank: Rank,
        patience: Duration,
    ) -> Result<Self, LockError> {
        Self::wait(dir, name.as_ref(), rank, Kind::Shared, patience)
    }

    /// Takes the lock if nobody has it; `None` if somebody does. Never waits, so any order is
    /// allowed.
    pub fn try_exclusive(
        dir: &Dir,
        name: impl AsRef<OsStr>,
        rank: Rank,
    ) -> Result<Option<Self>, LockError> {
        let name = dir.name("lock", name.as_ref())?;
        let taken = attempt(dir, name, Kind::Exclusive)?;
        Ok(taken.map(|fd| Self::new(fd, rank, name)))
    }

    fn wait(
        dir: &Dir,
        name: &OsStr,
        rank: Rank,
        mode: Kind,
        patience: Duration,
    ) -> Result<Self, LockError> {
        let name = dir.name("lock", name)?;
        #[cfg(debug_assertions)]
        order::assert_may_wait(rank, name);
        let start = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(fd) = attempt(dir, name, mode)? {
                return Ok(Self::new(fd, rank, name));
            }
            let waited = start.elapsed();
            if waited >= patience {
                let path = dir.path().join(name);
                return Err(LockError::Held {
                    path,
                    holder: holder(dir, name),
                    waited,
                });
            }
            // flock has no timeout and a signal would need a handler: poll, soon at first.
            thread::sleep(pause.min(patience.saturating_sub(waited)));
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }

    #[cfg_attr(
        not(debug_assertions),
        expect(unused_variables, reason = "the order is checked in debug builds")
    )]
    fn new(fd: OwnedFd, rank: Rank, name: &OsStr) -> Self {
        Self {
            fd,
            #[cfg(debug_assertions)]
            _order: order::Held::new(rank, name),
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exclusive,
    Shared,
}

/// Tries once; `None` means somebody holds it, or the file was unlinked meanwhile.
fn attempt(dir: &Dir, name: &OsStr, mode: Kind) -> Result<Option<OwnedFd>, PathError> {
    let path = || dir.path().join(name);
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd =
        rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR).at("open lock", path())?;
    let operation = match mode {
        Kind::Exclusive => FlockOperation::NonBlockingLockExclusive,
        Kind::Shared => FlockOperation::NonBlockingLockShared,
    };
    match rustix::fs::flock(&fd, operation) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
        Err(error) => return Err(error).at("lock", path()),
    }
    let ours = rustix::fs::fstat(&fd).at("stat lock", path())?;
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) => {}
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error).at("stat lock", path()),
    }
    if mode == Kind::Exclusive {
        // Fixed width, so that no truncation is needed. Only a message depends on it.
        let pid = format!("{:>10}\n", rustix::process::getpid().as_raw_nonzero());
        let _ = rustix::io::pwrite(&fd, pid.as_bytes(), 0);
    }
    Ok(Some(fd))
}

fn holder(dir: &Dir, name: &OsStr) -> String {
    let read = || -> io::Result<u32> {
        let bytes = dir.read(name, 64).map_err(|error| error.source)?;
        let text = String::from_utf8(bytes).map_err(io::Error::other)?;
        text.trim().parse().map_err(io::Error::other)
    };
    match read() {
        Ok(pid) => format!("process {pid}"),
        Err(_) => "another process".to_owned(),
    }
}

/// The order assertion. Locks may be dropped on another thread than took them, so the table is
/// shared and keyed by the taking thread.
#[cfg(debug_assertions)]
mod order {
    use std::ffi::{OsStr, OsString};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::thread::{self, ThreadId};

    use super::Rank;

    static TABLE: Mutex<Vec<(u64, ThreadId, Rank, OsString)>> = Mutex::new(Vec::new());
    static NEXT: AtomicU64 = AtomicU64::new(0);

    fn table() -> MutexGuard<'static, Vec<(u64, ThreadId, Rank, OsString)>> {
        TABLE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[derive(Debug)]
    pub(super) struct Held(u64);

    impl Held {
        pub(super) fn new(rank: Rank, name: &OsStr) -> Self {
            let token = NEXT.fetch_add(1, Ordering::Relaxed);
            table().push((token, thread::current().id(), rank, name.to_os_string()));
            Self(token)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            table().retain(|(token, ..)| *token != self.0);
        }
    }

    pub(super) fn assert_may_wait(rank: Rank, name: &OsStr) {
        let me = thread::current().id();
        let wrong = table()
            .iter()
            .find(|(_, thread, held, held_name)| {
                *thread == me && (*held, held_name.as_os_str()) >= (rank, name)
            })
            .map(|(_, _, held, held_name)| (*held, held_name.clone()));
        assert!(
            wrong.is_none(),
            "lock order: waiting for {rank:?} {name:?} while holding {wrong:?}"
        );
    }
}
