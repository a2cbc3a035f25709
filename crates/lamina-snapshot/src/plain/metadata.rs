//! Copying the metadata of a directory: owner, mode, extended attributes, times.

use std::os::fd::AsFd;

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// The largest list of names and the largest value the kernel keeps (xattr(7)).
const XATTR_MAX: usize = 64 << 10;
/// What overlayfs keeps for itself; it would give the copy a meaning.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Gives `to` the metadata of `from`, both directories. Times last: whatever is made in `to`
/// later changes them again.
pub(super) fn copy(from: &Dir, to: &Dir) -> Result<(), PathError> {
    let stat = rustix::fs::fstat(from).at("stat", from.path())?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(owner.0), Some(owner.1)).at("set the owner of", to.path())?;
    // After the owner: chown clears the set-id bits.
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    rustix::fs::fchmod(to, mode).at("set the mode of", to.path())?;
    copy_xattrs(from, to)?;
    copy_times(from, to)
}

/// Gives `to` the times of `from`.
pub(super) fn copy_times(from: &Dir, to: &Dir) -> Result<(), PathError> {
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
pub(super) fn set_times(to: &Dir, access: Timespec, change: Timespec) -> Result<(), PathError> {
    let times = Timestamps {
        last_access: access,
        last_modification: change,
    };
    rustix::fs::futimens(to, &times).at("set the times of", to.path())
}

fn copy_xattrs(from: &Dir, to: &Dir) -> Result<(), PathError> {
    // Most directories have none, and one short call tells.
    let mut none: [u8; 0] = [];
    let length = match rustix::fs::flistxattr(from.as_fd(), &mut none[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        Ok(length) => length.min(XATTR_MAX),
        Err(error) => return Err(error).at("list the attributes of", from.path()),
    };
    let mut names = vec![0; length];
    let length = rustix::fs::flistxattr(from.as_fd(), &mut names[..])
        .at("list the attributes of", from.path())?;
    let names = names[..length].split(|byte| *byte == 0);
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
