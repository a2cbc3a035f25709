//! The wait between create and start.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Waits until a byte comes through the FIFO.
///
/// `EPIPE` where the parent goes away first: without it nobody could start, signal or reap this
/// process as the record says, so it ends instead of waiting for ever.
///
/// The FIFO is closed before the exec, so that a second `start` is told that nobody waits.
pub(super) fn for_start(channel: &OwnedFd, fifo: Option<OwnedFd>) -> Result<(), Errno> {
    let fifo = fifo.ok_or(Errno::BADF)?;
    loop {
        let mut watched = [
            PollFd::new(&fifo, PollFlags::IN),
            PollFd::new(channel, PollFlags::RDHUP),
        ];
        match poll(&mut watched, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if watched[0].revents().contains(PollFlags::IN) {
            return Ok(());
        }
        if !watched[1].revents().is_empty() {
            return Err(Errno::PIPE);
        }
        if watched[0].revents().contains(PollFlags::HUP) {
            // Somebody opened and closed it without a word. A pause instead of a busy loop.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
