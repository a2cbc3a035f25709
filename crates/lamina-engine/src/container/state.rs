//! What a container is doing, in the words people know.

use std::time::Duration;

use lamina_monitor::record::{UNKNOWN_CODE, UNKNOWN_END};
use lamina_monitor::{
    ExitRecord, Health, HealthStatus, Liveness, LivenessError, Status, Time, liveness, read_exit,
    read_health,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::container::find::Container;
use crate::container::health;

/// What Docker writes for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container's state, as `ps` and `inspect` tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerState {
    /// The word for it.
    pub status: ContainerStatus,
    /// Init's pid in the host's pid namespace; 0 where there is none.
    pub pid: u32,
    /// The exit code of the last run; 0 before the first end, 255 after an end nobody saw.
    pub exit_code: u8,
    /// Whether the last run was ended by the kernel's out-of-memory killer.
    pub oom_killed: bool,
    /// Why the last start failed, or what else a person should know.
    pub error: String,
    /// When the program was started.
    pub started_at: Option<Time>,
    /// When its end was seen.
    pub finished_at: Option<Time>,
    /// How often it was started again since somebody started it.
    pub restarts: u32,
    /// Bytes of output that the log could not take.
    pub log_bytes_lost: u64,
    /// How it fares by its health checks, or fared when it ran; `None` without any.
    #[serde(skip)]
    pub health: Option<Health>,
}

/// Docker's words for the states of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// It was never started.
    Created,
    /// Its program runs.
    Running,
    /// Its program runs, and all its processes are stopped.
    Paused,
    /// Its program has ended, and is started again before long.
    Restarting,
    /// Its program has ended.
    Exited,
    /// It cannot be told what it does.
    Dead,
}

impl ContainerStatus {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

impl ContainerStatus {
    /// Returns whether its program has been started and has not ended for good, as Docker counts.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

impl ContainerState {
    const NEW: Self = Self {
        status: ContainerStatus::Created,
        pid: 0,
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
        started_at: None,
        finished_at: None,
        restarts: 0,
        log_bytes_lost: 0,
        health: None,
    };

    /// Returns the column of `ps`: `Up 3 seconds`, `Exited (0) 2 minutes ago`, `Created`.
    pub fn text(&self, now: Time) -> String {
        let ago = |since: Option<Time>| {
            let since = since.unwrap_or(now).timestamp();
            let span = now.timestamp().duration_since(since);
            human(Duration::try_from(span).unwrap_or_default())
        };
        match self.status {
            ContainerStatus::Created => "Created".to_owned(),
            ContainerStatus::Running => match self.health_status() {
                None => format!("Up {}", ago(self.started_at)),
                Some(HealthStatus::Starting) => {
                    format!("Up {} (health: starting)", ago(self.started_at))
                }
                Some(status) => format!("Up {} ({})", ago(self.started_at), status.as_str()),
            },
            ContainerStatus::Paused => format!("Up {} (Paused)", ago(self.started_at)),
            ContainerStatus::Restarting => {
                let ago = ago(self.finished_at);
                format!("Restarting ({}) {ago} ago", self.exit_code)
            }
            // Nobody has seen when.
            ContainerStatus::Exited if self.finished_at.is_none() => {
                format!("Exited ({})", self.exit_code)
            }
            ContainerStatus::Exited => {
                format!("Exited ({}) {} ago", self.exit_code, ago(self.finished_at))
            }
            ContainerStatus::Dead => "Dead".to_owned(),
        }
    }
}

impl ContainerState {
    /// Returns how it fares; `None` where nothing checks it, or ever has. What is not checked any
    /// more is unhealthy, as with Docker.
    pub fn health_status(&self) -> Option<HealthStatus> {
        let health = self.health.as_ref()?;
        Some(match self.status {
            ContainerStatus::Running => health.status,
            _ => HealthStatus::Unhealthy,
        })
    }
}

impl ContainerState {
    /// Returns it in Docker's shape.
    pub(crate) fn value(&self) -> Value {
        let time = |time: Option<Time>| time.map_or(NEVER.to_owned(), |time| time.to_string());
        let mut value = json!({
            "Status": self.status.as_str(),
            "Running": self.status.is_running(),
            "Paused": self.status == ContainerStatus::Paused,
            "Restarting": self.status == ContainerStatus::Restarting,
            "OOMKilled": self.oom_killed,
            "Dead": self.status == ContainerStatus::Dead,
            "Pid": self.pid,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": time(self.started_at),
            "FinishedAt": time(self.finished_at),
            // Docker leaves it out, but its templates may ask for it all the same.
            "Health": null,
        });
        // Nothing that Docker has; so only where there is something to say.
        if self.log_bytes_lost > 0 {
            value["LogBytesLost"] = self.log_bytes_lost.into();
        }
        if let (Some(health), Some(status)) = (&self.health, self.health_status()) {
            value["Health"] = json!({
                "Status": status.as_str(),
                "FailingStreak": health.failing_streak,
                "Log": health.log,
            });
        }
        value
    }
}

impl Container {
    /// Asks locks, records and the kernel, in that order.
    pub(crate) fn state(&self) -> Result<ContainerState, LivenessError> {
        let mut state = self.known_state()?;
        if health::command(&self.record).is_some() {
            // What cannot be read is not known.
            state.health = read_health(&self.dir).ok().flatten();
        }
        Ok(state)
    }

