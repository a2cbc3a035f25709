//! Small files of `/proc`, read in one call into a caller's buffer.

use lamina_fs::{At, PathError};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read as read_fd, retry_on_intr};

/// Reads as much of a file of the kernel's as the buffer holds; `None` if it does not exist.
///
/// Such files give their whole content to the first read if the buffer is large enough.
pub(crate) fn read<'b>(path: &str, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, PathError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = match openat(CWD, path, flags, Mode::empty()) {
        // Gone before the open, or, for an entry of a process being reaped, during it.
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        other => other.at("open", path)?,
    };
    match retry_on_intr(|| read_fd(&fd, &mut *buffer)) {
        Ok(length) => Ok(buffer.get(..length)),
        // A process that ended after the open.
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}
