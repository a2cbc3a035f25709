//! One small supervisor process per container: pty and pipes, logs, reaping, the exit record.
//!
//! ```text
//!  client half (any process)                  process half (this program, executed again)
//!  spawn ── socket pair ───────────────────►  main: lock, own cgroup, init by lamina-runtime,
//!  connect ── <bundle>/monitor.sock ───────►        one poll loop, no threads
//!  Session: created, start, relay, wait             │ FIFOs or pty ◄──► init
//!  liveness, read_state, read_exit, log::read ◄─── state.json, exit.json, log/
//! ```
//! The bundle (in the run directory) holds `config.json`, `rootfs.json`, `monitor.json`, the socket
//! and the FIFOs; the state directory holds what outlives them, see [`record`].
//!
//! The monitor knows the bundle and the runtime, not the engine: what must happen above it after
//! the end reaches it as a command to execute ([`MonitorConfig::cleanup_argv`]). Any process here
//! may be killed at any instruction: the container goes on, and [`liveness()`] tells what is left.

#![forbid(unsafe_code)]

mod client;
mod config;
mod detach_keys;
mod door;
pub mod events;
mod health;
mod identity;
mod liveness;
pub mod log;
mod poll;
mod proc_file;
mod process;
pub mod protocol;
pub mod record;
pub mod terminal;
mod time;
mod watch;

pub use client::{
    Ahead, Begin, Checked, ConnectError, Created, ForegroundStdio, Relayed, Session, SessionError,
    SpawnError, Spawned, adopt, connect, spawn,
};
pub use config::{
    EventsConfig, LogConfig, LogDriver, MONITOR_JSON, MonitorConfig, SinkAddress, SinkConfig,
    SinkProtocol,
};
pub use detach_keys::{DetachKeys, DetachKeysError};
pub use health::{
    CheckResult, Health, HealthConfig, HealthStatus, MOST_OUTPUT, Report, Reporter, kept_output,
    read_health,
};
pub use liveness::{Liveness, LivenessError, liveness};
pub use process::main;
pub use protocol::{Failure, Rest};
pub use record::{ExitRecord, State, Status, read_exit, read_state};
pub use time::{Time, TimeError};

/// The first argument that makes the binary a monitor: it then calls [`main`].
pub const ENTRY: &str = "__monitor";
