//! A layer's tar into an empty directory, in overlayfs' own forms.
//!
//! One pass, one thread, and for a regular file five system calls: openat, write, fchown, utimensat
//! and close. The parent directory's descriptor is kept from entry to entry
//! ([`parents::Parents`]), whiteouts become character devices 0/0 and opaque markers an extended
//! attribute ([`whiteout`]), times of directories are set when nothing will touch them any more.

mod attributes;
mod error;
mod node;
mod parents;
mod whiteout;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

pub(crate) use attributes::{named_meta, set_time, wanted};
pub use error::{ApplyError, Refusal};
use rustix::io::Errno;

use crate::path::{BadPath, clean, split};
use crate::tar::{Entry, Kind, TarReader, Time};
use crate::{Limits, TarError};
pub(crate) use node::{write_all, write_parts};
use parents::Parents;
pub(crate) use whiteout::Mark;

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Entries in the tar, whiteouts included, directories implied not.
    pub entries: u64,
    /// Bytes of file content written.
    pub bytes: u64,
    /// Length of the tar.
    pub tar_bytes: u64,
    /// Directories that no entry described, sorted, the root as the empty path; they were made with
    /// mode 0755, owner 0:0. When the layer is stacked, their metadata must come from the layer
    /// below.
    pub implied: Vec<PathBuf>,
    /// The layer hides everything below it (`.wh..wh..opq` at its root). Overlayfs ignores the mark
    /// on the root of a layer, so whoever stacks must leave the lower layers out.
    pub opaque_root: bool,
    /// What each file takes on the disk, in units of 512 bytes: those whose contents a split stream
    /// refers to, in the order of the tar. Only [`apply_keeping`] asks.
    pub blocks: Vec<u64>,
}

/// Writes the tree that `tar` describes into `target`, an empty directory that nobody else uses.
///
/// Streaming; memory is bounded by `limits`. Nothing is synced, and an error leaves a part of the
/// tree behind: the caller publishes or removes the directory. The source is read to its end, so
/// that a hash taken by the reader covers all of it. Needs the privileges to chown and mknod.
pub fn apply(
    tar: impl BufRead,
    target: BorrowedFd<'_>,
    limits: &Limits,
) -> Result<Applied, ApplyError> {
    run(tar, Layer::new(target, limits)?, limits)
}

/// As [`apply`], for a tree that the tar will be made of again: what a later entry of the tar
/// replaces goes to the empty directory `replaced` instead of being removed.
pub fn apply_keeping(
    tar: impl BufRead,
    target: BorrowedFd<'_>,
    replaced: BorrowedFd<'_>,
    limits: &Limits,
) -> Result<Applied, ApplyError> {
    let replaced = replaced.try_clone_to_owned();
    let replaced = replaced.map_err(|e| ApplyError::target(&e))?;
    let mut layer = Layer::new(target, limits)?;
    layer.replaced = Some(Replaced {
        to: replaced,
        count: 0,
    });
    run(tar, layer, limits)
}

fn run(tar: impl BufRead, mut layer: Layer<'_>, limits: &Limits) -> Result<Applied, ApplyError> {
    let mut reader = TarReader::new(tar, limits.clone());
    while let Some(entry) = reader.next_entry()? {
        layer.entry(&mut reader, &entry)?;
    }
    let tar_bytes = reader.finish()?;
    layer.finish(tar_bytes)
}

/// The state of one application.
struct Layer<'l> {
    limits: &'l Limits,
    parents: Parents,
    /// The parents of hard link targets, apart so that links do not evict the parent of the files.
    links: Parents,
    umask: u32,
    /// Directories whose time is set at the end, by path; sorted, so that parents stay cached.
    times: BTreeMap<Vec<u8>, Time>,
    times_bytes: u64,
    implied: BTreeSet<Vec<u8>>,
    root_time: Option<Time>,
    replaced: Option<Replaced>,
    applied: Applied,
}

/// Returns whether the entry of this name is about a deletion, and whatever content it has no file's.
pub(crate) fn is_mark(raw: &[u8]) -> bool {
    let path = clean(raw, raw.len());
    path.is_ok_and(|path| !matches!(whiteout::Mark::of(&path, raw), Ok(None)))
}

/// Where what is replaced goes, by number.
struct Replaced {
    to: OwnedFd,
    count: u64,
}

impl<'l> Layer<'l> {
    fn new(target: BorrowedFd<'_>, limits: &'l Limits) -> Result<Self, ApplyError> {
        let root = || {
            target
                .try_clone_to_owned()
                .map_err(|e| ApplyError::target(&e))
        };
        Ok(Self {
            limits,
            parents: Parents::new(root()?),
            links: Parents::new(root()?),
            umask: attributes::umask(),
            times: BTreeMap::new(),
            times_bytes: 0,
            implied: BTreeSet::new(),
            root_time: None,
            replaced: None,
            applied: Applied::default(),
        })
    }

