//! unshare(2) for the calling thread.

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the caller into new namespaces.
///
/// `FILES` is masked out: a private descriptor table is the one flag that could break code that
/// relies on shared descriptors.
pub fn unshare(namespaces: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: without CLONE_FILES the call cannot invalidate descriptors other threads see.
    unsafe { unshare_unsafe(namespaces - UnshareFlags::FILES) }
}
