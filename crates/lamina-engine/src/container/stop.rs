//! `stop`: the stop signal, then time, then SIGKILL.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use lamina_monitor::record::MONITOR_LOCK;
use lamina_monitor::{Liveness, liveness};
use lamina_types::{ContainerId, ErrorKind, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::Engine;
use crate::container::find::{Container, FindError};
use crate::container::kill::{self, KillError};
use crate::container::restart;
use crate::process;
use crate::record::Record;
use crate::request::CreateRequest;

/// SIGKILL.
const KILL: Signal = Signal(9);
/// Docker's time between the stop signal and SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a killed process may take to be gone, and its monitor to record it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a container cannot be stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// It cannot be signalled.
    #[error(transparent)]
    Kill(#[from] KillError),
    /// It did not end, though it was killed.
    #[error("container {id} does not end, though it was killed: {why}")]
    Stuck {
        /// Which container.
        id: ContainerId,
        /// What keeps it, as far as that can be told.
        why: String,
    },
}

impl StopError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Kill(error) => error.kind(),
            Self::Stuck { .. } => ErrorKind::Timeout,
        }
    }
}

/// Returns how long a container has to stop, by its own `--stop-timeout`; `None` is for ever.
pub(crate) fn stop_timeout(request: &CreateRequest) -> Option<Duration> {
    match request.process.stop_timeout {
        None => Some(STOP_TIMEOUT),
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
    }
}

impl Engine {
    /// Returns how long a container has to stop where nothing else is said; `None` is for ever.
    pub fn stop_timeout(&self, id: &ContainerId) -> Result<Option<Duration>, FindError> {
        Ok(stop_timeout(&self.load(id)?.record.request))
    }

    /// Stops a container: its stop signal, then SIGKILL after `timeout` (`None` waits for ever).
    ///
    /// Idempotent: a container that does not run is stopped. Returns in bounded time.
    pub fn stop(&self, id: &ContainerId, timeout: Option<Duration>) -> Result<(), StopError> {
        let container = self.load_supervised(id).map_err(KillError::from)?;
        let record = &container.record;
        let Some(pidfd) = self.stoppable(&container)? else {
            return Ok(());
        };
        let plan = process::plan(&record.request, &record.image_config, &record.id);
        let signal = plan.map_or(Signal(15), |plan| plan.stop_signal);
        self.note_signal(record, signal);
        kill::send(&pidfd, id, signal)?;
        // A paused program takes it when it goes on.
        self.let_go(record);
        if ended_within(&pidfd, timeout) {
            settle(&container)?;
        } else {
            self.end(&container, &pidfd)?;
        }
        self.note_container(record, "stop", &[]);
        Ok(())
    }

    /// Kills a container if it runs and waits until its end is recorded.
    pub(crate) fn kill_and_wait(&self, container: &Container) -> Result<(), StopError> {
        match self.stoppable(container)? {
            Some(pidfd) => self.end(container, &pidfd),
            None => settle(container),
        }
    }

    /// Notes that somebody stops a container, so that nobody starts it again, and returns a
    /// descriptor of its first process; `None` if it does not run, or not any more.
    pub(crate) fn stoppable(&self, container: &Container) -> Result<Option<OwnedFd>, KillError> {
        restart::note_stopped(container)?;
        let begun = Instant::now();
        loop {
            match liveness(&container.dir)? {
                Liveness::Supervised { pidfd, .. } | Liveness::Orphaned { pidfd, .. } => {
                    return Ok(Some(pidfd));
                }
                Liveness::Restarting { .. } => self.halt(container)?,
                // Whether it had seen the note shows before long.
                Liveness::Exiting(_) if begun.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(1));
                }
                _ => return Ok(None),
            }
        }
    }

    fn end(&self, container: &Container, pidfd: &OwnedFd) -> Result<(), StopError> {
        let id = &container.record.id;
        self.note_signal(&container.record, KILL);
        kill::send(pidfd, id, KILL)?;
        self.let_go(&container.record);
        if ended_within(pidfd, Some(PATIENCE)) {
            settle(container)
        } else {
            Err(StopError::Stuck {
                id: id.clone(),
                why: self.what_keeps(&container.record),
            })
        }
    }
}

impl Engine {
    /// Says what keeps the processes of a container that were killed.
    fn what_keeps(&self, record: &Record) -> String {
        let Ok(Some(cgroup)) = self.cgroup_of(record) else {
            return "its processes are in no cgroup of its own".to_owned();
        };
        if cgroup.stands_still() {
            return "a cgroup above its own is frozen".to_owned();
        }
        let waits = |pid: &Pid| is_uninterruptible(*pid);
        let waiting: Vec<String> = cgroup
            .processes()
            .into_iter()
            .filter(waits)
            .map(|pid| pid.to_string())
            .collect();
        match waiting.as_slice() {
            [] => "its processes are still being torn down".to_owned(),
            pids => format!("process {} waits in the kernel (state D)", pids.join(", ")),
        }
    }
}

/// Returns whether a process waits in the kernel for something that no signal interrupts.
fn is_uninterruptible(pid: Pid) -> bool {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The name is in parentheses and may have any bytes.
    let end = stat.iter().rposition(|&byte| byte == b')');
    end.is_some_and(|end| stat.get(end + 2) == Some(&b'D'))
}

/// Waits for the end of a process; a pidfd is readable from then on.
fn ended_within(pidfd: &OwnedFd, timeout: Option<Duration>) -> bool {
    let end = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = end.map(|end| {
            let left = end.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: i64::MAX,
                tv_nsec: 0,
            })
        });
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match poll(&mut fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            Ok(ready) => return ready > 0,
            Err(_) => return false,
        }
    }
}

/// Returns whether a monitor holds its lock. A shared lock is tried, which no monitor would take
/// for another one.
pub(crate) fn is_supervised(container: &Container) -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    container
        .dir
        .open_file(MONITOR_LOCK, flags)
        .is_ok_and(|lock| {
            flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
        })
}

/// Waits until the monitor has recorded the end and let go of the container's directory.
pub(crate) fn settle(container: &Container) -> Result<(), StopError> {
    let start = Instant::now();
    loop {
        let supervised = is_supervised(container);
        match liveness(&container.dir).map_err(KillError::from)? {
            Liveness::Exited(_) | Liveness::Lost(_) | Liveness::Never if !supervised => {
                return Ok(());
            }
            // Pid 1 is gone but not yet reaped, or the last record is being written.
            _ if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
            _ => {
                return Err(StopError::Stuck {
                    id: container.record.id.clone(),
                    why: "its supervisor has not recorded the end".to_owned(),
                });
            }
        }
    }
}
