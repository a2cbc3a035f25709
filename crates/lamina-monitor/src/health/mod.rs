//! Health: `health.json`, and what a check says to the monitor that has it executed.
//!
//! ```text
//! monitor ── it is time ──► lamina container healthcheck --due ID    (an argv of the engine's)
//!    ▲                          │ exec in the container, output kept, killed when it is late
//!    └── one Report, a pipe ────┘
//! monitor ──► <state_dir>/health.json
//! ```
//! The monitor never waits for a check: it polls the pipe. What a check comes to is decided in
//! [`machine`], without a clock or a process.

pub(crate) mod machine;

use std::io::{self, Write};
use std::time::Duration;

use lamina_fs::{Dir, Durability, PathError};
use lamina_sys::inherited;
use lamina_types::OnFailure;
use serde::{Deserialize, Serialize};

use crate::record::{RecordError, read_limited};
use crate::time::Time;

/// How a container fares by its health checks.
pub(crate) const HEALTH_JSON: &str = "health.json";

/// How many results are kept, as Docker keeps them.
pub(crate) const MOST_RESULTS: usize = 5;

/// How much output of a check is kept, in bytes, as Docker keeps it.
pub const MOST_OUTPUT: usize = 4096;

/// More is neither read from a check nor from a record: each byte of output may take six.
pub(crate) const LIMIT: u64 = 256 << 10;

/// The number under which a check finds the pipe to its monitor.
const PIPE: i32 = 3;

/// What a monitor knows of a container's health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthConfig {
    /// The command that does one check and tells; the program's name first.
    pub argv: Vec<String>,
    /// The time from one check to the next.
    pub interval: Duration,
    /// The time after the start in which failures do not count.
    pub start_period: Duration,
    /// The time between two checks in the start period, until the first success.
    pub start_interval: Duration,
    /// How many failures in a row make the container unhealthy.
    pub retries: u32,
    /// What is done with a container that has become unhealthy.
    pub on_failure: OnFailure,
    /// The signal that stops the program.
    pub stop_signal: u8,
    /// How long the program has to stop before it is killed; `None` is for ever.
    pub stop_timeout: Option<Duration>,
}

/// How a container fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It is not known yet.
    Starting,
    /// The last check that counts has succeeded.
    Healthy,
    /// So many checks in a row have failed.
    Unhealthy,
}

impl HealthStatus {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One check that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckResult {
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// Its exit code; -1 if it was late or could not be done.
    pub exit_code: i32,
    /// What it has written.
    pub output: String,
}

/// The content of `health.json`, which the monitor replaces after every check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The format of this document: [`Health::VERSION`].
    pub version: u32,
    /// How it fares.
    pub status: HealthStatus,
    /// How many checks in a row have failed.
    pub failing_streak: u32,
    /// The last results, the oldest first.
    pub log: Vec<CheckResult>,
}

impl Health {
    /// The format this build writes and reads.
    pub const VERSION: u32 = 1;

    /// Replaces the record in a state directory.
    pub(crate) fn write(&self, state_dir: &Dir) -> Result<(), PathError> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        state_dir.replace(HEALTH_JSON, &json, 0o600, Durability::Volatile)
    }
}

/// Reads `health.json` of a container; `None` if there is none.
pub fn read_health(state_dir: &Dir) -> Result<Option<Health>, RecordError> {
    read_limited(state_dir, HEALTH_JSON, LIMIT, |health: &Health| {
        (health.version, Health::VERSION)
    })
}

/// What a check tells its monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// It was done.
    Done(CheckResult),
    /// It could not be, for no fault of the program's: the container is paused, or ends.
    Skipped,
}

/// The way of a check to its monitor.
#[derive(Debug)]
pub struct Reporter(std::fs::File);

impl Reporter {
    /// Takes the pipe that a monitor has given to this process. To be called once, before anything
    /// else is opened.
    pub fn inherited() -> io::Result<Self> {
        Ok(Self(inherited::take(PIPE)?.into()))
    }

    /// Tells. A monitor that does not listen any more needs nothing.
    pub fn tell(mut self, report: &Report) {
        let json = serde_json::to_vec(report).unwrap_or_default();
        let _ = self.0.write_all(&json);
    }
}

/// Returns output as it is kept: cut where it is too long, and text.
pub fn kept_output(bytes: &[u8], is_cut: bool) -> String {
    let end = bytes.len().min(MOST_OUTPUT);
    let text = String::from_utf8_lossy(&bytes[..end]);
    match is_cut || end < bytes.len() {
        true => text.into_owned() + "...",
        false => text.into_owned(),
    }
}
