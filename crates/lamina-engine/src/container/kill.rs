//! `kill`: a signal to a container's first process.

use std::os::fd::{AsFd, OwnedFd};

use lamina_fs::{LockError, PathError};
use lamina_monitor::{ConnectError, Liveness, LivenessError, SessionError, liveness};
use lamina_types::{ContainerId, ErrorKind, Signal};
use rustix::io::Errno;

use crate::Engine;
use crate::container::find::{Container, FindError};
use crate::process;
use crate::record::Record;

/// Why a container cannot be signalled.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// There is no such signal.
    #[error("there is no signal {0}")]
    Signal(u8),
    /// Somebody else holds the container for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// That it is stopped cannot be noted.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its monitor does not answer.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Its monitor does not answer.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The kernel refused.
    #[error("signal container {id}")]
    Send {
        /// Which container.
        id: ContainerId,
        /// Why not.
        source: Errno,
    },
}

impl KillError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::NotRunning(_) => ErrorKind::FailedPrecondition,
            Self::Signal(_) => ErrorKind::InvalidArgument,
            Self::Lock(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Connect(error) => error.kind(),
            Self::Session(error) => error.kind(),
            Self::Send { source, .. } => ErrorKind::of_io(&(*source).into()),
        }
    }
}

impl Engine {
    /// Sends a signal to the first process of a running container, by its pidfd: never to a
    /// process that has taken its pid.
    pub fn kill(&self, id: &ContainerId, signal: Signal) -> Result<(), KillError> {
        let container = self.load_supervised(id)?;
        let record = &container.record;
        let plan = process::plan(&record.request, &record.image_config, &record.id);
        let stops = plan.map_or(Signal(15), |plan| plan.stop_signal);
        let is_end = signal == Signal::KILL || signal == stops;
        let was_alive = liveness(&container.dir)?.is_alive();
        let pidfd = match is_end {
            // What somebody ends is not started again, before or after the signal.
            true => self.stoppable(&container)?,
            false => init_of(&container)?,
        };
        let Some(pidfd) = pidfd else {
            return match is_end && was_alive {
                true => Ok(()),
                false => Err(KillError::NotRunning(id.clone())),
            };
        };
        if (1..=64).contains(&signal.0) {
            self.note_signal(&container.record, signal);
        }
        send(&pidfd, id, signal)?;
        // As Docker's: what is to end a paused container lets it go on.
        if is_end {
            self.let_go(record);
        }
        Ok(())
    }
}

impl Engine {
    /// Tells of a signal that is about to be sent: the end that it brings is told of after it.
    pub(crate) fn note_signal(&self, record: &Record, signal: Signal) {
        let signal = signal.0.to_string();
        self.note_container(record, "kill", &[("signal", &signal)]);
    }
}

/// Sends a signal; a process that has just ended is no error.
pub(crate) fn send(pidfd: &OwnedFd, id: &ContainerId, signal: Signal) -> Result<(), KillError> {
    let number = i32::from(signal.0);
    let named = rustix::process::Signal::from_named_raw(number);
    match lamina_sys::signals::pidfd_kill(pidfd.as_fd(), number) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(Errno::INVAL) if named.is_none() => Err(KillError::Signal(signal.0)),
        Err(source) => Err(KillError::Send {
            id: id.clone(),
            source,
        }),
    }
}

/// Returns a descriptor of the first process, if it lives.
pub(crate) fn init_of(container: &Container) -> Result<Option<OwnedFd>, LivenessError> {
    Ok(match liveness(&container.dir)? {
        Liveness::Supervised { pidfd, .. } | Liveness::Orphaned { pidfd, .. } => Some(pidfd),
        Liveness::Never
        | Liveness::Starting
        | Liveness::Restarting { .. }
        | Liveness::Exiting(_)
        | Liveness::Exited(_)
        | Liveness::Lost(_) => None,
    })
}
