//! `rm`: a container goes, with its writable layer, its records and its anonymous volumes.

use lamina_fs::LockError;
use lamina_monitor::LivenessError;
use lamina_store::{Removal, RemovalError, RemovedContainer};
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::cleanup::{self, CleanupError, CleanupFailure};
use crate::container::find::{Container, FindError};
use crate::container::state::ContainerStatus;
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
    #[error("cannot remove container {name}: container is {}", .status.as_str())]
    Running {
        /// Its name.
        name: String,
        /// Whether it runs or is about to.
        status: ContainerStatus,
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
    /// What it alone held cannot be freed.
    #[error(transparent)]
    Removal(#[from] RemovalError),
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
            Self::Removal(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Removes a container at once. Killed in the middle, the next command removes the rest.
    pub fn remove(&self, id: &ContainerId, options: RemoveOptions) -> Result<(), RemoveError> {
        let mut removal = Removal::at_once(&self.store);
        self.remove_into(&mut removal, id, options)?;
        removal.finish()?;
        Ok(())
    }

    /// Returns why a container would not be removed.
    pub fn may_remove(&self, id: &ContainerId, options: RemoveOptions) -> Result<(), RemoveError> {
        let container = self.load_any(id)?;
        match !options.force && cleanup::is_alive(&container)? {
            true => Err(running(&container)),
            false => Ok(()),
        }
    }

    /// Removes a container as a part of a command's removals, which may be undone. One that was
    /// made to go with its run goes at once.
    pub fn remove_into(
        &self,
        removal: &mut Removal,
        id: &ContainerId,
        options: RemoveOptions,
    ) -> Result<(), RemoveError> {
        let container = self.load_any(id)?;
        if cleanup::is_alive(&container)? {
            if !options.force {
                return Err(running(&container));
            }
            // Who sees its end tells of it.
            drop(self.bring_back(&container));
            self.kill_and_wait(&container)?;
        } else {
            // Its monitor may be writing the last record into the directory that is to go.
            stop::settle(&container)?;
        }
        let Some(_lock) = cleanup::lock(&container)? else {
            return Ok(());
        };
        // Its own cleanup may have been first, or a start.
        let container = match self.load_any(id) {
            Err(FindError::NotFound(_)) => return Ok(()),
            other => other?,
        };
        if cleanup::is_alive(&container)? {
            return Err(running(&container));
        }
        let goes_with_run = container.record.request.remove;
        let failures = match removal.is_undoable() && !goes_with_run {
            true => self.move_away(removal, &container, options.volumes),
            false => {
                let volumes = options.volumes || goes_with_run;
                let failures = self.remove_all(&container, volumes);
                if !self.has_name(&container) {
                    // It may have been the last to hold its image's layers.
                    removal.loosen();
                }
                failures
            }
        };
        cleanup::finish(id, failures)?;
        self.note_container(&container.record, "destroy", &[]);
        Ok(())
    }

    /// Says whether the images of a container have names.
    fn has_name(&self, container: &Container) -> bool {
        let names = self.store.refs().list().unwrap_or_default();
        let mut used = container.record.used_images();
        used.all(|image| names.iter().any(|entry| entry.image == *image))
    }

    /// Ends what is left of the run and moves the container to where it can be brought back from.
    fn move_away(
        &self,
        removal: &mut Removal,
        container: &Container,
        volumes: bool,
    ) -> Vec<CleanupFailure> {
        let record = &container.record;
        let mut failures = self.remove_run(record);
        if !failures.is_empty() {
            return failures;
        }
        let going = match self.own_volumes(record) {
            Ok(own) if volumes => own,
            Ok(_) => Vec::new(),
            Err(error) => return vec![error.into()],
        };
        let moved = removal.container(&RemovedContainer {
            id: record.id.clone(),
            name: record.name.clone(),
            image: record.request.image.familiar(),
            volumes: going,
        });
        failures.extend(moved.err().map(CleanupFailure::from));
        failures
    }
}

fn running(container: &Container) -> RemoveError {
    let status = container.state().map(|state| state.status);
    RemoveError::Running {
        name: container.record.name.to_string(),
        status: match status {
            Ok(ContainerStatus::Restarting) => ContainerStatus::Restarting,
            _ => ContainerStatus::Running,
        },
    }
}
