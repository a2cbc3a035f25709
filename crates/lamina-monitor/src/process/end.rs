//! How a container's init has ended, also where this process is not its parent.
//!
//! A parent reaps it and is told. An adopted init is reaped by somebody else (the machine's init,
//! most often at once); how it ended is said by its pidfd once it is reaped (Linux 6.15), and by
//! `/proc/PID/stat` until then. What neither says is not known, and never guessed.

use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use lamina_sys::pidfd::pidfd_info;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

use crate::identity::{Identity, Remains};

/// How long a parent that does not reap is waited for, where nothing else tells.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Exited(u8),
    /// By a signal.
    Killed(u8),
    /// Nobody can tell.
    Unknown,
}

impl End {
    /// Reads a status of wait(2).
    fn of_status(status: i32) -> Self {
        let [low, code, ..] = status.to_le_bytes();
        match low & 0x7f {
            0 => Self::Exited(code),
            signal => Self::Killed(signal),
        }
    }

    /// Returns the signal that ended it.
    pub(super) fn signal(self) -> Option<u8> {
        match self {
            Self::Killed(signal) => Some(signal),
            Self::Exited(_) | Self::Unknown => None,
        }
    }

    /// Returns the exit code as a shell counts it.
    pub(super) fn code(self) -> Option<u8> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Killed(signal) => Some(signal.saturating_add(128)),
            Self::Unknown => None,
        }
    }
}

/// Reaps a child that has ended.
pub(super) fn of_child(pidfd: BorrowedFd<'_>) -> Result<End, Errno> {
    let status = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)?;
    let signal = status.as_ref().and_then(WaitIdStatus::terminating_signal);
    if let Some(signal) = signal.and_then(|signal| u8::try_from(signal).ok()) {
        return Ok(End::Killed(signal));
    }
    let code = status.as_ref().and_then(WaitIdStatus::exit_status);
    let code = code.and_then(|code| u8::try_from(code & 0xff).ok());
    Ok(code.map_or(End::Unknown, End::Exited))
}

/// Finds out how a process ended that somebody else reaps.
pub(super) fn of_stranger(pidfd: BorrowedFd<'_>, identity: &Identity) -> End {
    let begun = Instant::now();
    let of_pidfd = || pidfd_info(pidfd).ok().and_then(|info| info.exit_status);
    loop {
        if let Some(status) = of_pidfd() {
            return End::of_status(status);
        }
        match identity.remains() {
            Remains::There(Some(status)) => return End::of_status(status),
            // Reaped between the two questions.
            Remains::Gone => return of_pidfd().map_or(End::Unknown, End::of_status),
            Remains::There(None) if begun.elapsed() > PATIENCE => return End::Unknown,
            // It may not be said to this process, or its last thread is on its way.
            Remains::There(None) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;
    use crate::poll;

    #[test]
    fn statuses_are_those_of_wait() {
        assert_eq!(End::of_status(0), End::Exited(0));
        assert_eq!(End::of_status(0x0700).code(), Some(7));
        // With the flag of a core dump.
        assert_eq!(End::of_status(0x8b).signal(), Some(11));
        assert_eq!(End::of_status(9).code(), Some(137));
        assert_eq!(End::Unknown.code(), None);
    }

    /// Asked as a stranger would be, before the process is reaped and after.
    #[test]
    fn the_end_of_a_stranger_is_its_own() {
        for (script, expected) in [("exit 7", End::Exited(7)), ("kill -9 $$", End::Killed(9))] {
            let mut child = Command::new("/bin/sh")
                .args(["-c", &format!("read x; {script}")])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let pid = Pid::from_child(&child);
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
            let identity = Identity::of(pid, pidfd.as_fd()).unwrap();
            assert_eq!(identity.remains(), Remains::There(None), "it lives");
            drop(child.stdin.take());
            let mut fds = [rustix::event::PollFd::new(
                &pidfd,
                rustix::event::PollFlags::IN,
            )];
            poll::wait(&mut fds, None).unwrap();
            assert_eq!(of_stranger(pidfd.as_fd(), &identity), expected);
            child.wait().unwrap();
            assert_eq!(identity.remains(), Remains::Gone);
            match of_stranger(pidfd.as_fd(), &identity) {
                End::Unknown => eprintln!("SKIP: no exit information (Linux 6.15)"),
                end => assert_eq!(end, expected),
            }
        }
    }
}
