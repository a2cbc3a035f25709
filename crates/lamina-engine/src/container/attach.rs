//! `attach`: one more client of a container's monitor.

use lamina_monitor::{
    ConnectError, Liveness, LivenessError, Session, SessionError, Status, liveness,
};
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::find::FindError;
use crate::logging::PASSTHROUGH;

/// Why a container cannot be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// It does not run.
    #[error("cannot attach to container {0}: it is not running")]
    NotRunning(ContainerId),
    /// It is about to be started again.
    #[error("cannot attach to container {0}: it is restarting, wait until it is running")]
    Restarting(ContainerId),
    /// It is paused.
    #[error("cannot attach to container {0}: it is paused")]
    Paused(ContainerId),
    /// Its output does not come by its monitor.
    #[error("this container is using the 'passthrough' log driver, cannot attach")]
    Passthrough,
    /// Its monitor does not answer.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Its monitor went away.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl AttachError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::NotRunning(_) | Self::Restarting(_) | Self::Paused(_) => {
                ErrorKind::FailedPrecondition
            }
            Self::Passthrough => ErrorKind::Unsupported,
            Self::Connect(error) => error.kind(),
            Self::Session(error) => error.kind(),
        }
    }
}

/// A container's output from now on, and its input.
#[derive(Debug)]
pub struct Attached {
    /// The conversation with its monitor. Leaving it has no effect on the container.
    pub session: Session,
    /// Whether the program takes input.
    pub has_stdin: bool,
    /// Whether it has a terminal.
    pub has_terminal: bool,
}

impl Engine {
    /// Attaches to a running container, beside whoever is attached already.
    ///
    /// A client that does not keep up loses output, and is told how much; the container is never
    /// held up.
    pub fn attach(&self, id: &ContainerId) -> Result<Attached, AttachError> {
        let container = self.load_supervised(id)?;
        match liveness(&container.dir)? {
            Liveness::Supervised { state, .. } | Liveness::Orphaned { state, .. }
                if state.status == Status::Running => {}
            Liveness::Restarting { .. } => return Err(AttachError::Restarting(id.clone())),
            _ => return Err(AttachError::NotRunning(id.clone())),
        }
        if self.is_paused(&container.record) {
            return Err(AttachError::Paused(id.clone()));
        }
        if container.record.request.log.driver() == PASSTHROUGH {
            return Err(AttachError::Passthrough);
        }
        let mut session = self.reach(&container)?;
        session.attach()?;
        self.note_container(&container.record, "attach", &[]);
        let process = &container.record.request.process;
        Ok(Attached {
            session,
            has_stdin: process.stdin,
            has_terminal: process.tty,
        })
    }
}
