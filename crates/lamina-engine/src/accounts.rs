//! Reads `/etc/passwd` and `/etc/group` of a root filesystem that is not mounted.
//!
//! A new container's upper directory is empty and layers are plain trees or one merged image, so
//! the usual case is a handful of opens, top layer first. Whatever is not that plain (a symbolic link, a whiteout, a
//! container that was started before) is left to overlayfs itself.

mod image;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_fs::{At, PathError, Root};
use lamina_types::{Rootfs, Source};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::rootfs::{self, RootfsError};
use crate::users::Accounts;

/// The largest file that is read (CVE-2026-47262); a real one has a few kilobytes.
const LIMIT: u64 = 4 << 20;
/// Set by overlayfs on a directory that hides those below.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Reads both files; one that is missing is empty.
pub(crate) fn read(rootfs: &Rootfs) -> Result<Accounts, RootfsError> {
    if let Some(accounts) = read_unmounted(rootfs)? {
        return Ok(accounts);
    }
    Ok(read_mounted(&rootfs::open(rootfs)?)?)
}

/// Reads both from a root filesystem that is mounted; one that is missing is empty.
pub(crate) fn read_mounted(root: &Root) -> Result<Accounts, PathError> {
    Ok(Accounts {
        passwd: read_in(root, Path::new("etc/passwd"))?,
        group: read_in(root, Path::new("etc/group"))?,
    })
}

fn read_in(root: &Root, path: &Path) -> Result<Vec<u8>, PathError> {
    match root.read(path, LIMIT) {
        Err(error) if error.is_not_found() || error.errno() == Some(Errno::NOTDIR) => {
            Ok(Vec::new())
        }
        other => other,
    }
}

/// Reads both without mounting anything, where that is possible.
fn read_unmounted(rootfs: &Rootfs) -> Result<Option<Accounts>, PathError> {
    if let Rootfs::Overlay {
        lowers,
        data: Some(data),
        upper,
        ..
    } = rootfs
        && let [Source::Erofs { file }] = lowers.as_slice()
    {
        return match upper_has_etc(upper.as_deref()) {
            true => Ok(None),
            false => image::read(file, data),
        };
    }
    read_plainly(rootfs)
}

/// Reads both from plain layers; `None` where a layer has something that only overlayfs should
/// interpret.
fn read_plainly(rootfs: &Rootfs) -> Result<Option<Accounts>, PathError> {
    let Some(dirs) = plain_dirs(rootfs) else {
        return Ok(None);
    };
    let mut passwd = None;
    let mut group = None;
    for dir in dirs {
        let etc = match open_etc(&dir) {
            Ok(etc) => etc,
            Err(Errno::NOENT) => continue,
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error).at("open", dir.join("etc")),
        };
        for (name, found) in [("passwd", &mut passwd), ("group", &mut group)] {
            if found.is_some() {
                continue;
            }
            match read_plain_file(etc.as_fd(), name) {
                Ok(bytes) => *found = bytes,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
                Err(error) => return Err(error).at("read", dir.join("etc").join(name)),
            }
        }
        if passwd.is_some() && group.is_some() || is_opaque(etc.as_fd()) {
            break;
        }
    }
    Ok(Some(Accounts {
        passwd: passwd.unwrap_or_default(),
        group: group.unwrap_or_default(),
    }))
}

/// Returns the directories to look in, if that is all there is to it.
fn plain_dirs(rootfs: &Rootfs) -> Option<Vec<PathBuf>> {
    let Rootfs::Overlay {
        lowers,
        upper,
        data,
        ..
    } = rootfs
    else {
        return None;
    };
    if data.is_some() {
        return None;
    }
    if upper_has_etc(upper.as_deref()) {
        return None;
    }
    lowers
        .iter()
        .map(|lower| match lower {
            Source::Dir(path) => Some(path.clone()),
            Source::Erofs { .. } => None,
        })
        .collect()
}

/// Returns whether the container has written there: what it has may be redirected or without data.
fn upper_has_etc(upper: Option<&Path>) -> bool {
    upper.is_some_and(|upper| !matches!(open_etc(upper), Err(Errno::NOENT)))
}

fn open_etc(dir: &Path) -> Result<OwnedFd, Errno> {
    // One call: the layer's own path is ours, `etc` in it is not and must not be a link.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(dir.join("etc"), flags, Mode::empty())
}

/// Reads a regular file, `None` where there is none; anything else is `InvalidData`.
fn read_plain_file(etc: BorrowedFd<'_>, name: &str) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    let fd = match rustix::fs::openat2(etc, name, flags, Mode::empty(), resolve) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        // A whiteout is a device without a driver; a socket cannot be opened either.
        Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Err(odd()),
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(odd());
    }
    let mut bytes = Vec::new();
    File::from(fd).take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        let text = format!("larger than {LIMIT} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some(bytes))
}

fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let mut value = [0_u8; 1];
    rustix::fs::fgetxattr(dir, OPAQUE, &mut value[..]).is_ok_and(|_| value == *b"y")
}

#[cfg(test)]
mod tests;
