//! What a process in a container is started with: user, signal, limits, devices.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A user as typed: `user`, `user:group`, `uid`, `uid:gid`, in any mixture.
///
/// A part of decimal digits only is always a number and never looked up as a name
/// (CVE-2016-3697); a number outside `0..=4294967294` is refused on parsing, because -1 means
/// "unchanged" to setresuid(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// The user.
    pub user: NameOrId,
    /// The group; `None` takes the user's primary group.
    pub group: Option<NameOrId>,
}

/// A user or group, by number or by its name in the image's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NameOrId {
    /// A number.
    Id(u32),
    /// A name, looked up in the image's `/etc/passwd` or `/etc/group`.
    Name(String),
}

/// A signal by its number (signal(7)), 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub u8);

/// A resource limit (getrlimit(2)) that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// The name without `RLIMIT_`, in lower case: `nofile`.
    pub name: String,
    /// The soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// A host device given to a container (`--device`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// The device on the host.
    pub host: PathBuf,
    /// Its path in the container.
    pub container: PathBuf,
    /// Some of `rwm`.
    pub permissions: String,
}

/// Limits on what a container may use; `None` is no limit of our own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Memory plus swap in bytes; -1 is unlimited swap. Docker's default is twice `memory`.
    pub memory_swap: Option<i64>,
    /// The soft limit of memory in bytes.
    pub memory_reservation: Option<u64>,
    /// CPU time in billionths of a CPU (`--cpus 1.5` is 1,500,000,000).
    pub nano_cpus: Option<u64>,
    /// The relative weight, 2 to 262,144; 1,024 is the kernel's default.
    pub cpu_shares: Option<u64>,
    /// CPUs as a list, `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes as a list.
    pub cpuset_mems: Option<String>,
    /// The number of processes; -1 is unlimited.
    pub pids_limit: Option<i64>,
}
