//! What an inode carries besides its content: owner, mode, extended attributes, times; and the
//! ways to open and link one that follow nothing.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use lamina_fs::Dir;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::ApplyError;
use crate::tar::{Meta, Time};

/// Owner, mode, attributes and time of what cannot be opened without side effects.
pub(crate) fn named_meta(
    parent: &OwnedFd,
    name: &[u8],
    path: &[u8],
    meta: &Meta,
    has_mode: bool,
) -> Result<(), ApplyError> {
    let at = |act| move |error| ApplyError::at(path, act, error);
    let (user, group) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(parent, name, user, group, nofollow).map_err(at("set the owner of"))?;
    if has_mode || !meta.xattrs.is_empty() {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(at("open"))?;
        let by_proc = format!("/proc/self/fd/{}", fd.as_raw_fd());
        if has_mode {
            // fchmodat2 is new in 6.6; the magic link leads to the inode itself and no further.
            rustix::fs::chmodat(
                CWD,
                &by_proc,
                Mode::from_raw_mode(meta.mode),
                AtFlags::empty(),
            )
            .map_err(at("set the mode of"))?;
        }
        set_link_xattrs(parent, name, meta).map_err(at("set the attributes of"))?;
    }
    set_time(parent.as_fd(), name, meta.mtime).map_err(at("set the time of"))
}

/// Attributes a layer may set. Overlayfs' own could redirect a name to any file of the store.
pub(crate) fn wanted(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.")
}

pub(crate) fn set_xattrs(fd: &OwnedFd, meta: &Meta) -> rustix::io::Result<()> {
    for (name, value) in meta.xattrs.iter().filter(|(name, _)| wanted(name)) {
        ignore_unsupported(rustix::fs::fsetxattr(
            fd,
            &name[..],
            value,
            XattrFlags::empty(),
        ))?;
    }
    Ok(())
}

fn set_link_xattrs(parent: &OwnedFd, name: &[u8], meta: &Meta) -> rustix::io::Result<()> {
    for (key, value) in meta.xattrs.iter().filter(|(key, _)| wanted(key)) {
        let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        let set = rustix::fs::lsetxattr(&path[..], &key[..], value, XattrFlags::empty());
        ignore_unsupported(set)?;
    }
    Ok(())
}

/// As Docker: an attribute the filesystem or kernel does not know is left out.
fn ignore_unsupported(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

pub(crate) fn link_fd(target: &OwnedFd, parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::linkat(target, "", parent, name, AtFlags::EMPTY_PATH) {
        // Without CAP_DAC_READ_SEARCH, before 6.10.
        Err(Errno::NOENT) => {
            let by_proc = format!("/proc/self/fd/{}", target.as_raw_fd());
            rustix::fs::linkat(CWD, by_proc, parent, name, AtFlags::SYMLINK_FOLLOW)
        }
        other => other,
    }
}

fn timestamps(time: Time) -> Timestamps {
    let spec = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: spec,
    }
}

/// Sets the modification time of a name without following it.
pub(crate) fn set_time(parent: BorrowedFd<'_>, name: &[u8], time: Time) -> rustix::io::Result<()> {
    rustix::fs::utimensat(parent, name, &timestamps(time), AtFlags::SYMLINK_NOFOLLOW)
}

pub(crate) fn set_fd_time(fd: BorrowedFd<'_>, time: Time) -> rustix::io::Result<()> {
    rustix::fs::futimens(fd, &timestamps(time))
}

/// Opens a directory for more than a path.
pub(super) fn open_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a directory held by `O_PATH` for more than a path.
pub(super) fn reopen(directory: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    open_directory(directory, b".")
}

/// The process' umask. umask(2) can only be read by setting it, for all threads at once, so procfs
/// is asked; where there is none every mode is set explicitly.
pub(super) fn umask() -> u32 {
    let read = || {
        let status = Dir::open("/proc/self").ok()?.read("status", 1 << 16).ok()?;
        let status = String::from_utf8(status).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    };
    read().unwrap_or(0o7777)
}
