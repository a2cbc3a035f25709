//! Operations in flight: `ops/<pid>.<random>`, one line per thing the operation relies on or made.
//!
//! ```text
//! begin    unnamed file → flock → first lines → linked into ops/       (shared store lock)
//! lease    lines appended by one write                                 (shared store lock)
//! finish   drafts to the trash, name unlinked; the flock ends with the descriptor
//! dead     the name is there and its flock is free: undone from its lines by the next open
//! ```
//! Nothing is synced: after a power cut there is no process to undo anything for, and what such
//! an operation left without a published owner is collected.

mod cgroup;
mod containers;
mod draft;
mod line;
mod process;
mod undo;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lamina_fs::{At, Dir, LockError, PathError};
use lamina_types::ErrorKind;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use draft::Draft;
pub use line::{Line, SnapshotId, SnapshotIdError};
pub use undo::UndoError;
pub(crate) use undo::remove_name;

use crate::area::Area;
use crate::store::Store;
use crate::trash::random_name;

/// What the name of an operation's folder of drafts ends with.
const DRAFTS: &str = ".d";
/// More lines than any operation writes.
const LIMIT: u64 = 64 << 20;

/// The operations of a store.
#[derive(Debug, Clone, Copy)]
pub struct Ops<'s>(pub(crate) &'s Store);

/// An operation of this process: what it leases cannot be collected, and what it made is undone
/// if it ends without [`Operation::finish`], however it ends.
///
/// An operation publishes what it made (a ref, a record, a snapshot) before it finishes. It does
/// not outlive that: a running container has no lease.
#[derive(Debug)]
pub struct Operation {
    store: Store,
    name: String,
    file: File,
    drafts: AtomicU64,
    drafted: AtomicBool,
    objects: AtomicU64,
    finished: bool,
}

/// Why an operation could not begin or lease.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// Its file could not be made or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The collector held the store lock for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl OpError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
        }
    }
}

/// What [`Store::open`] undid.
#[derive(Debug, Default)]
pub struct Recovery {
    /// How many operations were undone.
    pub undone: usize,
    /// What could not be undone; it is tried again by the next open.
    pub errors: Vec<UndoError>,
}

impl Recovery {
    pub(crate) const NOTHING: Self = Self {
        undone: 0,
        errors: Vec::new(),
    };
}

/// The first line of an operation's file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    op: String,
    pid: i32,
    boot: String,
    /// Seconds since 1970, for people.
    started: u64,
}

impl Ops<'_> {
    /// Begins an operation that leases `lines` from the start.
    ///
    /// `kind` is a word for people, as "pull". Takes some tens of microseconds; nothing is
    /// synced.
    pub fn begin(&self, kind: &str, lines: &[Line]) -> Result<Operation, OpError> {
        let store = self.0;
        let dir = store.dir(Area::Ops)?;
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let header = Header {
            op: kind.to_owned(),
            pid,
            boot: store.boot().as_str().to_owned(),
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        let mut file = dir.unnamed_file(0o600)?;
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND).at("open", dir.path())?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .at("lock", dir.path())?;
        let mut text = serialise(&header);
        text.extend(lines.iter().flat_map(serialise));
        file.write_all(&text).at("write", dir.path())?;
        let name = format!("{pid}.{}", &random_name()[..16]);
        {
            let _lock = store.lock_shared()?;
            dir.publish(&file, &name)?;
        }
        Ok(Operation {
            store: store.clone(),
            name,
            file,
            drafts: AtomicU64::new(0),
            drafted: AtomicBool::new(false),
            objects: AtomicU64::new(0),
            finished: false,
        })
    }

    /// Undoes every operation whose owner is dead. One that cannot be undone wholly is kept for
    /// the next call. Safe against other processes doing the same: the flock decides.
    pub(crate) fn recover(&self) -> Result<Recovery, PathError> {
        let dir = self.0.dir(Area::Ops)?;
        let mut recovery = Recovery::default();
        for entry in dir.entries()? {
            let Some(name) = entry.name.to_str() else {
                continue;
            };
            if let Some(owner) = name.strip_suffix(DRAFTS) {
                // Its operation's entry is made before it and removed after it; without one it
                // was left by a power cut.
                if !dir.exists(owner)? {
                    self.0.trash(dir, name)?;
                }
                continue;
            }
            let Some(file) = claim(dir, name)? else {
                continue;
            };
            let errors = undo::undo(self.0, name, &read_lines(dir, name)?);
            if errors.is_empty() {
                remove_entry(dir, name)?;
                recovery.undone += 1;
            }
            recovery.errors.extend(errors);
            drop(file);
        }
        Ok(recovery)
    }

    /// Lists what live operations lease. An entry whose owner is dead leases nothing, but is
    /// listed all the same: it will be undone, and until then nothing is taken from under it.
    pub(crate) fn leases(&self) -> Result<Vec<Line>, PathError> {
        self.leases_but(None)
    }

    /// The same without those of one operation.
    pub(crate) fn leases_but(&self, one: Option<&str>) -> Result<Vec<Line>, PathError> {
        let dir = self.0.dir(Area::Ops)?;
        let mut lines = Vec::new();
        for entry in dir.entries()? {
            match entry.name.to_str() {
                name if name == one => {}
                Some(name) if !name.ends_with(DRAFTS) => lines.extend(read_lines(dir, name)?),
                _ => {}
            }
        }
        Ok(lines)
    }
}

/// An entry of `ops/` as people see it: whose it is and what it leases.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// The word for what it does.
    pub(crate) kind: String,
    /// Who began it.
    pub(crate) pid: i32,
    /// What it leases or has made.
    pub(crate) lines: Vec<Line>,
}

