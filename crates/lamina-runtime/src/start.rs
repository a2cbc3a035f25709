//! `start`: the waiting init process executes the program.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_types::ErrorKind;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::init::report::{self, Failure, Report};
use crate::spawn::START_FIFO;

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no container waiting in this bundle.
    #[error("nothing waits to be started in {0}")]
    NotWaiting(std::path::PathBuf),
    /// A system call failed.
    #[error("{act}")]
    Io {
        /// What was being done.
        act: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The program could not be executed, or what precedes it failed.
    #[error("{message}")]
    Refused {
        /// Docker's words: `exec: "x": executable file not found in $PATH`.
        message: String,
        /// The exit code of the container: 125, 126 or 127.
        code: u8,
        /// The class of the failure.
        kind: ErrorKind,
    },
}

impl StartError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotWaiting(_) => ErrorKind::FailedPrecondition,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Refused { kind, .. } => *kind,
        }
    }

    /// Returns the exit code by Docker's convention: 127 where the program was not found, 126
    /// where it cannot be executed, else 125.
    pub fn code(&self) -> u8 {
        match self {
            Self::Refused { code, .. } => *code,
            _ => 125,
        }
    }
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        Self::Refused {
            kind: failure.kind(),
            code: failure.code,
            message: failure.message,
        }
    }
}

/// Lets the init process that waits in `bundle` go on. Returns at once; whether the program could
/// be executed arrives on [`crate::Created::errors`].
pub fn start(bundle: &Path) -> Result<(), StartError> {
    let path = bundle.join(START_FIFO);
    let io = |act: &str, errno: Errno| StartError::Io {
        act: format!("{act} {}", path.display()),
        source: errno.into(),
    };
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fifo = match openat(CWD, &path, flags, Mode::empty()) {
        Ok(fifo) => fifo,
        // ENXIO: nobody has it open for reading.
        Err(Errno::NXIO | Errno::NOENT) => return Err(StartError::NotWaiting(bundle.to_owned())),
        Err(errno) => return Err(io("open", errno)),
    };
    let stat = fstat(&fifo).map_err(|errno| io("look at", errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        return Err(StartError::NotWaiting(bundle.to_owned()));
    }
    rustix::io::write(&fifo, b"1").map_err(|errno| io("write to", errno))?;
    Ok(())
}

/// Waits on [`crate::Created::errors`] until the program runs or has failed to.
pub fn start_outcome(errors: &OwnedFd) -> Result<(), StartError> {
    match report::receive(errors.as_fd()) {
        Ok(None) => Ok(()),
        Ok(Some((Report::Start(failure) | Report::SetUp(failure), _))) => Err(failure.into()),
        Ok(Some((Report::Ready, _))) => start_outcome(errors),
        Err(errno) => Err(StartError::Io {
            act: "hear from the init process".to_owned(),
            source: errno.into(),
        }),
    }
}
