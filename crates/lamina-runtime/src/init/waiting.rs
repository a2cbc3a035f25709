//! Waiting for the parent: for its orders, and between create and start.

use std::os::fd::{AsFd, OwnedFd};

use lamina_sys::process::exit_now;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::orders::{Order, Outfit};
use crate::cgroup::Cgroup;
use crate::seccomp::Program;

/// Waits until the bundle is there.
///
/// A parent that is gone is not reported to anybody: this process ends.
pub(super) fn for_bundle(channel: &OwnedFd) {
    match Order::receive(channel.as_fd()) {
        Ok(Order::Read) => {}
        _ => exit_now(125),
    }
}

/// Waits until the parent has made the cgroups; `None` where this machine has none. Ends as
/// [`for_bundle`].
pub(super) fn for_cgroups(channel: &OwnedFd) -> Option<Cgroup> {
    match Order::receive(channel.as_fd()) {
        Ok(Order::Join(cgroup)) => cgroup,
        _ => exit_now(125),
    }
}

/// Waits until the parent has compiled the filter; ends as [`for_bundle`].
pub(super) fn for_filter(channel: &OwnedFd) -> Program {
    match Order::receive(channel.as_fd()) {
        Ok(Order::Filter(program)) => program,
        _ => exit_now(125),
    }
}

/// Waits for what the program is to have; ends as [`for_bundle`].
pub(super) fn for_outfit(channel: &OwnedFd) -> Outfit {
    match Order::receive(channel.as_fd()) {
        Ok(Order::Outfit(outfit)) => outfit,
        _ => exit_now(125),
    }
}

/// Waits until a byte comes through the FIFO, or without one until the parent orders the start.
///
/// `EPIPE` where the parent goes away first: without it nobody could start, signal or reap this
/// process as the record says, so it ends instead of waiting for ever.
///
/// The FIFO is closed before the exec, so that a second `start` is told that nobody waits.
pub(super) fn for_start(channel: &OwnedFd, fifo: Option<OwnedFd>) -> Result<(), Errno> {
    let Some(fifo) = fifo else {
        return match Order::receive(channel.as_fd())? {
            Order::Start => Ok(()),
            _ => Err(Errno::BADMSG),
        };
    };
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
