//! System calls that rustix does not have; the only crate with unsafe code.
//!
//! One file per area. Every wrapper takes borrowed descriptors and C strings and gives owned
//! descriptors and a typed errno; what a wrapper cannot make safe by its types (a fork in a
//! threaded process) it checks at run time. Policy is elsewhere: nothing here knows what a
//! container is.
//!
//! [`sha256`] is no system call: instructions of the processor that the compiler cannot vouch for.
//!
//! Before adding a wrapper, look whether rustix has grown a safe one.

#![expect(
    unsafe_code,
    reason = "the one place for system calls and instructions without a safe wrapper"
)]

pub mod bpf;
pub mod clone;
pub mod detached;
pub mod erofs;
pub mod exec;
pub mod fds;
pub mod inherited;
pub mod keyring;
pub mod link;
pub mod loop_device;
pub mod mount;
pub mod namespace;
pub mod pidfd;
pub mod priority;
pub mod process;
pub mod seccomp;
pub mod sha256;
pub mod signals;
pub mod writeback;
pub mod xattr;

use rustix::io::Errno;

/// Turns the result of a raw system call into a value or the errno it left.
fn checked(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        Err(last_errno())
    } else {
        Ok(result)
    }
}

/// Returns the errno of the last failed libc call.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
