//! A directory we own: named entries, bounded reads. Writing is in `write.rs`, deleting in
//! `remove.rs`.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::{fs::File, io};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::write::{Durability, TEMPORARY_PREFIX};
use crate::{At, PathError};

/// An open directory that the engine owns, with the path it was opened by (for messages only: all
/// work goes through the descriptor).
#[derive(Debug)]
pub struct Dir {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, a single component.
    pub name: OsString,
    /// The type of the entry as the directory records it; `Unknown` on filesystems that do not.
    pub kind: FileType,
}

impl Dir {
    /// Opens an existing directory by a path of the administrator's (symbolic links are followed).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PathError> {
        let path = path.as_ref();
        let fd = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()).at("open", path)?;
        Ok(Self::from_fd(fd, path))
    }

    /// Makes a directory and its missing parents, each with `mode`, and opens it; existing ones are
    /// left as they are.
    pub fn create_all(path: impl AsRef<Path>, mode: u32) -> Result<Self, PathError> {
        let path = path.as_ref();
        if let Ok(dir) = Self::open(path) {
            return Ok(dir);
        }
        let mut prefix = PathBuf::new();
        for component in path.components() {
            prefix.push(component);
            if matches!(component, Component::Normal(_)) {
                match rustix::fs::mkdir(&prefix, Mode::from_raw_mode(mode)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    other => other.at("create directory", &prefix)?,
                }
            }
        }
        Self::open(path)
    }

    /// Takes a directory that is open already; `path` is what messages will call it.
    pub fn from_fd(fd: OwnedFd, path: impl Into<PathBuf>) -> Self {
        Self {
            fd,
            path: path.into(),
        }
    }

    /// Returns the path this directory was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a second descriptor of the same directory.
    pub fn try_clone(&self) -> Result<Self, PathError> {
        let fd = self.fd.try_clone().at("duplicate", &self.path)?;
        Ok(Self::from_fd(fd, &self.path))
    }

    /// Opens a directory below this one; `name` may have several components but no `..`, and no
    /// symbolic link in it is followed.
    pub fn open_at(&self, name: impl AsRef<Path>) -> Result<Self, PathError> {
        let name = name.as_ref();
        let path = self.path.join(name);
        let fd = self.open_beneath(name, DIRECTORY).at("open", &path)?;
        Ok(Self::from_fd(fd, path))
    }

    /// Makes a directory with exactly `mode` (the umask does not matter) and opens it; one that
    /// exists is an error.
    pub fn mkdir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Self, PathError> {
        let name = self.name("create directory", name.as_ref())?;
        let path = self.path.join(name);
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::mkdirat(&self.fd, name, mode).at("create directory", &path)?;
        let fd = self
            .open_beneath(Path::new(name), DIRECTORY)
            .at("open", &path)?;
        rustix::fs::fchmod(&fd, mode).at("set the mode of", &path)?;
        Ok(Self::from_fd(fd, path))
    }

    /// Opens the directory `name`, making it with `mode` if it is missing.
    pub fn ensure_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<Self, PathError> {
        let name = name.as_ref();
        match self.open_at(name) {
            Err(error) if error.is_not_found() => {}
            other => return other,
        }
        match self.mkdir(name, mode) {
            Err(error) if error.is_already_exists() => self.open_at(name),
            other => other,
        }
    }

    /// Opens a file of ours for the given access, following nothing. `O_CLOEXEC` is added.
    pub fn open_file(&self, name: impl AsRef<Path>, flags: OFlags) -> Result<File, PathError> {
        let name = name.as_ref();
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let fd = self
            .open_beneath(name, flags)
            .at("open", self.path.join(name))?;
        Ok(File::from(fd))
    }

    /// Reads a whole regular file of at most `limit` bytes. Anything else (a directory, fifo,
    /// device, symbolic link, a larger file) is an error; the call never blocks on a fifo.
    pub fn read(&self, name: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, PathError> {
        let name = name.as_ref();
        let file = self.open_file(name, OFlags::RDONLY | OFlags::NONBLOCK)?;
        read_regular(file, limit).at("read", self.path.join(name))
    }

    /// Returns whether `name` exists, a symbolic link counting as itself.
    pub fn exists(&self, name: impl AsRef<OsStr>) -> Result<bool, PathError> {
        match self.stat(name) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns the metadata of `name`, following nothing.
    pub fn stat(&self, name: impl AsRef<OsStr>) -> Result<Stat, PathError> {
        let name = self.name("stat", name.as_ref())?;
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .at("stat", self.path.join(name))
    }

    /// Lists the directory in the kernel's order, without `.`, `..` and the temporary files that
    /// [`Dir::replace`] makes.
    pub fn entries(&self) -> Result<Vec<Entry>, PathError> {
        let mut entries = list(self.fd.as_fd()).at("list", &self.path)?;
        entries.retain(|entry| {
            !entry
                .name
                .as_bytes()
                .starts_with(TEMPORARY_PREFIX.as_bytes())
        });
        Ok(entries)
    }

    /// Moves an entry to `new_name` in another directory of the same filesystem, replacing what is
    /// there as rename(2) does. Durable means both directories are synced.
    pub fn rename_to(
        &self,
        name: impl AsRef<OsStr>,
        to: &Dir,
        new_name: impl AsRef<OsStr>,
        durability: Durability,
    ) -> Result<(), PathError> {
        let name = self.name("rename", name.as_ref())?;
        let new_name = to.name("rename", new_name.as_ref())?;
        rustix::fs::renameat(&self.fd, name, &to.fd, new_name)
            .at("rename", self.path.join(name))?;
        if durability == Durability::Durable {
            to.sync()?;
            self.sync()?;
        }
        Ok(())
    }

    /// Removes a name that is not a directory.
    pub fn unlink(&self, name: impl AsRef<OsStr>) -> Result<(), PathError> {
        let name = self.name("remove", name.as_ref())?;
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).at("remove", self.path.join(name))
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, name: impl AsRef<OsStr>) -> Result<(), PathError> {
        let name = self.name("remove", name.as_ref())?;
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR).at("remove", self.path.join(name))
    }

    /// Makes the names in this directory survive a power cut.
    pub fn sync(&self) -> Result<(), PathError> {
        rustix::fs::fsync(&self.fd).at("sync", &self.path)
    }

    /// Makes everything written so far to the filesystem this directory is on survive a power cut.
    pub fn syncfs(&self) -> Result<(), PathError> {
        rustix::fs::syncfs(&self.fd).at("sync the filesystem of", &self.path)
    }

    /// Refuses names that are not one plain component.
    pub(crate) fn name<'n>(
        &self,
        act: &'static str,
        name: &'n OsStr,
    ) -> Result<&'n OsStr, PathError> {
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
            return Err(Errno::INVAL).at(act, self.path.join(Path::new(name)));
        }
        Ok(name)
    }

    fn open_beneath(&self, name: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), resolve)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How every directory is opened.
pub(crate) const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::RDONLY)
    .union(OFlags::CLOEXEC);

/// Lists an open directory from its beginning, whatever the offset of `fd`; everything but `.` and
/// `..`. For trees that are not ours; a [`Dir`] has [`Dir::entries`].
pub fn list(fd: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let fd = rustix::fs::openat(fd, ".", DIRECTORY, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut reader = RawDir::new(fd, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let name = OsStr::from_bytes(name).to_os_string();
            entries.push(Entry {
                name,
                kind: entry.file_type(),
            });
        }
    }
    Ok(entries)
}

/// Reads an open file after checking that it is regular and within `limit`.
pub(crate) fn read_regular(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a regular file",
        ));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(limit) + 1).unwrap_or(0));
    // The size may be wrong (procfs) or change: what is read decides.
    if size <= limit {
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    if size > limit || bytes.len() as u64 > limit {
        let text = format!("larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}
