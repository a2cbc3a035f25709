//! The process that packs the full files of a log, as long as the monitor wants it.
//!
//! Monitor and packer hold the ends of a socket pair: the packer ends early when the monitor shuts
//! its end, or dies; the monitor sees the packer's end, and waits for it before it lets go of the
//! container's directory.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use lamina_fs::Dir;
use lamina_sys::inherited;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};

use super::ending::execute;
use super::supervise::Supervisor;
use crate::log::pack;
use crate::poll;

/// The argument of a packer.
pub(super) const PACK: &str = "pack";
/// The number under which it finds its end of the pair.
const PAIR: i32 = 3;
/// What it gives way to others by: nobody waits for it.
const NICENESS: i32 = 15;
/// How long the end of a packer is waited for. It may be writing to a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Packs the log of a state directory. Nobody is told of a failure: what is not packed is read all
/// the same, and the next packer tries again.
pub(super) fn main(state_dir: &OsString) -> u8 {
    let Ok(monitor) = inherited::take(PAIR) else {
        return 125;
    };
    let _ = rustix::thread::set_name(c"lamina-packer");
    let _ = rustix::process::nice(NICENESS);
    let is_over = || poll::is_readable(monitor.as_fd());
    let packed = Dir::open(Path::new(state_dir)).and_then(|dir| pack(&dir, &is_over));
    u8::from(packed.is_err())
}

impl Supervisor {
    /// Has full files packed, if there are any and nobody does so.
    pub(super) fn pack(&mut self) {
        if self.packer.is_none() && self.log.wants_packing() {
            self.packer = self.execute_packer();
        }
    }

    /// The packer has ended: it may have missed the last files.
    pub(super) fn packer_ended(&mut self) {
        self.packer = None;
        self.pack();
    }

    fn execute_packer(&self) -> Option<OwnedFd> {
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let (ours, theirs) = pair.ok()?;
        let dir = self.config.state_dir.to_str()?;
        let argv = ["lamina", crate::ENTRY, dir, PACK].map(str::to_owned);
        execute(&argv, &[theirs.as_fd()]).ok()?;
        Some(ours)
    }

    /// Ends the packer: whoever gets the container's directory next has it alone.
    pub(super) fn stop_packing(&mut self) {
        let Some(packer) = self.packer.take() else {
            return;
        };
        let _ = shutdown(&packer, Shutdown::Write);
        let mut fds = [PollFd::new(&packer, PollFlags::IN)];
        let _ = poll::wait(&mut fds, Some(PATIENCE));
    }
}
