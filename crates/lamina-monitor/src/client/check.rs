//! A process that has a time limit, and whose output is kept: a health check.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use lamina_types::Signal;
use rustix::event::{PollFd, PollFlags};

use super::session::{Event, Session, SessionError};
use crate::poll;

/// How long a killed process may take to be gone. One that the kernel keeps, or that is frozen, is
/// left to its supervisor.
const GRACE: Duration = Duration::from_secs(5);

/// How a process ended that had a time limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Its exit code; `None` if it has not ended.
    pub code: Option<u8>,
    /// Whether it was killed because its time was up.
    pub is_late: bool,
    /// The beginning of what it wrote.
    pub output: Vec<u8>,
    /// Whether it wrote more.
    pub is_cut: bool,
}

impl Session {
    /// Waits for the end of a process that runs, at most for `limit`, when it is killed; keeps
    /// `most` bytes of its output. Returns in bounded time.
    pub fn check(&mut self, limit: Duration, most: usize) -> Result<Checked, SessionError> {
        let mut deadline = Instant::now().checked_add(limit);
        let mut checked = Checked {
            code: None,
            is_late: false,
            output: Vec::new(),
            is_cut: false,
        };
        loop {
            while let Some(event) = self.buffered_event()? {
                if let Event::Stdout(bytes) | Event::Stderr(bytes) = event {
                    let kept = bytes.len().min(most - checked.output.len());
                    checked.output.extend_from_slice(&bytes[..kept]);
                    checked.is_cut |= kept < bytes.len();
                }
            }
            if let Some(exit) = &self.ended {
                checked.code = Some(exit.code);
                return Ok(checked);
            }
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let is_ready = {
                let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
                poll::wait(&mut fds, left).map_err(SessionError::Socket)?
                    && !fds[0].revents().is_empty()
            };
            if is_ready {
                self.fill()?;
            } else if deadline.is_some_and(|end| Instant::now() >= end) {
                if checked.is_late {
                    return Ok(checked);
                }
                checked.is_late = true;
                self.signal(Signal::KILL)?;
                deadline = Some(Instant::now() + GRACE);
            }
        }
    }
}
