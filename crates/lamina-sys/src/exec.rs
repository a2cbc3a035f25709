//! execve(2) and execveat(2) with everything prepared before.

use std::convert::Infallible;
use std::ffi::{CStr, CString, NulError, c_char};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::last_errno;

/// A null-terminated array of C strings, built ahead so that the exec itself allocates nothing.
#[derive(Debug)]
pub struct CStrings {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CStrings {
    /// Builds the array; fails where a string has a zero byte inside.
    pub fn new<S: Into<Vec<u8>>>(strings: impl IntoIterator<Item = S>) -> Result<Self, NulError> {
        let strings: Vec<CString> = strings
            .into_iter()
            .map(|string| CString::new(string))
            .collect::<Result<_, _>>()?;
        let pointers = strings
            .iter()
            .map(|string| string.as_ptr())
            .chain([std::ptr::null()])
            .collect();
        Ok(Self { strings, pointers })
    }

    /// Returns the strings.
    pub fn as_slice(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces this process by the program at `path`; returns only on failure.
pub fn execve(path: &CStr, args: &CStrings, env: &CStrings) -> Result<Infallible, Errno> {
    // SAFETY: `path` is a C string; both arrays end in null and point into CStrings that live as
    // long as the borrows.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    Err(last_errno())
}

/// Replaces this process by the program open as `file`; returns only on failure.
///
/// Works for a file of a detached mount, which has no path.
pub fn fexecve(file: BorrowedFd<'_>, args: &CStrings, env: &CStrings) -> Result<Infallible, Errno> {
    // SAFETY: the empty path with AT_EMPTY_PATH names the descriptor itself; both arrays end in
    // null and point into CStrings that live as long as the borrows.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(last_errno())
}
