//! The root directory of a container that runs, as a descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_sys::clone::{CloneRequest, Cloned, clone3};
use lamina_sys::process::exit_now;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::channel;

/// Opens the root of the mount namespace that the process of a pidfd is in.
///
/// Not `/proc/PID/root`: pid 1 can chroot(2) to wherever it wants. A child enters the namespace,
/// opens its root and passes it on; nothing else of the container is touched. What is below is the
/// container's to change at any time, so it is to be resolved with openat2(2) only.
///
/// The caller must have one thread. `ESRCH`: the process is gone.
pub fn root_of(container: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let (ours, theirs) = channel::pair()?;
    match clone3(&CloneRequest::default())? {
        Cloned::Child => {
            let sent = open_root(container)
                .and_then(|root| channel::send(theirs.as_fd(), &[0], &[root.as_fd()]));
            let code = sent.map_or_else(|errno| errno.raw_os_error(), |()| 0);
            exit_now(u8::try_from(code).unwrap_or(u8::MAX))
        }
        Cloned::Parent { pidfd, .. } => {
            drop(theirs);
            let mut word = [0];
            let received = channel::receive(ours.as_fd(), &mut word);
            let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
            let (_, fds) = received?;
            let code = status.and_then(|status| status.exit_status()).unwrap_or(0);
            let why = match code {
                0 => Errno::SRCH,
                code => Errno::from_raw_os_error(code),
            };
            fds.into_iter().next().ok_or(why)
        }
    }
}

fn open_root(container: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    move_into_thread_name_spaces(container, ThreadNameSpaceType::MOUNT)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, c"/", flags, Mode::empty())
}