    fn entry<R: BufRead>(
        &mut self,
        reader: &mut TarReader<R>,
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        self.applied.entries += 1;
        let path = self.clean(&entry.path, &entry.path)?;
        if path.is_empty() {
            return self.root(entry);
        }
        if let Some(mark) = whiteout::Mark::of(&path, &entry.path)? {
            return self.mark(&path, mark);
        }
        let (parent_path, name) = split(&path);
        let parent = self.parent(parent_path, &entry.path)?;
        match &entry.kind {
            Kind::Directory => self.directory(&parent, &path, name, entry)?,
            Kind::File => self.file(&parent, name, &path, reader, entry, None)?,
            Kind::Sparse { size, parts } => {
                self.file(&parent, name, &path, reader, entry, Some((*size, parts)))?;
            }
            Kind::Symlink(to) => self.symlink(&parent, name, &path, to, entry)?,
            Kind::Hardlink(to) => self.hardlink(&parent, name, &path, to, entry)?,
            Kind::Char { major: 0, minor: 0 } => {
                return Err(ApplyError::refused(&entry.path, Refusal::WhiteoutDevice));
            }
            Kind::Char { .. } | Kind::Block { .. } | Kind::Fifo => {
                self.special(&parent, name, &path, entry)?;
            }
        }
        Ok(())
    }

    /// An entry for the root itself: its metadata is the layer's own directory's.
    /// Anything but a directory would replace the root (CVE-2021-29136).
    fn root(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if entry.kind != Kind::Directory {
            return Err(ApplyError::refused(&entry.path, Refusal::Root));
        }
        let root = self
            .parents
            .root()
            .map_err(|e| ApplyError::at(&entry.path, "open", e))?;
        self.directory_meta(&root, entry)?;
        self.root_time = Some(entry.meta.mtime);
        Ok(())
    }

    fn clean(&self, raw: &[u8], entry: &[u8]) -> Result<Vec<u8>, ApplyError> {
        clean_name(raw, entry, self.limits)
    }

    /// Opens the parent directory, making what is missing of it.
    fn parent(&mut self, parent: &[u8], entry: &[u8]) -> Result<OwnedFdRef, ApplyError> {
        let Self {
            parents, implied, ..
        } = self;
        parents
            .open(parent, |made| {
                implied.insert(made.to_vec());
            })
            .map_err(|error| match error {
                Errno::NOTDIR => ApplyError::refused(entry, Refusal::ParentNotDirectory),
                Errno::LOOP => ApplyError::refused(entry, Refusal::LinkLoop),
                error => ApplyError::at(entry, "open the parent of", error),
            })
    }

    fn finish(mut self, tar_bytes: u64) -> Result<Applied, ApplyError> {
        let times = std::mem::take(&mut self.times);
        for (path, time) in times {
            let (parent, name) = split(&path);
            let parent = match self.parents.open_existing(parent) {
                Ok(parent) => parent,
                // Known by a path through a link whose target has been replaced since.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(ApplyError::at(&path, "open the parent of", error)),
            };
            match attributes::set_time(parent.as_fd(), name, time) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(ApplyError::at(&path, "set the time of", error)),
            }
        }
        if let Some(time) = self.root_time {
            let root = self
                .parents
                .root()
                .map_err(|e| ApplyError::at(b"/", "open", e))?;
            attributes::set_fd_time(root.as_fd(), time)
                .map_err(|e| ApplyError::at(b"/", "set the time of", e))?;
        }
        // Like any other directory that no entry describes.
        if self.root_time.is_none() {
            self.implied.insert(Vec::new());
        }
        let implied = self.implied.into_iter();
        self.applied.implied = implied
            .map(|p| PathBuf::from(OsString::from_vec(p)))
            .collect();
        self.applied.tar_bytes = tar_bytes;
        Ok(self.applied)
    }
}

/// Cleans a name that `entry` has; the root is empty.
pub(crate) fn clean_name(raw: &[u8], entry: &[u8], limits: &Limits) -> Result<Vec<u8>, ApplyError> {
    clean(raw, limits.max_path).map_err(|bad| {
        let refusal = match bad {
            BadPath::Escapes => Refusal::Escapes,
            BadPath::TooLong => Refusal::NameTooLong,
            BadPath::Nul => Refusal::BadName,
        };
        ApplyError::refused(entry, refusal)
    })
}

/// A shared descriptor of a directory in the cache.
type OwnedFdRef = std::rc::Rc<OwnedFd>;

impl From<TarError> for ApplyError {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}
