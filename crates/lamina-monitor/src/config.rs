//! `monitor.json`: what the engine tells a container's monitor, beside the OCI bundle itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use lamina_types::{ContainerId, RestartPolicy};
use serde::{Deserialize, Serialize};

use crate::events::Event;
use crate::health::HealthConfig;
use crate::record::Identity;

/// The name of the file in the bundle.
pub const MONITOR_JSON: &str = "monitor.json";

/// What a monitor needs to know that neither `config.json` nor `rootfs.json` says.
///
/// Written into the bundle by whoever starts a container, read once by its monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorConfig {
    /// The format of this document: [`MonitorConfig::VERSION`].
    pub version: u32,
    /// The container's id.
    pub id: ContainerId,
    /// The directory of the container's records: `state.json`, `exit.json`, `monitor.lock`, `log/`.
    pub state_dir: PathBuf,
    /// Whether the program gets a pseudo-terminal instead of pipes.
    #[serde(default)]
    pub tty: bool,
    /// Whether the program's stdin is held open for clients; `/dev/null` otherwise.
    #[serde(default)]
    pub stdin_open: bool,
    /// Whether stdin ends with the first client that closes it or goes away (Docker's `StdinOnce`).
    #[serde(default)]
    pub stdin_once: bool,
    /// What becomes of the output.
    #[serde(default)]
    pub log: LogConfig,
    /// The command that removes what is left of the container, executed after it has exited when no
    /// foreground client took that upon itself; the program's name first. Empty: nothing is executed.
    #[serde(default)]
    pub cleanup_argv: Vec<String>,
    /// Whether the container gets an init process that reaps (`--init`).
    #[serde(default)]
    pub init_reaper: bool,
    /// Whether the container is removed after its exit (`--rm`): its records need not survive a
    /// power cut.
    #[serde(default)]
    pub remove: bool,
    /// The init of the container that the program joins (`exec`), instead of having one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joins: Option<Identity>,
    /// Where it is told what becomes of the container; nothing is told where this is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventsConfig>,
    /// When the container is started again after its end. Read anew at every end, because an
    /// update replaces this document.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// The command that starts the container again: it writes the next bundle and hands it to this
    /// monitor. Executed when the back-off is over; the program's name first.
    #[serde(default)]
    pub restart_argv: Vec<String>,
    /// How often the container was started again since somebody started it, this time included.
    #[serde(default)]
    pub restarts: u32,
    /// How it is found out whether the program is well; nobody asks where this is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthConfig>,
    /// Whether the program is killed when its foreground client goes away (a health check).
    #[serde(default)]
    pub bound: bool,
}

/// What a monitor tells of its container's start and end, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsConfig {
    /// The folder of the events, see [`crate::events`].
    pub dir: PathBuf,
    /// What is said of the container: image, name, labels.
    pub attributes: BTreeMap<String, String>,
    /// What was done before the start, and is told with it: told in one piece, it stands in order
    /// and costs the command nothing.
    #[serde(default)]
    pub before: Vec<Event>,
    /// What a start is called, in all its words.
    pub start: Vec<String>,
    /// What an end is called.
    pub end: String,
}

impl MonitorConfig {
    /// The format this build writes and reads.
    pub const VERSION: u32 = 1;
}

/// What becomes of a container's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// Where it goes.
    pub driver: LogDriver,
    /// The size in bytes at which a file is rotated.
    pub max_size: u64,
    /// How many files are kept, the current one included; at least 1.
    pub max_files: u32,
    /// Whether the full ones are packed.
    pub compress: bool,
    /// What every entry is marked with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Whom it is sent to, of [`LogDriver::Sink`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<SinkConfig>,
}

/// A daemon of the host's that takes a log, an entry a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkConfig {
    /// In which form.
    pub protocol: SinkProtocol,
    /// Where it listens.
    pub address: SinkAddress,
    /// What entries are marked with.
    pub tag: String,
    /// Fields of every entry, for journald.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

/// The form of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkProtocol {
    /// journald's native one.
    Journald,
    /// syslog: what a local daemon stamps itself, RFC 5424 over the network.
    Syslog {
        /// The facility's number, 0 to 23.
        facility: u8,
    },
}

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkAddress {
    /// A datagram socket in the file system.
    Unix(PathBuf),
    /// An address of UDP.
    Udp(SocketAddr),
}

/// Where a container's output is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Docker's format: one JSON object per line, in `log/json.log`.
    JsonFile,
    /// The program's own bytes, in `log/local.log`.
    Local,
    /// Nowhere: the program writes to what the command that started it writes to.
    Passthrough,
    /// To a daemon of the host's.
    Sink,
    /// Nowhere.
    None,
}

impl Default for LogConfig {
    /// Rotated by default, at 10 MB, three files, the full ones packed: a chatty container never fills the disk.
    fn default() -> Self {
        Self {
            driver: LogDriver::JsonFile,
            max_size: 10_000_000,
            max_files: 3,
            compress: true,
            attributes: BTreeMap::new(),
            sink: None,
        }
    }
}