impl Ops<'_> {
    /// Lists as [`Ops::leases`], operation by operation.
    pub(crate) fn live(&self) -> Result<Vec<Live>, PathError> {
        let dir = self.0.dir(Area::Ops)?;
        let mut live = Vec::new();
        for entry in dir.entries()? {
            let Some(name) = entry.name.to_str().filter(|name| !name.ends_with(DRAFTS)) else {
                continue;
            };
            let bytes = match dir.read(name, LIMIT) {
                Err(error) if error.is_not_found() => continue,
                other => other?,
            };
            let first = bytes.split(|byte| *byte == b'\n').next();
            let header = first.and_then(|line| serde_json::from_slice::<Header>(line).ok());
            live.push(Live {
                kind: header.as_ref().map_or_else(String::new, |h| h.op.clone()),
                pid: header.map_or(0, |header| header.pid),
                lines: lines_of(&bytes),
            });
        }
        Ok(live)
    }
}

impl Operation {
    /// Leases more, or notes more that has to be undone. What a line names is made, or relied on,
    /// only after this has returned.
    pub fn lease(&self, lines: &[Line]) -> Result<(), OpError> {
        let text: Vec<u8> = lines.iter().flat_map(serialise).collect();
        let path = || self.store.path(Area::Ops).join(&self.name);
        let _lock = self.store.lock_shared()?;
        (&self.file).write_all(&text).at("write", path())?;
        Ok(())
    }

    /// Counts contents that are leased; returns how many there were before.
    pub(crate) fn count_objects(&self, more: u64) -> u64 {
        self.objects.fetch_add(more, Ordering::Relaxed)
    }

    /// Ends the operation: everything it made is published.
    pub fn finish(mut self) -> Result<(), OpError> {
        self.finished = true;
        let dir = self.store.dir(Area::Ops)?;
        self.drop_drafts(dir)?;
        match dir.unlink(&self.name) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Undoes the operation now, as the next open would; goes on after a failure and returns every
    /// error. What could not be undone is tried again by the next open.
    pub fn undo(mut self) -> Vec<UndoError> {
        self.finished = true;
        self.undo_now()
    }

    /// Returns the path of the operation's entry, for a process that is sent its lock and is to
    /// finish it.
    pub fn entry(&self) -> PathBuf {
        self.store.path(Area::Ops).join(&self.name)
    }

    /// Leaves the operation to a process that has been sent its lock: that one unlinks the entry.
    /// If it dies before, the operation is undone as any other.
    pub fn leave(mut self) {
        self.finished = true;
    }

    /// Returns the name of the operation's entry in `ops/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes an empty folder on the store's filesystem; it belongs to the operation and vanishes
    /// with it unless it is published.
    pub fn draft(&self) -> Result<Draft, PathError> {
        let name = format!("{}{DRAFTS}", self.name);
        self.drafted.store(true, Ordering::Relaxed);
        let drafts = self.store.dir(Area::Ops)?.ensure_dir(name, 0o700)?;
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        Draft::new(&self.store, drafts, number)
    }

    fn drop_drafts(&self, dir: &Dir) -> Result<(), PathError> {
        if self.drafted.load(Ordering::Relaxed) {
            let name = format!("{}{DRAFTS}", self.name);
            // Empty unless something was given up, and then it may be large.
            match dir.rmdir(&name) {
                Err(error) if error.errno() == Some(Errno::NOTEMPTY) => {
                    self.store.trash(dir, &name)?;
                }
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn undo_now(&self) -> Vec<UndoError> {
        let undo = || -> Result<Vec<UndoError>, PathError> {
            let dir = self.store.dir(Area::Ops)?;
            let errors = undo::undo(&self.store, &self.name, &read_lines(dir, &self.name)?);
            if errors.is_empty() {
                remove_entry(dir, &self.name)?;
            }
            Ok(errors)
        };
        undo().unwrap_or_else(|error| vec![error.into()])
    }
}

/// The locked file. A process that inherits it keeps the operation alive, so that nobody undoes it
/// when its owner is killed, until that process closes it or ends.
impl AsFd for Operation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.finished {
            // What fails here stays in ops/ and is undone, and reported, by the next open.
            drop(self.undo_now());
        }
    }
}

/// Takes the flock of an entry whose owner is dead; `None` if it is alive, or the entry gone.
fn claim(dir: &Dir, name: &str) -> Result<Option<File>, PathError> {
    let file = match dir.open_file(name, OFlags::RDWR) {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
        Err(error) => return Err(error).at("lock", dir.path().join(name)),
    }
    // Finished, or undone by another process, between the listing and the lock.
    let links = rustix::fs::fstat(&file).at("stat", dir.path().join(name))?;
    Ok((links.st_nlink > 0).then_some(file))
}

/// Reads an entry's lines. What is torn or from another build is skipped: the thing such a line
/// would have announced was never begun, or a feature flag kept that build out.
fn read_lines(dir: &Dir, name: &str) -> Result<Vec<Line>, PathError> {
    let bytes = match dir.read(name, LIMIT) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    Ok(lines_of(&bytes))
}

fn lines_of(bytes: &[u8]) -> Vec<Line> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| line.ends_with(b"\n"))
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

fn remove_entry(dir: &Dir, name: &str) -> Result<(), PathError> {
    match dir.unlink(name) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Returns a value as one line of JSON.
fn serialise(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("a line has string keys and no failing values");
    text.push(b'\n');
    text
}
