//! An overlay upper directory back to a list of changes, as `docker diff` and `commit` want it.
//!
//! The upper is what a container wrote, so its paths are resolved as an untrusted tree's. Only
//! `trusted.overlay.*` attributes count: a container cannot set them, while `user.overlay.*` are
//! plain attributes on the mounts we make.
//!
//! | in the upper | means |
//! |---|---|
//! | character device 0/0, or an empty file with `overlay.whiteout` | deleted |
//! | directory with `overlay.opaque=y` | what is below it is hidden |
//! | directory with `overlay.redirect` | a lower directory moved here, with what it holds |
//! | file with `overlay.metacopy` | metadata changed, content still below (at `redirect`, if set) |
//!
//! Source: kernel overlayfs.rst; tried on 6.18.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lamina_fs::{At, PathError, Root};
use lamina_types::ErrorKind;
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new (`A`).
    Added,
    /// It was there and is different, or is a directory with a change inside (`C`).
    Modified,
    /// It is gone (`D`).
    Deleted,
}

impl ChangeKind {
    /// Returns Docker's letter.
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Modified => 'C',
            Self::Deleted => 'D',
        }
    }
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The path from the root, without a leading slash.
    pub path: PathBuf,
    /// Where the content (of a file) or the children (of a directory) lie in the layers below, if
    /// they do: a metadata-only copy or a moved directory.
    pub content_below: Option<PathBuf>,
}

/// What the layers below hold.
///
/// Any `Fn(&Path) -> bool` (does it exist?) serves; then the insides of moved and replaced
/// directories are not listed, only the directories themselves. Paths have no leading slash.
pub trait Lower {
    /// Returns whether the path exists, a symbolic link counting as itself.
    fn exists(&self, path: &Path) -> bool;

    /// Returns the names in a directory; none if it is no directory.
    fn names(&self, path: &Path) -> Vec<OsString> {
        let _ = path;
        Vec::new()
    }
}

impl<F: Fn(&Path) -> bool> Lower for F {
    fn exists(&self, path: &Path) -> bool {
        self(path)
    }
}

/// An upper directory could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read the changes")]
pub struct DiffError(#[from] PathError);

impl DiffError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }
}

/// Lists what the upper directory changes, sorted by path; the root itself is never listed.
///
/// The upper may be in use: what vanishes while it is read is left out. Reads no file's content.
pub fn diff(upper: BorrowedFd<'_>, lower: impl Lower) -> Result<Vec<Change>, DiffError> {
    let root = upper.try_clone_to_owned().at("open", "/")?;
    let mut walk = Walk {
        root: Root::from_fd(root),
        lower,
        changes: Vec::new(),
        todo: Vec::new(),
    };
    walk.todo.push(Level {
        path: PathBuf::new(),
        below: Some(PathBuf::new()),
    });
    while let Some(level) = walk.todo.pop() {
        walk.level(&level)?;
    }
    walk.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.changes)
}

/// A directory of the upper that is still to be read.
struct Level {
    path: PathBuf,
    /// The directory of the layers below that it is merged with.
    below: Option<PathBuf>,
}

struct Walk<L> {
    root: Root,
    lower: L,
    changes: Vec<Change>,
    todo: Vec<Level>,
}

