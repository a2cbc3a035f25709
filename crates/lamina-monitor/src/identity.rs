//! Which process a container's init is: a pid alone would soon be somebody else's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_fs::PathError;
use lamina_types::ErrorKind;
use rustix::fs::{CWD, fstat, readlinkat};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// A process, told apart from every other that has or will have its pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id in the host's pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id` of the boot it lives in.
    pub boot_id: String,
    /// The inode number of its pidfd, which is unique during a boot from Linux 6.9 on.
    pub pidfd_inode: u64,
}

/// What is left of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing: it was reaped.
    Gone,
    /// It lives, or has ended and was not reaped; how it ended, as wait(2) would say it, where that
    /// is known.
    There(Option<i32>),
}

impl Identity {
    /// Takes down who the living process `pid`, open as `pidfd`, is.
    ///
    /// Holding the pidfd of a child that has not been reaped makes the pid ours, so `/proc/PID` is
    /// about that process and no other.
    pub fn of(pid: Pid, pidfd: BorrowedFd<'_>) -> Result<Self, IdentityError> {
        let number = pid.as_raw_nonzero().get().cast_unsigned();
        let stat = stat_of(number)?.ok_or(IdentityError::Gone(number))?;
        Ok(Self {
            pid: number,
            start_time: stat.start_time,
            boot_id: boot_id()?,
            pidfd_inode: inode(pidfd)?,
        })
    }

    /// Returns the process id; nobody's after the process has been reaped.
    pub fn pid(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }

    /// Returns a pidfd of the process if it lives (a zombie does not), `None` if it is gone.
    pub fn find(&self) -> Result<Option<OwnedFd>, IdentityError> {
        use rustix::process::{PidfdFlags, pidfd_open};
        if self.boot_id != boot_id()? {
            return Ok(None);
        }
        let Some(pid) = self.pid() else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(source) => return Err(IdentityError::Pidfd(self.pid, source.into())),
        };
        // The pid may have been taken by another process: what /proc and the pidfd say decides.
        // Asked after the open, so the answers are about the process the pidfd holds, or a later
        // one, which differs in them.
        let same = stat_of(self.pid)?.is_some_and(|stat| stat.start_time == self.start_time)
            && inode(pidfd.as_fd())? == self.pidfd_inode
            && !crate::poll::is_readable(pidfd.as_fd());
        Ok(same.then_some(pidfd))
    }

    /// Returns whether it is of this boot; where that cannot be told, it is not.
    pub fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
    }

    /// Says what is left of the process, whose pidfd tells that it has ended.
    pub(crate) fn remains(&self) -> Remains {
        // Before the status, which the kernel writes as 0 for those who may not know it: the same
        // right is needed here.
        let path = format!("/proc/{}/ns/pid", self.pid);
        let is_allowed = readlinkat(CWD, path, Vec::new()).is_ok();
        match stat_of(self.pid) {
            Ok(Some(stat)) if stat.start_time == self.start_time => {
                Remains::There(stat.status.filter(|status| is_allowed || *status != 0))
            }
            Ok(_) => Remains::Gone,
            Err(_) => Remains::There(None),
        }
    }
}

/// Why it cannot be said which process that is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of the kernel's could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It ended meanwhile.
    #[error("process {0} is gone")]
    Gone(u32),
    /// A pidfd could not be opened or looked at.
    #[error("pidfd of process {0}")]
    Pidfd(u32, #[source] std::io::Error),
    /// A file of the kernel's does not have the form it should.
    #[error("unexpected content of {0}")]
    Content(String),
}

impl IdentityError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Gone(_) => ErrorKind::NotFound,
            Self::Pidfd(_, source) => ErrorKind::of_io(source),
            Self::Content(_) => ErrorKind::Internal,
        }
    }
}

fn inode(pidfd: BorrowedFd<'_>) -> Result<u64, IdentityError> {
    let stat = fstat(pidfd).map_err(|source| IdentityError::Pidfd(0, source.into()))?;
    Ok(stat.st_ino)
}

/// Returns this boot's id, 36 characters.
fn boot_id() -> Result<String, IdentityError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let mut buffer = [0_u8; 64];
    let text = crate::proc_file::read(path, &mut buffer)?.unwrap_or_default();
    match std::str::from_utf8(text).map(str::trim_end) {
        Ok(id) if id.len() == 36 => Ok(id.to_owned()),
        _ => Err(IdentityError::Content(path.to_owned())),
    }
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    /// Field 22.
    start_time: u64,
    /// Field 52, where it has ended; 0 also where it may not be told.
    status: Option<i32>,
}

/// Reads `/proc/PID/stat`; `None` if there is no such process.
fn stat_of(pid: u32) -> Result<Option<Stat>, IdentityError> {
    let path = format!("/proc/{pid}/stat");
    let mut buffer = [0_u8; 1024];
    let Some(text) = crate::proc_file::read(&path, &mut buffer)? else {
        return Ok(None);
    };
    match parse(text) {
        Some(stat) => Ok(Some(stat)),
        None => Err(IdentityError::Content(path)),
    }
}

/// The name in field 2 is the process's own choice and may hold spaces and brackets: count from the
/// last closing one.
fn parse(stat: &[u8]) -> Option<Stat> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    let start_time = fields.nth(18)?.parse().ok()?;
    let status = fields.nth(29).and_then(|status| status.parse().ok());
    Some(Stat {
        start_time,
        status: status.filter(|_| has_ended),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn start_time_is_counted_from_the_last_bracket() {
        let stat = b"7 (a) 1 (b c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2 3";
        let living = Stat {
            start_time: 4242,
            status: None,
        };
        assert_eq!(parse(stat), Some(living));
        for bad in [&b""[..], b"7 (x) S 1", b"no bracket", b"7 (x) S a b"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn the_status_is_that_of_the_dead() {
        let middle = (4..52).map(|field| format!(" {field}")).collect::<String>();
        for (state, status) in [("Z", Some(1792)), ("S", None)] {
            let stat = parse(format!("7 (a) {state}{middle} 1792").as_bytes()).unwrap();
            assert_eq!((stat.start_time, stat.status), (22, status));
        }
    }

    #[test]
    fn a_process_is_found_by_its_whole_identity_only() {
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let me = Identity::of(getpid(), pidfd.as_fd()).unwrap();
        assert!(me.find().unwrap().is_some());
        let forged: [fn(&mut Identity); 4] = [
            |i| i.start_time += 1,
            |i| i.boot_id = "0".repeat(36),
            |i| i.pidfd_inode += 1,
            |i| i.pid = 0,
        ];
        for forge in forged {
            let mut other = me.clone();
            forge(&mut other);
            assert!(other.find().unwrap().is_none(), "{other:?}");
        }
    }
}