    fn known_state(&self) -> Result<ContainerState, LivenessError> {
        Ok(match liveness(&self.dir)? {
            Liveness::Never => self.ended_before(),
            Liveness::Starting => ContainerState::NEW,
            Liveness::Supervised { state, .. }
            | Liveness::Orphaned { state, .. }
            | Liveness::Exiting(state) => {
                let running = state.status != Status::Created;
                ContainerState {
                    status: if running {
                        ContainerStatus::Running
                    } else {
                        ContainerStatus::Created
                    },
                    pid: state.init.pid,
                    started_at: state.started_at,
                    restarts: state.restarts,
                    log_bytes_lost: state.log_bytes_lost,
                    ..ContainerState::NEW
                }
            }
            Liveness::Restarting { exit, .. } => ContainerState {
                status: ContainerStatus::Restarting,
                ..exited(exit)
            },
            Liveness::Exited(exit) => exited(exit),
            Liveness::Lost(state) => ContainerState {
                status: ContainerStatus::Exited,
                exit_code: UNKNOWN_CODE,
                started_at: state.started_at,
                restarts: state.restarts,
                log_bytes_lost: state.log_bytes_lost,
                error: UNKNOWN_END.to_owned(),
                ..ContainerState::NEW
            },
        })
    }

    /// A start that failed before init existed leaves only a record of its end.
    fn ended_before(&self) -> ContainerState {
        match read_exit(&self.dir) {
            Ok(Some(exit)) => exited(exit),
            _ => ContainerState::NEW,
        }
    }
}

fn exited(exit: ExitRecord) -> ContainerState {
    // A program that never ran leaves the container as it was made, with the code of the failure.
    let status = match exit.started_at {
        Some(_) => ContainerStatus::Exited,
        None => ContainerStatus::Created,
    };
    ContainerState {
        status,
        pid: 0,
        exit_code: exit.code,
        oom_killed: exit.oom_killed,
        error: exit.error.unwrap_or_default(),
        started_at: exit.started_at,
        finished_at: Some(exit.finished_at),
        restarts: exit.restarts,
        log_bytes_lost: exit.log_bytes_lost,
        health: None,
    }
}

/// Returns a duration in Docker's words (docker/go-units, `HumanDuration`).
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // go-units rounds hours to the nearest.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_dockers_words() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (MINUTE, "About a minute"),
            (2 * MINUTE, "2 minutes"),
            (HOUR - 1, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1799, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (14 * DAY, "2 weeks"),
            (60 * DAY, "2 months"),
            (3 * 365 * DAY, "3 years"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_status_column_is_dockers() {
        let time = |text: &str| Some(text.parse::<Time>().unwrap());
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let mut state = ContainerState::NEW;
        assert_eq!(state.text(now), "Created");
        state.status = ContainerStatus::Running;
        state.started_at = time("2026-01-01T00:09:57Z");
        assert_eq!(state.text(now), "Up 3 seconds");
        // A clock that was set back is no reason to fail.
        state.started_at = time("2026-01-01T00:11:00Z");
        assert_eq!(state.text(now), "Up Less than a second");
        for (status, word) in [
            (HealthStatus::Starting, "health: starting"),
            (HealthStatus::Healthy, "healthy"),
            (HealthStatus::Unhealthy, "unhealthy"),
        ] {
            state.health = Some(Health {
                version: Health::VERSION,
                status,
                failing_streak: 0,
                log: Vec::new(),
            });
            let shown = format!("Up Less than a second ({word})");
            assert_eq!(state.text(now), shown);
        }
        state.status = ContainerStatus::Paused;
        assert_eq!(state.health_status(), Some(HealthStatus::Unhealthy));
        state.started_at = time("2026-01-01T00:09:57Z");
        assert_eq!(state.text(now), "Up 3 seconds (Paused)");
        state.status = ContainerStatus::Exited;
        state.exit_code = 137;
        state.finished_at = time("2026-01-01T00:08:00Z");
        state.status = ContainerStatus::Restarting;
        assert_eq!(state.text(now), "Restarting (137) 2 minutes ago");
        state.status = ContainerStatus::Exited;
        assert_eq!(state.text(now), "Exited (137) 2 minutes ago");
    }
}
