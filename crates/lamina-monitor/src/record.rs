//! `state.json` and `exit.json`: what a monitor writes down about its container.
//!
//! ```text
//! <state_dir>/
//!   monitor.lock   flock held by the monitor for its life; its content is the holder's pid
//!   state.json     which process is the container's init, and how far it has come
//!   exit.json      how the last run ended, and when the next begins; absent before the first end
//!   health.json    how it fares by its health checks, see [`crate::Health`]; absent without any
//!   stopped        somebody has stopped the container: it is not started again; the engine's
//!   log/           see [`crate::log`]
//! ```
//! The monitor is the only writer of the records, by atomic replacement: a reader sees the old
//! document or the new one. A monitor that is killed leaves them as they are; nothing in them is
//! believed without the kernel's word, see [`crate::liveness()`].

use lamina_fs::{Dir, Durability, PathError};
use lamina_types::ErrorKind;
use serde::{Deserialize, Serialize};

pub use crate::identity::{Identity, IdentityError};
use crate::time::Time;

/// The lock a monitor holds for life.
pub const MONITOR_LOCK: &str = "monitor.lock";
/// The state of the present or last run.
pub const STATE_JSON: &str = "state.json";
/// The mark of a container that was stopped by hand: its monitor does not start it again.
pub const STOPPED: &str = "stopped";
/// The end of the last run.
pub const EXIT_JSON: &str = "exit.json";

/// What stands for the exit code of a run whose end nobody saw, as in Docker after a reboot.
pub const UNKNOWN_CODE: u8 = 255;

/// What is said of such an end.
pub const UNKNOWN_END: &str = "the exit status is not known: its monitor was killed first";

/// No record is longer.
const LIMIT: u64 = 64 << 10;

/// How far a container has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its namespaces exist; init sets itself up or waits for the start.
    Created,
    /// The program has been executed.
    Running,
    /// Init has exited; `exit.json` says how.
    Exited,
}

/// The content of `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The format of this document: [`State::VERSION`].
    pub version: u32,
    /// How far the container has come.
    pub status: Status,
    /// The container's init.
    #[serde(flatten)]
    pub init: Identity,
    /// The process id of the monitor that wrote this.
    pub monitor_pid: u32,
    /// When init was made.
    pub created_at: Time,
    /// When the program was executed.
    pub started_at: Option<Time>,
    /// How often the container was started again since somebody started it.
    #[serde(default, skip_serializing_if = "is_no_restart")]
    pub restarts: u32,
    /// Bytes of output the log could not take so far, as in [`ExitRecord`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_bytes_lost: u64,
}

impl State {
    /// The format this build writes and reads.
    pub const VERSION: u32 = 1;

    /// Replaces the record in a state directory.
    pub(crate) fn write(&self, state_dir: &Dir) -> Result<(), PathError> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        state_dir.replace(STATE_JSON, &json, 0o600, Durability::Volatile)
    }
}

/// The content of `exit.json`: how a run ended. Never guessed: it is only written by a monitor that
/// reaped the init process itself, or was told by the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The format of this document: [`ExitRecord::VERSION`].
    pub version: u32,
    /// The exit code as a shell counts it: the program's own, or 128 plus the signal. For a program
    /// that could not be executed 126 or 127.
    pub code: u8,
    /// The signal that killed it.
    pub signal: Option<u8>,
    /// Whether nobody can tell how it ended; `code` is [`UNKNOWN_CODE`] then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// Whether the kernel's out-of-memory killer struck in its cgroup.
    pub oom_killed: bool,
    /// When the program was executed; `None` if it never was.
    pub started_at: Option<Time>,
    /// When its end was seen.
    pub finished_at: Time,
    /// Why it could not be started, or what else a person should know.
    pub error: Option<String>,
    /// The process this is about.
    pub init: Identity,
    /// Bytes of output the log could not take (a full disk).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_bytes_lost: u64,
    /// How often the container was started again since somebody started it, the start that is due
    /// included.
    #[serde(default, skip_serializing_if = "is_no_restart")]
    pub restarts: u32,
    /// When the container is started again. Only its monitor does that: where none lives, this
    /// means nothing. It stands here and not in `state.json` so that an end and what follows it are
    /// written in one piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start: Option<Time>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_no_restart(value: &u32) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl ExitRecord {
    /// The format this build writes and reads.
    pub const VERSION: u32 = 1;
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The file is not what it should be.
    #[error("parse {path}")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file was written by a newer version.
    #[error("{path} has format version {version}, newer than this program")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
}

impl RecordError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Parse { .. } => ErrorKind::DataLoss,
            Self::Version { .. } => ErrorKind::Unsupported,
        }
    }

    /// Returns whether there is no such record (yet).
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Path(error) if error.is_not_found())
    }
}

/// Reads `state.json` of a container; `None` if there is none.
pub fn read_state(state_dir: &Dir) -> Result<Option<State>, RecordError> {
    let version = |state: &State| (state.version, State::VERSION);
    read_limited(state_dir, STATE_JSON, LIMIT, version)
}

/// Reads `exit.json` of a container; `None` if there is none.
///
/// After a restart it is still that of the former run until the present one ends: compare
/// [`ExitRecord::init`] with [`State::init`], as [`crate::liveness()`] does.
pub fn read_exit(state_dir: &Dir) -> Result<Option<ExitRecord>, RecordError> {
    let version = |exit: &ExitRecord| (exit.version, ExitRecord::VERSION);
    read_limited(state_dir, EXIT_JSON, LIMIT, version)
}

/// Reads a document; `versions` returns that of its format and the last that is known.
pub(crate) fn read_limited<T: for<'de> Deserialize<'de>>(
    dir: &Dir,
    name: &str,
    limit: u64,
    versions: impl Fn(&T) -> (u32, u32),
) -> Result<Option<T>, RecordError> {
    let bytes = match dir.read(name, limit) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let path = || dir.path().join(name).display().to_string();
    let document = serde_json::from_slice(&bytes).map_err(|source| RecordError::Parse {
        path: path(),
        source,
    })?;
    let (version, known) = versions(&document);
    if version > known {
        let path = path();
        return Err(RecordError::Version { path, version });
    }
    Ok(Some(document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_their_documented_form() {
        let text = r#"{"version":1,"status":"running","pid":7,"start_time":1,"boot_id":"b",
            "pidfd_inode":3,"monitor_pid":6,"created_at":"2026-01-31T09:30:00.000000001Z",
            "started_at":null}"#;
        let state: State = serde_json::from_str(text).unwrap();
        assert_eq!(state.init.pid, 7);
        let again = serde_json::to_value(&state).unwrap();
        assert_eq!(again["created_at"], "2026-01-31T09:30:00.000000001Z");
        assert_eq!(again["status"], "running");
    }
}
