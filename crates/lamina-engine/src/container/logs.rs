//! `logs`: what a container has written.

use lamina_fs::PathError;
use lamina_monitor::Time;
use lamina_monitor::log::{LogError, ReadOptions, Reader, read};
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::adopt::is_alive;
use crate::container::find::FindError;

/// What to read of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogsOptions {
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Nothing older.
    pub since: Option<Time>,
    /// Nothing younger.
    pub until: Option<Time>,
    /// Wait for more as long as the container runs.
    pub follow: bool,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It is not kept where it could be read again.
    #[error("configured logging driver does not support reading")]
    Unreadable,
    /// The log is damaged or cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A directory cannot be opened.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl LogsError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Unreadable => ErrorKind::Unsupported,
            Self::Log(error) => error.kind(),
            Self::Path(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Returns how many bytes of a container's output the log could not take.
    pub fn log_bytes_lost(&self, id: &ContainerId) -> u64 {
        let state = self.load(id).map(|container| container.state());
        state.map_or(0, |state| state.map_or(0, |state| state.log_bytes_lost))
    }

    /// Reads the log of a container, running or not; never slows the container down.
    ///
    /// Where it is followed, a monitor that is killed meanwhile is replaced: what the program
    /// writes is logged by somebody as long as somebody looks.
    pub fn logs(&self, id: &ContainerId, options: LogsOptions) -> Result<Reader<'_>, LogsError> {
        let container = self.load_supervised(id)?;
        let format = container.record.request.log.format();
        let format = format.ok_or(LogsError::Unreadable)?;
        let mut read_options = ReadOptions {
            tail: options.tail,
            since: options.since,
            until: options.until,
            follow: None,
        };
        if options.follow {
            let container = self.load(id)?;
            read_options.follow = Some(Box::new(move || {
                drop(self.bring_back(&container));
                is_alive(&container)
            }));
        }
        Ok(read(&container.dir, format, read_options)?)
    }
}
