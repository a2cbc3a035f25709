//! `restart`: stop, then start.

use std::time::Duration;

use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::start::{Running, StartError, StartOptions};
use crate::container::stop::StopError;

/// Why a container cannot be restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// It cannot be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// It cannot be started again.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl RestartError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Stop(error) => error.kind(),
            Self::Start(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Stops a container as [`Engine::stop`] does, if it runs, and starts it.
    pub fn restart(
        &self,
        id: &ContainerId,
        timeout: Option<Duration>,
    ) -> Result<Running, RestartError> {
        self.stop(id, timeout)?;
        let options = StartOptions {
            restarts: true,
            ..StartOptions::default()
        };
        Ok(self.start(id, &options, &mut Explainer::off())?)
    }
}
