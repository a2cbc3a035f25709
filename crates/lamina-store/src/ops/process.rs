//! Killing a process that a dead operation left, if it is still that process.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use lamina_fs::{At, PathError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long a killed process may take to be gone.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// Kills the process and waits until it is gone; one that is gone already is no error.
///
/// The pidfd is taken first and the identity compared afterwards, so that the process that is
/// killed is the one that was compared.
pub(super) fn kill(pid: i32, start_time: u64) -> Result<(), PathError> {
    let path = PathBuf::from(format!("/proc/{pid}"));
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(());
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH | Errno::INVAL) => return Ok(()),
        other => other.at("open process", &path)?,
    };
    if self::start_time(pid) != Some(start_time) {
        return Ok(());
    }
    kill_by(pidfd.as_fd(), path)
}

/// Kills by pidfd and waits for the end.
pub(super) fn kill_by(pidfd: BorrowedFd<'_>, path: PathBuf) -> Result<(), PathError> {
    match pidfd_send_signal(pidfd, Signal::KILL) {
        Err(Errno::SRCH) => return Ok(()),
        other => other.at("kill process", &path)?,
    }
    let mut ends = [PollFd::new(&pidfd, PollFlags::IN)];
    match poll(&mut ends, Some(&PATIENCE)) {
        Ok(0) => Err(Errno::TIMEDOUT).at("wait for the end of process", path),
        Err(Errno::INTR) | Ok(_) => Ok(()),
        Err(error) => Err(error).at("wait for the end of process", path),
    }
}

/// Reads field 22 of `/proc/PID/stat` (proc_pid_stat(5)); `None` if the process is gone.
pub(super) fn start_time(pid: Pid) -> Option<u64> {
    let mut text = String::with_capacity(512);
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let file = File::open(path).ok()?;
    // The name may have any byte but is cut to 15, so the line is short.
    file.take(4096).read_to_string(&mut text).ok()?;
    let after_name = text.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}
