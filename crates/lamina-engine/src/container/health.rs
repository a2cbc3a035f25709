//! Health checks: what is checked and how, and one check, which the container's monitor asks for.
//!
//! When, and what follows, is the monitor's, see `lamina-monitor`.

use std::thread;
use std::time::{Duration, Instant};

use lamina_monitor::{
    CheckResult, Checked, HealthConfig, Liveness, Report, Time, kept_output, liveness,
};
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, ErrorKind, Healthcheck, Signal, with_causes};

use crate::Engine;
use crate::container::exec::{ExecError, ExecRequest};
use crate::container::find::{Container, FindError};
use crate::container::stop::stop_timeout;
use crate::process;
use crate::record::Record;

/// Docker's time from one check to the next, and for each (daemon/health.go).
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// The exit code of a check that was killed.
const KILLED: u8 = 128 + 9;
/// The least exit code that is the program's fault.
const NOT_EXECUTABLE: u8 = 126;
/// How long the end of a container may take to show in which everything was killed.
const ENDING: Duration = Duration::from_millis(500);

/// Why a container cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Nothing says how.
    #[error("container {0} has no defined healthcheck")]
    NoCheck(ContainerId),
    /// Nothing can be executed in it now.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl HealthError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::NoCheck(_) => ErrorKind::FailedPrecondition,
            Self::Exec(error) => error.kind(),
        }
    }
}

/// Returns the health check of a container: the image's with what was asked for over it.
pub(crate) fn merged(record: &Record) -> Option<Healthcheck> {
    let image = Healthcheck::of_image(&record.image_config);
    match (record.request.health.check.clone(), image) {
        (Some(own), Some(image)) => Some(own.over(image)),
        (own, image) => own.or(image),
    }
}

/// Returns what is executed to check a container; `None` if it is not checked.
pub(crate) fn command(record: &Record) -> Option<Vec<String>> {
    merged(record)?.command(&record.image_config)
}

impl Engine {
    /// Returns what the monitor of a container is told of its health check.
    pub(crate) fn health_config(&self, record: &Record) -> Option<HealthConfig> {
        command(record)?;
        let check = merged(record)?;
        let request = &record.request;
        let plan = process::plan(request, &record.image_config, &record.id);
        let signal = plan.map_or(Signal(15), |plan| plan.stop_signal);
        let retries = u32::try_from(check.retries).ok();
        Some(HealthConfig {
            argv: self.container_argv(&record.id, &["healthcheck", "--due"]),
            interval: nanoseconds(check.interval).unwrap_or(INTERVAL),
            start_period: nanoseconds(check.start_period).unwrap_or_default(),
            start_interval: nanoseconds(check.start_interval).unwrap_or(START_INTERVAL),
            retries: retries.filter(|retries| *retries > 0).unwrap_or(RETRIES),
            on_failure: request.health.on_failure,
            stop_signal: signal.0,
            stop_timeout: stop_timeout(request),
        })
    }

    /// Returns an error unless a container is checked.
    pub fn has_healthcheck(&self, id: &ContainerId) -> Result<(), HealthError> {
        match command(&self.load(id)?.record) {
            Some(_) => Ok(()),
            None => Err(HealthError::NoCheck(id.clone())),
        }
    }

    /// Checks once whether a container is well; returns in bounded time. Its recorded health stays
    /// as it is: that is for the monitor to say, which asks in the same way.
    pub fn check_health(&self, id: &ContainerId) -> Result<Report, HealthError> {
        let container = self.load(id)?;
        let record = &container.record;
        let check = merged(record);
        let command = check
            .as_ref()
            .and_then(|check| check.command(&record.image_config));
        let (Some(check), Some(args)) = (check, command) else {
            return Err(HealthError::NoCheck(id.clone()));
        };
        let request = ExecRequest {
            args,
            bound: true,
            ..ExecRequest::default()
        };
        let start = Time::now();
        let limit = nanoseconds(check.timeout).unwrap_or(TIMEOUT);
        let executing = self.exec(id, &request, &mut Explainer::off());
        // With each whether it may be what the end of a container does to a check.
        let ((exit_code, output), may_end) = match executing {
            Ok(mut executing) => match executing.check(limit) {
                // It is not the program that is late, where all of the container stands still.
                Ok(checked) if checked.is_late && self.is_paused(record) => {
                    return Ok(Report::Skipped);
                }
                Ok(checked) => {
                    let was_killed = checked.code == Some(KILLED) && !checked.is_late;
                    (told(&checked, limit), was_killed)
                }
                Err(error) => ((-1, with_causes(&error)), true),
            },
            Err(ExecError::Paused(_) | ExecError::NotRunning(_) | ExecError::Restarting(_)) => {
                return Ok(Report::Skipped);
            }
            // A program that is not there has its own code.
            Err(error) => (
                (-1, with_causes(&error)),
                error.exit_code() < NOT_EXECUTABLE,
            ),
        };
        // Nor is it the program's fault that its container ends, which shows a moment later.
        if exit_code != 0 && has_ended(&container, may_end) {
            return Ok(Report::Skipped);
        }
        Ok(Report::Done(CheckResult {
            start,
            end: Time::now(),
            exit_code,
            output,
        }))
    }
}

