//! `cp`: files out of a container's tree and into it, running or stopped.
//!
//! A running container is entered for the moment that opening its root takes; a stopped one is put
//! together, under its lock, as it is when it runs, in a mount namespace that nobody else sees.
//! Below that root every path is resolved by the kernel as after a chroot: no link of an image
//! leads out.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lamina_fs::{At, Lock, LockError, PathError, Root};
use lamina_layer::{ArchiveError, Archiver, ExtractError, extract, link_key};
use lamina_monitor::{Liveness, LivenessError, liveness};
use lamina_types::{ContainerId, ErrorKind};
use rustix::fs::{AtFlags, FileType, OFlags, StatVfsMountFlags, fstat, fstatvfs};
use rustix::io::Errno;

use crate::Engine;
use crate::container::assemble::assemble;
use crate::container::cleanup;
use crate::container::export::{ExportError, archive_below};
use crate::container::find::FindError;
use crate::rootfs::{self, RootfsError};
use crate::volumes::VolumeError;

/// How many links in a row are followed, as the kernel does.
const MOST_LINKS: usize = 40;

/// Why files cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
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
    /// The mount namespace of a running container cannot be entered.
    #[error("look into the running container {id}")]
    Enter {
        /// Which container.
        id: ContainerId,
        /// Why.
        source: Errno,
    },
    /// Nothing may be written there.
    #[error("{0} is marked read-only")]
    ReadOnly(&'static str),
    /// A volume is not there.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A path cannot be worked on.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Files cannot be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Files cannot be archived.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Files cannot be written.
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

impl CopyError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
            Self::Enter { source, .. } => ErrorKind::of_io(&(*source).into()),
            Self::ReadOnly(_) => ErrorKind::FailedPrecondition,
            Self::Volume(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Export(error) => error.kind(),
            Self::Archive(error) => error.kind(),
            Self::Extract(error) => error.kind(),
        }
    }
}

/// A tree that files are copied from or to.
#[derive(Debug)]
pub struct Files {
    root: Root,
    /// Whether it is a container's.
    container: bool,
    /// Holds the mounts of a stopped container. They go before its lock does.
    _namespace: Option<OwnedFd>,
    _lock: Option<Lock>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path, with the links at its end followed if they were to be.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub directory: bool,
}

impl Engine {
    /// Opens the tree of a container; a stopped one is held until the value is dropped.
    pub fn files(&self, id: &ContainerId) -> Result<Files, CopyError> {
        let container = self.load_supervised(id)?;
        let read_only = container.record.request.read_only;
        if let Liveness::Supervised { pidfd, .. } | Liveness::Orphaned { pidfd, .. } =
            liveness(&container.dir)?
        {
            let entered = rootfs::of_process(&pidfd);
            return Ok(Files {
                root: entered.map_err(|source| CopyError::Enter {
                    id: id.clone(),
                    source,
                })?,
                container: true,
                _namespace: None,
                _lock: None,
            });
        }
        let missing = || FindError::NotFound(id.to_string());
        let lock = cleanup::lock(&container)?.ok_or_else(missing)?;
        if cleanup::is_alive(&self.load(id)?)? {
            // It was started in this moment.
            drop(lock);
            return self.files(id);
        }
        let rootfs = self.existing_rootfs(id)?;
        let (root, namespace) = assemble(&rootfs, &self.places(&container)?, read_only)?;
        Ok(Files {
            root,
            container: true,
            _namespace: Some(namespace),
            _lock: Some(lock),
        })
    }
}

impl Files {
    /// Opens a tree of this machine.
    pub fn of_host(path: &Path) -> Result<Self, CopyError> {
        Ok(Self {
            root: Root::open_path(path)?,
            container: false,
            _namespace: None,
            _lock: None,
        })
    }

