//! `rm`: a container goes, with its writable layer, its records and its anonymous volumes.

use lamina_fs::LockError;
use lamina_monitor::LivenessError;
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::cleanup::{self, CleanupError, Word};
use crate::container::find::FindError;
use crate::container::stop::{self, StopError};

/// How a container is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Whether a running container is killed first.
    pub force: bool,
    /// Whether its anonymous volumes go too; with `--rm` they always do.
    pub volumes: bool,
}

/// Why a container cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// It runs.
    #[error("cannot remove container {name}: container is running")]
    Running {
        /// Its name.
        name: String,
    },
    /// It cannot be killed.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// Somebody else holds the container for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Parts of it cannot be removed; the next command tries again.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
}

impl RemoveError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::Running { .. } => ErrorKind::FailedPrecondition,
            Self::Stop(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Cleanup(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Removes a container. Killed in the middle, the next command removes the rest.
    pub fn remove(&self, id: &ContainerId, options: RemoveOptions) -> Result<(), RemoveError> {
        let container = self.load(id)?;
        if cleanup::is_alive(&container)? {
            if !options.force {
                return Err(RemoveError::Running {
                    name: container.record.name.to_string(),
                });
            }
            self.kill_and_wait(&container)?;
        } else {
            // Its monitor may be writing the last record into the directory that is to go.
            stop::settle(&container)?;
        }
        let Some(_lock) = cleanup::lock(&container)? else {
            return Ok(());
        };
        // Its own cleanup may have been first, or a start.
        let container = match self.load(id) {
            Err(FindError::NotFound(_)) => return Ok(()),
            other => other?,
        };
        if cleanup::is_alive(&container)? {
            return Err(RemoveError::Running {
                name: container.record.name.to_string(),
            });
        }
        let volumes = options.volumes || container.record.request.remove;
        Ok(cleanup::finish(
            id,
            self.remove_all(&container, volumes, Word::Found),
        )?)
    }
}
