//! What init tells its parent: one message when it is ready, at most one when it fails.
//!
//! Its end of the channel is close-on-exec: the parent reads the end of file when the program runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_fs::PathError;
use lamina_types::ErrorKind;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::channel;

/// The longest message; texts are cut so that it holds.
const LIMIT: usize = 8 << 10;

/// One message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// All is set up; a terminal's master comes along.
    Ready,
    /// The set-up failed.
    SetUp(Failure),
    /// After `start`: the program was not executed.
    Start(Failure),
}

impl Report {
    /// Returns the exit code init ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Start(failure) => failure.code,
            _ => 125,
        }
    }
}

/// Why init could not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done, and the kernel's own words where it had some.
    pub(crate) message: String,
    /// The errno, if the kernel refused.
    pub(crate) errno: Option<i32>,
    /// The exit code by Docker's convention: 125, 126 or 127.
    pub(crate) code: u8,
}

impl Failure {
    pub(crate) fn new(act: &str, errno: Errno) -> Self {
        let message = format!("{act}: {}", describe(errno));
        Self {
            message: cut(message),
            errno: Some(errno.raw_os_error()),
            code: 125,
        }
    }

    pub(crate) fn invalid(message: String) -> Self {
        Self {
            message: cut(message),
            errno: None,
            code: 125,
        }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self.errno {
            Some(errno) => ErrorKind::of_io(&std::io::Error::from_raw_os_error(errno)),
            None => ErrorKind::FailedPrecondition,
        }
    }
}

/// Returns the kernel's words for an errno, without the number std adds.
pub(crate) fn describe(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

fn cut(mut message: String) -> String {
    let mut end = message.len().min(LIMIT / 2);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    message
}

/// Names the step that a system call was part of.
pub(crate) trait Step<T> {
    /// Turns a failure into a [`Failure`] that says what was being done.
    fn step(self, act: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, act: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(&act(), errno))
    }
}

impl<T> Step<T> for Result<T, PathError> {
    fn step(self, act: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let errno = Errno::from_io_error(&error.source).unwrap_or(Errno::IO);
            Failure::new(&act(), errno)
        })
    }
}

/// Sends a report, with a descriptor where there is one. Failing to is not reported: there is
/// nobody left to report to.
pub(crate) fn send(channel: BorrowedFd<'_>, report: &Report, fd: Option<&OwnedFd>) {
    let Ok(bytes) = serde_json::to_vec(report) else {
        return;
    };
    let fds: Vec<BorrowedFd<'_>> = fd.iter().map(|fd| fd.as_fd()).collect();
    let _ = channel::send(channel, &bytes, &fds);
}

/// Receives a report; `None` at the end of file.
pub(crate) fn receive(channel: BorrowedFd<'_>) -> Result<Option<(Report, Option<OwnedFd>)>, Errno> {
    let mut bytes = [0_u8; LIMIT];
    let (length, fds) = loop {
        match channel::receive(channel, &mut bytes) {
            // Init ended with an order unread; what it said itself comes next.
            Err(Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    if length == 0 {
        return Ok(None);
    }
    let report = serde_json::from_slice(&bytes[..length]).map_err(|_| Errno::BADMSG)?;
    Ok(Some((report, fds.into_iter().next())))
}
