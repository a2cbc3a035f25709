//! Giving a directory the metadata of another: owner, mode, extended attributes, times.

use std::os::fd::AsFd;

use lamina_erofs::Metadata;
use lamina_fs::{At, Dir, PathError};
use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// The largest list of names and the largest value the kernel keeps (xattr(7)).
const XATTR_MAX: usize = 64 << 10;
/// What overlayfs keeps for itself; it would give the copy a meaning.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Gives `to` the metadata of `from`, both directories. Times last: whatever is made in `to`
/// later changes them again.
pub(crate) fn copy(from: &Dir, to: &Dir) -> Result<(), PathError> {
    let stat = rustix::fs::fstat(from).at("stat", from.path())?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(owner.0), Some(owner.1)).at("set the owner of", to.path())?;
    // After the owner: chown clears the set-id bits.
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    rustix::fs::fchmod(to, mode).at("set the mode of", to.path())?;
    copy_xattrs(from, to)?;
    copy_times(from, to)
}

/// Gives a directory the metadata that an image has for one.
pub(crate) fn give(metadata: &Metadata, to: &Dir) -> Result<(), PathError> {
    let owner = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    rustix::fs::fchown(to, Some(owner.0), Some(owner.1)).at("set the owner of", to.path())?;
    let mode = Mode::from_raw_mode(metadata.mode);
    rustix::fs::fchmod(to, mode).at("set the mode of", to.path())?;
    for (name, value) in &metadata.xattrs {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::fsetxattr(to.as_fd(), name.as_slice(), value, flags)
            .at("set an attribute of", to.path())?;
    }
    let time = Timespec {
        tv_sec: metadata.mtime.seconds,
        tv_nsec: metadata.mtime.nanoseconds.into(),
    };
    set_times(to, time, time)
}

/// Gives `to` the times of `from`.
pub(crate) fn copy_times(from: &Dir, to: &Dir) -> Result<(), PathError> {
    let stat = rustix::fs::fstat(from).at("stat", from.path())?;
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    set_times(
        to,
        time(stat.st_atime, stat.st_atime_nsec),
        time(stat.st_mtime, stat.st_mtime_nsec),
    )
}

/// Sets the times of a directory.
pub(crate) fn set_times(to: &Dir, access: Timespec, change: Timespec) -> Result<(), PathError> {
    let times = Timestamps {
        last_access: access,
        last_modification: change,
    };
    rustix::fs::futimens(to, &times).at("set the times of", to.path())
}

fn copy_xattrs(from: &Dir, to: &Dir) -> Result<(), PathError> {
    // Most directories have none, and one short call tells.
    let mut few = [0; 1024];
    let mut many = Vec::new();
    let listed = rustix::fs::flistxattr(from.as_fd(), &mut few[..]);
    let names = match listed {
        Ok(length) => &few[..length],
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(Errno::RANGE) => {
            many.resize(XATTR_MAX, 0);
            let length = rustix::fs::flistxattr(from.as_fd(), &mut many[..])
                .at("list the attributes of", from.path())?;
            &many[..length]
        }
        Err(error) => return Err(error).at("list the attributes of", from.path()),
    };
    let names = names.split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        if OVERLAY.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut value = vec![0; XATTR_MAX];
        let length = rustix::fs::fgetxattr(from.as_fd(), name, &mut value[..])
            .at("read an attribute of", from.path())?;
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::fsetxattr(to.as_fd(), name, &value[..length], flags)
            .at("set an attribute of", to.path())?;
    }
    Ok(())
}
