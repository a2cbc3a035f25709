//! Having the disk begin with a file before anybody waits for it.

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

use crate::checked;

/// Begins to write what of a file has not been written yet, and does not wait for it
/// (sync_file_range(2), `SYNC_FILE_RANGE_WRITE`).
///
/// Promises nothing: neither the data nor the file's metadata are on the disk afterwards.
pub fn begin(file: impl AsFd) -> Result<(), Errno> {
    let (file, to_the_end) = (file.as_fd().as_raw_fd(), 0);
    // SAFETY: integers, and a descriptor that is open for the time of the call.
    let begun = unsafe { libc::sync_file_range(file, 0, to_the_end, libc::SYNC_FILE_RANGE_WRITE) };
    checked(libc::c_long::from(begun))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::fs::MemfdFlags;

    #[test]
    fn writing_a_file_is_begun_and_a_pipe_refuses() {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&file, b"some bytes").unwrap();
        super::begin(&file).unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(super::begin(&reader), Err(rustix::io::Errno::SPIPE));
    }
}
