//! The client of an execution: until its end, over the death of its supervisor.

use std::path::PathBuf;
use std::time::Duration;

use lamina_fs::{Dir, PathError};
use lamina_monitor::record::UNKNOWN_CODE;
use lamina_monitor::{
    Checked, ExitRecord, ForegroundStdio, Liveness, LivenessError, MOST_OUTPUT, Relayed, Session,
    SessionError, SpawnError, adopt, liveness,
};
use lamina_types::{ContainerId, ErrorKind};

/// Why it cannot be told how a process ended that was executed in a container.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The conversation with its supervisor came to nothing.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Another supervisor cannot be executed.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// A file cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its supervisor was killed, and nobody saw its end.
    #[error("the exit status of the process is not known: its supervisor was killed first")]
    Lost,
    /// Its supervisor was killed, and its terminal went with that.
    #[error("the terminal of the process is lost: its supervisor was killed")]
    TerminalLost,
}

impl RelayError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Session(error) => error.kind(),
            Self::Spawn(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Lost | Self::TerminalLost => ErrorKind::Unavailable,
        }
    }

    /// Returns the exit code of the command: 255 where the process's own is not known.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Lost | Self::TerminalLost => UNKNOWN_CODE,
            _ => 1,
        }
    }
}

/// A process that is being executed in a container, and the conversation with its supervisor.
#[derive(Debug)]
pub struct Executing {
    /// The id of the execution, of the form of a container's.
    pub id: ContainerId,
    /// The conversation: relay, wait, signal.
    pub session: Session,
    pub(super) parent: Dir,
    /// What its supervisor is executed from.
    pub(super) binary: PathBuf,
    pub(super) has_terminal: bool,
}

impl Executing {
    /// Waits until the process ends, whose record then goes, at most for `limit`; see
    /// [`Session::check`].
    pub(crate) fn check(&mut self, limit: Duration) -> Result<Checked, SessionError> {
        let checked = self.session.check(limit, MOST_OUTPUT)?;
        if checked.code.is_some() {
            let _ = self.parent.remove_tree(self.id.as_str());
        }
        Ok(checked)
    }

    /// Relays until the process ends, whose record then goes, or the user detaches.
    ///
    /// A supervisor that is killed meanwhile is replaced by another, which tells how the process
    /// ends though it is not its parent. A terminal and the way to the program's stdin end with it.
    pub fn foreground(&mut self, stdio: &ForegroundStdio<'_>) -> Result<Relayed, RelayError> {
        let mut relayed = self.session.relay(stdio);
        while let Err(SessionError::Gone) = relayed {
            if let Some(exit) = self.recorded()? {
                relayed = Ok(Relayed::Exit(exit));
                break;
            }
            self.bring_back()?;
            self.session.attach()?;
            relayed = self.session.relay(stdio);
        }
        let relayed = relayed?;
        if let Relayed::Exit(exit) = &relayed {
            // What stays after a failure goes with the container's bundle.
            let _ = self.parent.remove_tree(self.id.as_str());
            if exit.unknown {
                return Err(RelayError::Lost);
            }
        }
        Ok(relayed)
    }

    /// Returns how the process has ended, if that is recorded.
    fn recorded(&self) -> Result<Option<ExitRecord>, RelayError> {
        let dir = match self.parent.open_at(self.id.as_str()) {
            // Gone with the container's run.
            Err(error) if error.is_not_found() => return Err(RelayError::Lost),
            other => other?,
        };
        match liveness(&dir)? {
            Liveness::Exited(exit) => Ok(Some(exit)),
            _ => Ok(None),
        }
    }

    /// Gives the process another supervisor.
    fn bring_back(&mut self) -> Result<(), RelayError> {
        let path = self.parent.path().join(self.id.as_str());
        let mut session = adopt(&path, &self.binary)?;
        match session.created() {
            Ok(_) if self.has_terminal => Err(RelayError::TerminalLost),
            Ok(_) => {
                self.session = session;
                Ok(())
            }
            // There is nothing to be taken over, or it goes just now with the container's run.
            Err(_) if self.recorded()?.is_none() => Err(RelayError::Lost),
            // It is recorded after all, which is found next.
            Err(_) => Ok(()),
        }
    }
}
