//! `attach`: one more client of a container's monitor.

use lamina_monitor::{
    ConnectError, ForegroundStdio, Liveness, LivenessError, Relayed, Session, SessionError, Status,
    liveness,
};
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::adopt::is_alive;
use crate::container::find::{Container, FindError};
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
    /// Its monitor was killed, and its terminal went with that.
    #[error("the terminal of container {0} is lost: its monitor was killed")]
    TerminalLost(ContainerId),
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
            Self::TerminalLost(_) => ErrorKind::Unavailable,
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
    container: Container,
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
            container,
        })
    }

    /// Relays until the container ends or the user detaches, with another monitor where the one
    /// that was attached to is killed. A terminal and the way to the program's stdin end with it.
    pub fn relay(
        &self,
        attached: &mut Attached,
        stdio: &ForegroundStdio<'_>,
    ) -> Result<Relayed, AttachError> {
        let container = &attached.container;
        match attached.session.relay(stdio) {
            Err(SessionError::Gone) if attached.has_terminal && is_alive(container) => {
                drop(self.bring_back(container));
                Err(AttachError::TerminalLost(container.record.id.clone()))
            }
            Err(SessionError::Gone) => Ok(self.go_on(container, &mut attached.session, stdio)?),
            relayed => Ok(relayed?),
        }
    }
}
