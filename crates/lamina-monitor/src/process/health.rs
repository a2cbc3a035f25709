//! Health checks on the monitor's own timers: executed, heard of, recorded, acted on.
//!
//! A check is a command of the engine's, see [`crate::health`]. Nothing here waits for it but the
//! end of the container, which ends it, too.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use lamina_fs::Durability;
use lamina_sys::signals::pidfd_kill;
use lamina_types::OnFailure;
use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, pipe_with};

use super::ending::execute;
use super::supervise::Supervisor;
use crate::health::machine::Checks;
use crate::health::{CheckResult, LIMIT, Report, read_health};
use crate::poll;
use crate::record::STOPPED;
use crate::time::Time;

/// How long a check is waited for whose container has ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// The health checks of the present run.
#[derive(Debug)]
pub(super) struct Checking {
    checks: Checks,
    /// When the program began to run.
    begun: Instant,
    /// When the next check is due.
    next: Option<Instant>,
    present: Option<Check>,
}

/// A check that is being done.
#[derive(Debug)]
struct Check {
    /// Hangs up when the check has ended.
    pipe: OwnedFd,
    heard: Vec<u8>,
    began: Instant,
    /// The same by the wall clock.
    start: Time,
}

impl Supervisor {
    /// Begins to check the program, which runs from now on. Without checks nothing happens.
    pub(super) fn begin_checks(&mut self) {
        let Some(config) = self.config.health.clone() else {
            return;
        };
        // What a former run left is shown again; if it cannot be read, nobody misses it.
        let former = read_health(&self.state_dir).ok().flatten();
        let former = former.map(|health| health.log).unwrap_or_default();
        let checks = Checks::begin(config, former);
        // What the disk refuses is not shown.
        let _ = checks.health().write(&self.state_dir);
        self.go_on_with(checks, Duration::ZERO);
    }

    /// Goes on with the checks of a program that another monitor has begun.
    pub(super) fn resume_checks(&mut self) {
        let former = read_health(&self.state_dir).ok().flatten();
        let (Some(config), Some(former)) = (self.config.health.clone(), former) else {
            return self.begin_checks();
        };
        let ran = self.state.started_at.map(|started| {
            let ran = Time::now().timestamp().duration_since(started.timestamp());
            Duration::try_from(ran).unwrap_or_default()
        });
        self.go_on_with(Checks::resume(config, former), ran.unwrap_or_default());
    }

    fn go_on_with(&mut self, checks: Checks, ran: Duration) {
        let now = Instant::now();
        self.checking = Some(Box::new(Checking {
            next: now.checked_add(checks.wait(ran)),
            begun: now.checked_sub(ran).unwrap_or(now),
            present: None,
            checks,
        }));
    }

    /// The pipe of the check that is being done.
    pub(super) fn report(&self) -> Option<&OwnedFd> {
        let present = self.checking.as_ref()?.present.as_ref();
        present.map(|check| &check.pipe)
    }

    /// Returns how long the loop may wait: until a check is due, or a program that does not stop is
    /// to be killed. `None` is for ever.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let next = self.checking.as_ref().and_then(|checking| checking.next);
        let first = next.into_iter().chain(self.kill_at).min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    /// Does what is due.
    pub(super) fn keep_time(&mut self) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if is_due(self.kill_at) {
            self.kill_at = None;
            self.kill();
        }
        if is_due(self.checking.as_ref().and_then(|checking| checking.next)) {
            self.check();
        }
    }

    /// Has a check done.
    fn check(&mut self) {
        let Some(checking) = &mut self.checking else {
            return;
        };
        checking.next = None;
        let (began, start) = (Instant::now(), Time::now());
        match ask(&checking.checks.config().argv) {
            Ok(pipe) => {
                let heard = Vec::new();
                checking.present = Some(Check {
                    pipe,
                    heard,
                    began,
                    start,
                });
            }
            Err(errno) => self.take(failed(start, &errno.to_string()), began),
        }
    }

    /// Hears of the check that is being done; at its end what it came to is taken in.
    pub(super) fn hear_check(&mut self) {
        let Some(check) = self.checking.as_mut().and_then(|c| c.present.as_mut()) else {
            return;
        };
        if !check.hear() {
            return;
        }
        let Some(check) = self.checking.as_mut().and_then(|c| c.present.take()) else {
            return;
        };
        // A check that its container's end has ended says nothing.
        if poll::is_readable(self.container.pidfd.as_fd()) {
            return;
        }
        let began = check.began;
        let report = serde_json::from_slice(&check.heard)
            .unwrap_or_else(|_| failed(check.start, "the health check ended without a result"));
        self.take(report, began);
    }

    fn take(&mut self, report: Report, began: Instant) {
        let Some(checking) = &mut self.checking else {
            return;
        };
        let is_result = matches!(report, Report::Done(_));
        let ran = began.saturating_duration_since(checking.begun);
        let step = checking.checks.take(report, ran, checking.begun.elapsed());
        checking.next = Instant::now().checked_add(step.wait);
        if is_result {
            let _ = checking.checks.health().write(&self.state_dir);
        }
        if step.act != OnFailure::None {
            // It ends, or is to.
            checking.next = None;
        }
        if let Some(status) = step.became {
            self.note_health(status);
        }
        self.act(step.act);
    }

    /// Does what is to be done with a container that has become unhealthy.
    fn act(&mut self, act: OnFailure) {
        match act {
            OnFailure::None => {}
            OnFailure::Kill => self.kill(),
            OnFailure::Restart => {
                self.is_to_restart = true;
                self.ask_to_stop();
            }
            OnFailure::Stop => {
                // As everybody who stops it; if the disk refuses, its policy may start it again.
                let durability = Durability::Volatile;
                let dir = &self.state_dir;
                let _ = dir.create_exclusive(STOPPED, b"", 0o600, durability);
                self.ask_to_stop();
            }
        }
    }

    fn ask_to_stop(&mut self) {
        let Some(checking) = &self.checking else {
            return;
        };
        let config = checking.checks.config();
        let timeout = config.stop_timeout;
        // Only fails if it has ended.
        let _ = pidfd_kill(self.container.pidfd.as_fd(), config.stop_signal.into());
        self.kill_at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    /// Ends the checks with the run. One that is being done is over as soon as the container is;
    /// it is waited for, so that whoever removes the container meets nobody.
    pub(super) fn end_checks(&mut self) {
        self.kill_at = None;
        let Some(mut check) = self.checking.take().and_then(|c| c.present) else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        while !check.hear() {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::from_borrowed_fd(check.pipe.as_fd(), PollFlags::IN)];
            if !matches!(poll::wait(&mut fds, Some(left)), Ok(true)) {
                return;
            }
        }
    }
}

impl Check {
    /// Reads what is there; returns whether that was all.
    fn hear(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(0) => return true,
                Ok(length) if (self.heard.len() as u64) < LIMIT => {
                    self.heard.extend_from_slice(&buffer[..length]);
                }
                // No check says as much.
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
        }
    }
}

/// Executes a check. The pipe it returns hangs up when the check has ended.
fn ask(argv: &[String]) -> Result<OwnedFd, Errno> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    ioctl_fionbio(&ours, true)?;
    execute(argv, &[theirs.as_fd()])?;
    Ok(ours)
}

fn failed(start: Time, why: &str) -> Report {
    Report::Done(CheckResult {
        start,
        end: Time::now(),
        exit_code: -1,
        output: why.to_owned(),
    })
}
