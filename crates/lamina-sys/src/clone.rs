//! clone3(2) without a shared address space: fork, with namespaces and a cgroup.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::checked;
use crate::process::thread_count;

/// What the child of [`clone3`] is born with.
#[derive(Debug, Default, Clone, Copy)]
pub struct CloneRequest<'a> {
    /// `CLONE_NEW*` bits: the namespaces made for the child.
    pub namespaces: u64,
    /// A cgroup2 directory the child is born in (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether the child is a sibling: its parent is the caller's parent (`CLONE_PARENT`).
    pub sibling: bool,
}

/// Which side of the clone the caller is on.
#[derive(Debug)]
pub enum Cloned {
    /// The caller is the parent.
    Parent {
        /// The child's process id in the caller's pid namespace.
        pid: Pid,
        /// A descriptor of the child, close-on-exec.
        pidfd: OwnedFd,
    },
    /// The caller is the child; it owns copies of everything and must not return to a main loop.
    Child,
}

/// Makes a child process that goes on from here, with a copy of this address space.
///
/// Refused with `EDEADLK` where the process has more than one thread: the child of a threaded
/// process holds copies of locks (malloc's among them) that nobody will release.
pub fn clone3(request: &CloneRequest<'_>) -> Result<Cloned, Errno> {
    if thread_count()? > 1 {
        return Err(Errno::DEADLK);
    }
    let mut pidfd: libc::c_int = -1;
    let mut flags = request.namespaces | libc::CLONE_PIDFD as u64;
    if request.cgroup.is_some() {
        // The libc constant is declared c_int, which the value 1 << 33 does not fit.
        flags |= 0x2_0000_0000;
    }
    if request.sibling {
        flags |= libc::CLONE_PARENT as u64;
    }
    let args = libc::clone_args {
        flags,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT the signal is the caller's own; the kernel insists on zero.
        exit_signal: if request.sibling {
            0
        } else {
            libc::SIGCHLD as u64
        },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: request
            .cgroup
            .map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: `args` is a valid clone_args of the size given and `pidfd` outlives the call. There
    // is no CLONE_VM, so the child runs on a copy of this stack and nothing is shared; the process
    // is single-threaded (checked above), so no lock is held by a thread the child does not have.
    let pid = checked(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            size_of::<libc::clone_args>(),
        )
    })?;
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        None => Ok(Cloned::Child),
        Some(pid) => {
            // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor that nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}