impl<L: Lower> Walk<L> {
    fn level(&mut self, level: &Level) -> Result<(), PathError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = match self.root.open(&level.path, flags) {
            Ok(directory) => directory,
            Err(error) if gone(error.errno()) => return Ok(()),
            Err(error) => return Err(error),
        };
        let entries = lamina_fs::list(directory.as_fd()).at("list", &level.path)?;
        let names: HashSet<OsString> = entries.into_iter().map(|entry| entry.name).collect();
        self.inherited(level, &names);
        for name in names {
            let path = level.path.join(&name);
            match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => self.entry(level, &directory, &name, path, &stat)?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error).at("stat", path),
            }
        }
        Ok(())
    }

    /// Adds what a directory has from elsewhere (moved), or has lost by not being merged with what
    /// was at its path.
    fn inherited(&mut self, level: &Level, names: &HashSet<OsString>) {
        if level.below.as_deref() == Some(level.path.as_path()) {
            return;
        }
        let moved = level
            .below
            .as_deref()
            .map(|below| self.lower.names(below))
            .unwrap_or_default();
        for name in self.lower.names(&level.path) {
            if !names.contains(&name) && !moved.contains(&name) {
                self.push(ChangeKind::Deleted, level.path.join(name), None);
            }
        }
        let Some(below) = &level.below else { return };
        let mut todo: Vec<_> = moved
            .into_iter()
            .filter(|name| !names.contains(name))
            .map(|name| (level.path.join(&name), below.join(&name)))
            .collect();
        while let Some((path, below)) = todo.pop() {
            let names = self.lower.names(&below);
            // What was at its path and is hidden by it.
            for name in self.lower.names(&path) {
                if !names.contains(&name) {
                    self.push(ChangeKind::Deleted, path.join(name), None);
                }
            }
            for name in names {
                todo.push((path.join(&name), below.join(&name)));
            }
            let kind = self.kind(&path);
            self.push(kind, path, Some(below));
        }
    }

    fn entry(
        &mut self,
        level: &Level,
        directory: &OwnedFd,
        name: &OsStr,
        path: PathBuf,
        stat: &Stat,
    ) -> Result<(), PathError> {
        let attribute = |key| attribute(directory, name, key).at("read the attributes of", &path);
        let kind = FileType::from_raw_mode(stat.st_mode);
        let deleted = match kind {
            FileType::CharacterDevice => stat.st_rdev == 0,
            FileType::RegularFile if stat.st_size == 0 => attribute("whiteout")?.is_some(),
            _ => false,
        };
        if deleted {
            // A whiteout in a moved directory deletes what was moved, not what is at this path.
            if self.lower.exists(&path) {
                self.push(ChangeKind::Deleted, path, None);
            }
            return Ok(());
        }
        let beside = |redirect: Option<Vec<u8>>| redirected(redirect, level.below.as_deref(), name);
        let content_below = match kind {
            FileType::Directory => {
                let opaque = attribute("opaque")?.as_deref() == Some(b"y");
                let redirect = attribute("redirect")?;
                let moved = redirect.is_some();
                let below = if opaque { None } else { beside(redirect) };
                let below = below.filter(|below| self.lower.exists(below));
                self.todo.push(Level {
                    path: path.clone(),
                    below: below.clone(),
                });
                below.filter(|_| moved)
            }
            FileType::RegularFile if attribute("metacopy")?.is_some() => {
                beside(attribute("redirect")?)
            }
            _ => None,
        };
        let kind = self.kind(&path);
        self.push(kind, path, content_below);
        Ok(())
    }

    fn kind(&self, path: &Path) -> ChangeKind {
        if self.lower.exists(path) {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        }
    }

    fn push(&mut self, kind: ChangeKind, path: PathBuf, content_below: Option<PathBuf>) {
        self.changes.push(Change {
            kind,
            path,
            content_below,
        });
    }
}

/// Where an entry lies below: an absolute redirect from the root, a relative one (or none) beside.
fn redirected(redirect: Option<Vec<u8>>, beside: Option<&Path>, name: &OsStr) -> Option<PathBuf> {
    match redirect {
        Some(bytes) if bytes.starts_with(b"/") => {
            Some(PathBuf::from(OsString::from_vec(bytes[1..].to_vec())))
        }
        Some(bytes) => beside.map(|dir| dir.join(OsStr::from_bytes(&bytes))),
        None => beside.map(|dir| dir.join(name)),
    }
}

/// Reads one of overlayfs' attributes without opening the entry.
fn attribute(directory: &OwnedFd, name: &OsStr, key: &str) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    let mut value = [0u8; 4096];
    match rustix::fs::lgetxattr(&path[..], format!("trusted.overlay.{key}"), &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn gone(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}
