//! Whether a container runs: what the records say, checked against the kernel.

use std::os::fd::OwnedFd;

use lamina_fs::{Dir, PathError};
use lamina_types::ErrorKind;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::record::{
    ExitRecord, IdentityError, MONITOR_LOCK, RecordError, State, Status, read_exit, read_state,
};

/// What a container is doing, as far as can be known.
#[derive(Debug)]
pub enum Liveness {
    /// It was never started, or its monitor has not made an init yet and none is left behind.
    Never,
    /// A monitor holds its lock and is about to make init.
    Starting,
    /// A monitor holds its lock, and init is the process recorded.
    Supervised {
        /// What the monitor wrote; [`crate::Status::Created`] or [`crate::Status::Running`].
        state: State,
        /// A descriptor of init.
        pidfd: OwnedFd,
    },
    /// A monitor holds its lock but init has ended: the record is about to be written.
    Exiting(State),
    /// The monitor was killed; init lives.
    Orphaned {
        /// What the monitor wrote last.
        state: State,
        /// A descriptor of init.
        pidfd: OwnedFd,
    },
    /// Init has ended, and its monitor waits to start the container again, or does so: until the
    /// program runs.
    Restarting {
        /// What the monitor wrote about the run that ended.
        state: State,
        /// How that ended, and when the next begins.
        exit: ExitRecord,
    },
    /// Init has ended and its monitor recorded how.
    Exited(ExitRecord),
    /// Init has ended, and nobody saw how: its monitor was killed before, or the machine went down.
    Lost(State),
}

impl Liveness {
    /// Returns whether processes of the container live, or will before long.
    pub fn is_alive(&self) -> bool {
        matches!(
            self,
            Self::Supervised { .. }
                | Self::Orphaned { .. }
                | Self::Starting
                | Self::Exiting(_)
                | Self::Restarting { .. }
        )
    }
}

/// Why it cannot be said whether a container runs.
#[derive(Debug, thiserror::Error)]
pub enum LivenessError {
    /// The lock could not be looked at.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A record could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The kernel's word on the process could not be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl LivenessError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Record(error) => error.kind(),
            Self::Identity(error) => error.kind(),
        }
    }
}

/// Says whether the container of a state directory runs. Takes no lock that anybody waits for.
///
/// The lock is looked at before the records: a monitor that ends writes them first, so a free lock
/// means that they are final.
pub fn liveness(state_dir: &Dir) -> Result<Liveness, LivenessError> {
    let supervised = is_locked(state_dir)?;
    // Half a record cannot be; an empty one can, after a power cut, and then nothing lives.
    let state = match read_state(state_dir) {
        Err(RecordError::Parse { .. }) => None,
        other => other?,
    };
    let Some(state) = state else {
        return Ok(if supervised {
            Liveness::Starting
        } else {
            Liveness::Never
        });
    };
    if let Some(exit) = recorded_exit(state_dir)? {
        // On its way from one run to the next, or about to be.
        let is_begun = state.status == Status::Created && state.restarts > 0;
        let is_of_run = exit.init == state.init;
        if supervised && (is_begun || is_of_run && exit.next_start.is_some()) {
            return Ok(Liveness::Restarting { state, exit });
        }
        if is_of_run {
            return Ok(Liveness::Exited(exit));
        }
    }
    match (state.init.find()?, supervised) {
        (Some(pidfd), true) => Ok(Liveness::Supervised { state, pidfd }),
        (Some(pidfd), false) => Ok(Liveness::Orphaned { state, pidfd }),
        (None, true) => Ok(Liveness::Exiting(state)),
        (None, false) => Ok(Liveness::Lost(state)),
    }
}

/// Returns the record of how the last run ended that did, if it is there.
fn recorded_exit(state_dir: &Dir) -> Result<Option<ExitRecord>, LivenessError> {
    match read_exit(state_dir) {
        Err(RecordError::Parse { .. }) => Ok(None),
        other => Ok(other?),
    }
}

/// Returns whether a monitor holds its lock.
///
/// A shared lock is tried, so that two who look do not take each other for a monitor.
pub(crate) fn is_locked(state_dir: &Dir) -> Result<bool, PathError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = match state_dir.open_file(MONITOR_LOCK, flags) {
        Err(error) if error.is_not_found() => return Ok(false),
        other => other?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(source) => Err(PathError {
            act: "lock",
            path: state_dir.path().join(MONITOR_LOCK),
            source: source.into(),
        }),
    }
}
