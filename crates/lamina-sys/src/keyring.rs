//! keyctl(2): a session keyring of one's own.

use std::ffi::CStr;

use rustix::io::Errno;

use crate::checked;

/// Joins a new session keyring named `name`, so that the caller's keys are out of reach.
pub fn join_session(name: &CStr) -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: the kernel copies the C string during the call and keeps no pointer.
    checked(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
    })?;
    Ok(())
}
