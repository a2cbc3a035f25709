//! What can go wrong with a cgroup; every variant names the file.

use std::io;
use std::path::{Path, PathBuf};

use lamina_types::ErrorKind;
use rustix::io::Errno;

use super::PATIENCE;

/// Why something could not be done to a cgroup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A system call failed.
    #[error("{act} {path}")]
    Io {
        /// What was done.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel refused a limit.
    #[error("set {file} to {value}")]
    Limit {
        /// The control file, in full.
        file: PathBuf,
        /// What was written.
        value: String,
        /// Why it was refused.
        source: io::Error,
    },
    /// A limit needs a controller this machine does not have, or has not enabled.
    #[error("set {file}: this machine has no {controller} cgroup controller")]
    NoController {
        /// The controller.
        controller: &'static str,
        /// The control file.
        file: String,
    },
    /// A path or value of the spec makes no sense.
    #[error("cgroup {0}")]
    Invalid(String),
    /// Processes are still there.
    #[error("remove {path}: still in use after {}s", PATIENCE.as_secs())]
    Busy {
        /// The cgroup.
        path: PathBuf,
    },
    /// Its processes do not go on: a cgroup above it is frozen.
    #[error("thaw {path}: still frozen after {}s, by a cgroup above it", PATIENCE.as_secs())]
    FrozenAbove {
        /// The cgroup.
        path: PathBuf,
    },
    /// A process does not stop: it waits in the kernel.
    #[error("freeze {path}: a process does not stop within {}s", PATIENCE.as_secs())]
    Restless {
        /// The cgroup.
        path: PathBuf,
    },
    /// What v1 needs a freezer hierarchy for.
    #[error("freeze: this machine has no freezer")]
    NoFreezer,
}

impl CgroupError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Limit { source, .. } => match source.raw_os_error() {
                Some(libc_einval) if libc_einval == Errno::INVAL.raw_os_error() => {
                    ErrorKind::InvalidArgument
                }
                _ => ErrorKind::of_io(source),
            },
            Self::NoController { .. } | Self::NoFreezer => ErrorKind::Unsupported,
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::Busy { .. } | Self::FrozenAbove { .. } | Self::Restless { .. } => {
                ErrorKind::Timeout
            }
        }
    }
}

pub(super) fn io_error(act: &'static str, path: &Path, errno: Errno) -> CgroupError {
    CgroupError::Io {
        act,
        path: path.to_owned(),
        source: errno.into(),
    }
}
