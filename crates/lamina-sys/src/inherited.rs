//! Descriptors a process was started with, under numbers agreed on with its parent.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::checked;

/// Takes ownership of a descriptor this process inherited under a number agreed on beforehand.
///
/// To be called once per number, at the start of the process, before anything else is opened:
/// the parent put the descriptor there for us. It becomes close-on-exec. A number that is not
/// open is `EBADF`; 0, 1 and 2 are refused because the standard library owns them.
pub fn take(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < 3 {
        return Err(Errno::BADF);
    }
    // SAFETY: fcntl with F_SETFD takes no pointer; a closed number gives EBADF.
    let result = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    checked(libc::c_long::from(result))?;
    // SAFETY: the number is open (checked above) and, by this function's contract, given to us by
    // our parent and taken only once, so nothing else in the process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
