//! Closing descriptors in bulk, and giving some away over an exec.

use std::os::fd::RawFd;

use rustix::io::Errno;

use crate::checked;

/// Marks every descriptor from `first` on close-on-exec (close_range(2), Linux 5.11).
///
/// Safe because nothing is closed now: no owner loses its descriptor before the exec.
pub fn cloexec_from(first: RawFd) -> Result<(), Errno> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC).or_else(|error| match error {
        // Seccomp of an outer container, or a kernel before 5.11.
        Errno::NOSYS | Errno::PERM | Errno::INVAL => cloexec_one_by_one(first),
        other => Err(other),
    })
}

/// Closes every descriptor from `first` on, except those in `keep`.
///
/// For a child that will not return to code that owns any of them: it ends by exec or
/// [`crate::process::exit_now`], so no destructor closes a number twice.
pub fn close_all_but(first: RawFd, keep: &[RawFd]) -> Result<(), Errno> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= first).collect();
    keep.sort_unstable();
    let mut from = first;
    for fd in keep {
        if fd > from {
            close_between(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_between(from, RawFd::MAX)
}

fn close_range(first: RawFd, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: no pointers; with CLOSE_RANGE_CLOEXEC no descriptor is closed by the call.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) })?;
    Ok(())
}

fn close_between(first: RawFd, last: RawFd) -> Result<(), Errno> {
    // SAFETY: no pointers. Closing descriptors that Rust values own is sound here because the
    // callers (documented above) never run those values' destructors.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    Ok(())
}

fn cloexec_one_by_one(first: RawFd) -> Result<(), Errno> {
    for fd in first..limit() {
        // SAFETY: F_SETFD on any number is memory-safe; EBADF for a closed one is expected.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

fn limit() -> RawFd {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    RawFd::try_from(limit.unwrap_or(4096)).map_or(4096, |most| most.min(65_536))
}
