//! A tree that somebody else wrote. The kernel resolves every path in it as after a chroot.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::dir::{DIRECTORY, read_regular};
use crate::walk::{self, Last};
use crate::{At, PathError};

/// How often a resolution that a concurrent rename disturbed (`EAGAIN`) is tried again.
const ATTEMPTS: usize = 256;

/// An untrusted tree, confined.
///
/// Paths may be absolute or relative: both start at the root. `..` at the root stays there,
/// symbolic links resolve inside the tree, and procfs-style magic links are refused (`ELOOP`).
/// Errors name the path relative to the tree.
#[derive(Debug)]
pub struct Root {
    pub(crate) fd: OwnedFd,
}

impl Root {
    /// Opens a tree by a path of ours.
    pub fn open_path(path: impl AsRef<Path>) -> Result<Self, PathError> {
        let path = path.as_ref();
        let fd = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()).at("open", path)?;
        Ok(Self { fd })
    }

    /// Takes a directory that is open already as the root of the tree.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens an existing path; `O_CLOEXEC` and `O_NOCTTY` are added. With `O_NOFOLLOW` a final
    /// symbolic link is not followed.
    ///
    /// Never pass `O_CREAT`: use [`Root::ensure_file`].
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, PathError> {
        let path = path.as_ref();
        self.resolve(path, flags).at("open", path)
    }

    /// Opens the directory that holds the last component of `path` and returns that component.
    /// A path that ends in `..` or names the root itself has none (`EINVAL`).
    pub fn open_parent(&self, path: impl AsRef<Path>) -> Result<(OwnedFd, OsString), PathError> {
        let path = path.as_ref();
        let (parent, name) = split(path)
            .ok_or(Errno::INVAL)
            .at("open the parent of", path)?;
        let parent = self
            .resolve(parent, OFlags::PATH | OFlags::DIRECTORY)
            .at("open the parent of", path)?;
        Ok((parent, name.to_os_string()))
    }

    /// Opens a directory, making it and its parents where they are missing, each with exactly
    /// `mode` and, if given, `owner` (user, group). A dangling symbolic link on the way is followed
    /// inside the tree and what it names is made. The descriptor is `O_PATH`.
    pub fn create_dir_all(
        &self,
        path: impl AsRef<Path>,
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> Result<OwnedFd, PathError> {
        self.create_dir_all_noting(path, mode, owner, &mut Vec::new())
    }

    /// As [`Root::create_dir_all`], and adds to `made` the directories that were missing, each by
    /// its path from the root with every link resolved.
    pub fn create_dir_all_noting(
        &self,
        path: impl AsRef<Path>,
        mode: u32,
        owner: Option<(u32, u32)>,
        made: &mut Vec<PathBuf>,
    ) -> Result<OwnedFd, PathError> {
        let path = path.as_ref();
        match self.resolve(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => walk::create(self, path, Last::Directory, mode, owner, made),
            other => other,
        }
        .at("create directory", path)
    }

    /// Opens whatever is at `path`, or makes an empty regular file there (mode 0644) with its
    /// missing parents (mode 0755): how a mount point for a file is made. The descriptor is
    /// `O_PATH`.
    pub fn ensure_file(&self, path: impl AsRef<Path>) -> Result<OwnedFd, PathError> {
        let path = path.as_ref();
        match self.resolve(path, OFlags::PATH) {
            Err(Errno::NOENT) => walk::create(self, path, Last::File, 0o755, None, &mut Vec::new()),
            other => other,
        }
        .at("create file", path)
    }

    /// Reads a whole regular file of at most `limit` bytes.
    ///
    /// The type is known before the file is opened for reading, so that no device or fifo is ever
    /// opened (an open can block, or do something).
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, PathError> {
        let path = path.as_ref();
        self.read_checked(path, limit).at("read", path)
    }

    fn read_checked(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let handle = self.resolve(path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&handle)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a regular file",
            ));
        }
        let reopen = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, reopen, flags, Mode::empty())?;
        read_regular(File::from(fd), limit)
    }

    pub(crate) fn resolve(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags
            | OFlags::CLOEXEC
            | if flags.contains(OFlags::PATH) {
                OFlags::empty()
            } else {
                OFlags::NOCTTY
            };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        for _ in 0..ATTEMPTS {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Splits a path into parent and last component, without the lexical clean-up of `Path::parent`:
/// `a/b/..` has no last component here.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let mut bytes = path.as_os_str().as_bytes();
    while let Some(rest) = bytes.strip_suffix(b"/") {
        bytes = rest;
    }
    let at = bytes
        .iter()
        .rposition(|&b| b == b'/')
        .map_or(0, |slash| slash + 1);
    let (parent, name) = bytes.split_at(at);
    if name.is_empty() || name == b"." || name == b".." {
        return None;
    }
    Some((
        Path::new(OsStr::from_bytes(parent)),
        OsStr::from_bytes(name),
    ))
}