    /// Returns why nothing may be written in a directory, if so, in Docker's words.
    fn sealed(&self, directory: &OwnedFd) -> Result<Option<&'static str>, PathError> {
        let flags = fstatvfs(directory).at("stat", "the directory")?.f_flag;
        if !self.container || !flags.contains(StatVfsMountFlags::RDONLY) {
            return Ok(None);
        }
        let device = |fd: &OwnedFd| Ok(fstat(fd).at("stat", "the directory")?.st_dev);
        let root = self.root.open(".", OFlags::PATH)?;
        let same: Result<bool, PathError> = Ok(device(directory)? == device(&root)?);
        Ok(Some(match same? {
            true => "container rootfs",
            false => "mounted volume",
        }))
    }

    /// Looks for a path; `None` where nothing is. A link at its end is followed if asked for, or
    /// if the path ends in a slash.
    pub fn find(&self, path: &Path, follow: bool) -> Result<Option<Found>, CopyError> {
        let bytes = path.as_os_str().as_bytes();
        let follow = follow || bytes.ends_with(b"/") || bytes.ends_with(b"/.");
        let mut path = trimmed(path);
        for _ in 0..MOST_LINKS {
            let (parent, name) = match open_parent(&self.root, &path) {
                Err(error) if error.is_not_found() || error.errno() == Some(Errno::NOTDIR) => {
                    return Ok(None);
                }
                other => other?,
            };
            let stat = match rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                other => other.at("stat", &path)?,
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind != FileType::Symlink || !follow {
                let directory = kind == FileType::Directory;
                return Ok(Some(Found { path, directory }));
            }
            let target = rustix::fs::readlinkat(&parent, &name, Vec::new());
            let target = target.at("read the link", &path)?;
            let above = path.parent().unwrap_or(Path::new("/"));
            path = trimmed(&above.join(OsStr::from_bytes(target.as_bytes())));
        }
        Err(Errno::LOOP).at("follow", path)?
    }

    /// Writes what was found as a tar in which it is called `name`; a directory without a name
    /// gives what is in it.
    pub fn archive(
        &self,
        found: &Found,
        name: Option<&OsStr>,
        out: impl Write,
    ) -> Result<(), CopyError> {
        let (parent, own) = open_parent(&self.root, &found.path)?;
        let stat = rustix::fs::statat(&parent, &own, AtFlags::SYMLINK_NOFOLLOW);
        let link = link_key(&stat.at("stat", &found.path)?);
        let called = name.map_or(&b"./"[..], OsStr::as_bytes);
        let mut archiver = Archiver::new(out);
        archiver.add(parent.as_fd(), &own, called, link)?;
        if found.directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let below = Root::from_fd(self.root.open(&found.path, flags)?);
            let prefix = match name {
                Some(name) => [name.as_bytes(), b"/"].concat(),
                None => Vec::new(),
            };
            archive_below(&mut archiver, &below, &prefix)?;
        }
        archiver.finish()?;
        Ok(())
    }

    /// Extracts a tar into a directory that was found, with `owner` in the place of what the tar
    /// says, if given. Returns how many bytes of content there were.
    pub fn extract(
        &self,
        directory: &Path,
        tar: impl Read,
        owner: Option<(u32, u32)>,
    ) -> Result<u64, CopyError> {
        let opened = self
            .root
            .open(directory, OFlags::PATH | OFlags::DIRECTORY)?;
        if let Some(what) = self.sealed(&opened)? {
            return Err(CopyError::ReadOnly(what));
        }
        Ok(extract(tar, &self.root, directory, owner)?)
    }
}

/// Opens the directory that holds a path; the root holds itself, as `.`.
fn open_parent(tree: &Root, path: &Path) -> Result<(OwnedFd, OsString), PathError> {
    match path.file_name() {
        Some(_) => tree.open_parent(path),
        // The root, or a path that ends in `..`.
        None => {
            let path = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            Ok((tree.open(path, flags)?, OsString::from(".")))
        }
    }
}

/// Returns the path without slashes and `.` at its end, and from the root.
fn trimmed(path: &Path) -> PathBuf {
    Path::new("/").join(path).components().collect()
}