/// Returns whether a container has ended, or where that `may` be, is about to: the kernel kills
/// all other processes, and makes no more of them, before the first one is seen to have ended.
fn has_ended(container: &Container, may: bool) -> bool {
    let begun = Instant::now();
    loop {
        match liveness(&container.dir) {
            Ok(Liveness::Supervised { .. } | Liveness::Orphaned { .. }) | Err(_) => {}
            Ok(_) => return true,
        }
        if !may || begun.elapsed() > ENDING {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the exit code and output of a check as Docker shows them.
fn told(checked: &Checked, limit: Duration) -> (i32, String) {
    let output = kept_output(&checked.output, checked.is_cut);
    match checked.code {
        Some(code) if !checked.is_late => (i32::from(code), output),
        _ => {
            let late = format!("Health check exceeded timeout ({})", shown(limit));
            let output = Some(output).filter(|output| !output.is_empty());
            (
                -1,
                output.map_or(late.clone(), |output| format!("{late}: {output}")),
            )
        }
    }
}

/// Reads a time of a health check; nothing, and what makes no sense, is none.
fn nanoseconds(value: i64) -> Option<Duration> {
    let nanos = u64::try_from(value).ok().filter(|nanos| *nanos > 0)?;
    Some(Duration::from_nanos(nanos))
}

/// Returns a duration as Go prints it: `1m30s`, `1.5s`, `100ms`.
fn shown(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let part = |nanos: u128, unit: u128| {
        let text = format!(
            "{}.{:09}",
            nanos / unit,
            nanos % unit * (1_000_000_000 / unit)
        );
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", part(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", part(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = part(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::request;
    use lamina_types::oci::Config;
    use serde_json::json;

    #[test]
    fn durations_are_shown_as_go_shows_them() {
        for (nanos, text) in [
            (1, "1ns"),
            (1_500, "1.5\u{b5}s"),
            (1_000_000, "1ms"),
            (100_000_000, "100ms"),
            (1_234_567, "1.234567ms"),
            (1_000_000_000, "1s"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(shown(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn a_late_check_is_told_of_with_what_it_wrote() {
        let checked = |code, is_late, output: &[u8]| Checked {
            code,
            is_late,
            output: output.to_vec(),
            is_cut: false,
        };
        let limit = Duration::from_secs(3);
        assert_eq!(
            told(&checked(Some(2), false, b"x\n"), limit),
            (2, "x\n".into())
        );
        let late = "Health check exceeded timeout (3s)";
        assert_eq!(
            told(&checked(Some(137), true, b""), limit),
            (-1, late.into())
        );
        let late = format!("{late}: so far");
        assert_eq!(told(&checked(None, true, b"so far"), limit), (-1, late));
    }

    #[test]
    fn flags_lie_over_the_image_and_none_is_none() {
        let id = ContainerId::from_random([7; 32]);
        let mut record = Record::made_up(&id, None, None);
        record.request = request();
        assert_eq!(command(&record), None);
        let image = json!({"Healthcheck": {"Test": ["CMD", "probe"], "Retries": 5}});
        record.image_config = serde_json::from_value::<Config>(image).unwrap();
        assert_eq!(command(&record), Some(vec!["probe".to_owned()]));
        record.request.health.check = Some(Healthcheck {
            interval: 7,
            ..Healthcheck::default()
        });
        let both = merged(&record).unwrap();
        assert_eq!((both.interval, both.retries), (7, 5));
        record.request.health.check = Some(Healthcheck::none());
        assert_eq!(command(&record), None);
    }
}
