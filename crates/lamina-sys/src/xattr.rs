//! Extended attributes by path below a directory, without opening the file.

use std::ffi::CStr;

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

use crate::checked;

/// `getxattrat(2)` has the same number on every architecture (asm-generic/unistd.h, Linux 6.13).
const SYS_GETXATTRAT: libc::c_long = 464;

/// `struct xattr_args` (linux/xattr.h).
#[repr(C, align(8))]
struct Arguments {
    value: u64,
    size: u32,
    flags: u32,
}

/// Reads an attribute of what is at `path` below `dir` into `value` and returns its length; a
/// symbolic link at its end is not followed.
///
/// `NOSYS` before Linux 6.13; `RANGE` where `value` is too short.
pub fn get_at(dir: impl AsFd, path: &CStr, name: &CStr, value: &mut [u8]) -> Result<usize, Errno> {
    let mut arguments = Arguments {
        value: value.as_mut_ptr().expose_provenance() as u64,
        size: u32::try_from(value.len()).unwrap_or(u32::MAX),
        flags: 0,
    };
    // SAFETY: the strings are terminated and outlive the call; the kernel reads `arguments`, whose
    // length is told, and writes at most `size` bytes to `value`, which is borrowed mutably.
    let length = unsafe {
        libc::syscall(
            SYS_GETXATTRAT,
            dir.as_fd().as_raw_fd(),
            path.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            name.as_ptr(),
            &raw mut arguments,
            size_of::<Arguments>(),
        )
    };
    // At most the length of `value`.
    Ok(usize::try_from(checked(length)?).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told() {
        let root = rustix::fs::open(
            "/",
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        let root = root.unwrap();
        let mut value = [0; 8];
        let missing = get_at(&root, c"no-such-file", c"user.none", &mut value);
        assert!(
            matches!(missing, Err(Errno::NOENT | Errno::NOSYS)),
            "{missing:?}"
        );
    }
}
