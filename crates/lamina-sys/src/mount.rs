//! mount_setattr(2) (Linux 5.12): the flags of a mount, or of a whole tree of mounts, by descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::checked;

/// `MOUNT_ATTR_RDONLY`.
pub const RDONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`.
pub const NOSUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`.
pub const NODEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`.
pub const NOEXEC: u64 = 0x8;
/// `MOUNT_ATTR__ATIME`: all the bits of the access-time mode.
pub const ATIME_MASK: u64 = 0x70;
/// `MOUNT_ATTR_NOATIME`.
pub const NOATIME: u64 = 0x10;
/// `MOUNT_ATTR_STRICTATIME`.
pub const STRICTATIME: u64 = 0x20;
/// `MOUNT_ATTR_NODIRATIME`.
pub const NODIRATIME: u64 = 0x80;
/// `MOUNT_ATTR_NOSYMFOLLOW` (Linux 5.14).
pub const NOSYMFOLLOW: u64 = 0x20_0000;

/// How a mount passes mount events on (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationType {
    /// Neither sends nor receives.
    Private,
    /// Receives only.
    Slave,
    /// Sends and receives.
    Shared,
    /// Private, and cannot be bound.
    Unbindable,
}

/// What [`set_attributes`] changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear; to change the access-time mode, [`ATIME_MASK`] must be among them.
    pub clear: u64,
    /// The propagation type to set, if any.
    pub propagation: Option<PropagationType>,
    /// Whether all mounts below change with it, all or none.
    pub recursive: bool,
}

/// Changes the mount whose root (or a file of which) is open as `mount`.
pub fn set_attributes(mount: BorrowedFd<'_>, attributes: &Attributes) -> Result<(), Errno> {
    let propagation = attributes
        .propagation
        .map_or(0, |propagation| match propagation {
            PropagationType::Private => libc::MS_PRIVATE,
            PropagationType::Slave => libc::MS_SLAVE,
            PropagationType::Shared => libc::MS_SHARED,
            PropagationType::Unbindable => libc::MS_UNBINDABLE,
        });
    let attr = [attributes.set, attributes.clear, propagation, 0];
    let recursive = if attributes.recursive {
        libc::AT_RECURSIVE
    } else {
        0
    };
    // SAFETY: `attr` has the layout of struct mount_attr version 0 (four u64: set, clear,
    // propagation, userns_fd) and its size is passed; the kernel only reads it.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            attr.as_ptr(),
            size_of_val(&attr),
        )
    })?;
    Ok(())
}
