//! Facts about, and the end of, the calling process.

use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;

/// Returns how many threads this process has.
///
/// One stat: `/proc/self/task` has two links more than there are threads (fs/proc/base.c,
/// `proc_task_getattr`).
pub fn thread_count() -> Result<u64, Errno> {
    let stat = statat(CWD, c"/proc/self/task", AtFlags::empty())?;
    Ok(stat.st_nlink.saturating_sub(2))
}

/// Ends the process at once: no destructors, no atexit handlers, no flushing.
///
/// For a child made by [`crate::clone::clone3`], which must not run what its parent registered.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit(2) takes any status, touches no memory of ours and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}
