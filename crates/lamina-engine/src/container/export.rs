//! `export`: a container's whole root filesystem as a tar, running or not.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lamina_fs::{At, LockError, PathError, Root};
use lamina_layer::{ArchiveError, Archiver, link_key};
use lamina_monitor::LivenessError;
use lamina_types::{ContainerId, ErrorKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::Engine;
use crate::container::cleanup;
use crate::container::find::FindError;
use crate::rootfs::{self, RootfsError};

/// Why a root filesystem cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Somebody else holds the container for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// Its root filesystem is not there.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A directory cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file cannot be read, or the archive not written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl ExportError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Archive(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Writes the root filesystem of a container as a tar, sorted: what its image and its own
    /// writes come to, and nothing of what is mounted there.
    ///
    /// A stopped container is held by its lock; a running one goes on, and what vanishes meanwhile
    /// is left out.
    pub fn export(&self, id: &ContainerId, out: impl Write) -> Result<(), ExportError> {
        let missing = || FindError::NotFound(id.to_string());
        let lock = cleanup::lock(&self.load_supervised(id)?)?.ok_or_else(missing)?;
        let merged = rootfs::open(&self.existing_rootfs(id)?)?;
        // Nobody waits for a reader of a container that runs anyway.
        let container = self.load(id)?;
        let _lock = (!cleanup::is_alive(&container)?).then_some(lock);
        let mut archiver = Archiver::new(out);
        archive_below(&mut archiver, &merged, &[])?;
        archiver.finish()?;
        self.note_container(&container.record, "export", &[]);
        Ok(())
    }
}

/// Adds everything below the root of a tree, each name after `prefix`.
pub(crate) fn archive_below<W: Write>(
    archiver: &mut Archiver<W>,
    tree: &Root,
    prefix: &[u8],
) -> Result<(), ExportError> {
    // A tree may be deeper than this program's stack and than a path may be long: directories
    // are opened from their parents, and those are kept open on the way down only.
    let root = tree.open(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut stack = vec![Level::read(root, PathBuf::new())?];
    while let Some(level) = stack.last_mut() {
        let Some(name) = level.names.pop() else {
            stack.pop();
            continue;
        };
        let path = level.path.join(&name);
        let shown = [prefix, path.as_os_str().as_bytes()].concat();
        let stat = rustix::fs::statat(&level.dir, &name, AtFlags::SYMLINK_NOFOLLOW);
        let link = stat.ok().and_then(|stat| link_key(&stat));
        let added = archiver.add(level.dir.as_fd(), &name, &shown, link)?;
        if added == Some(FileType::Directory) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&level.dir, &name, flags, Mode::empty()) {
                Ok(dir) => {
                    let below = Level::read(dir, path)?;
                    stack.push(below);
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => return Err(error).at("open", path)?,
            }
        }
    }
    Ok(())
}

/// A directory on the way down, and what of it is still to be added, the last first.
struct Level {
    dir: OwnedFd,
    path: PathBuf,
    names: Vec<OsString>,
}

impl Level {
    fn read(dir: OwnedFd, path: PathBuf) -> Result<Self, PathError> {
        let entries = lamina_fs::list(dir.as_fd()).at("list", &path)?;
        let mut names: Vec<OsString> = entries.into_iter().map(|entry| entry.name).collect();
        names.sort_by(|a, b| b.cmp(a));
        Ok(Self { dir, path, names })
    }
}
