//! What a container may use.

use serde::{Deserialize, Serialize};

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
    /// CPU time of a period in microseconds; below zero is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// The period of `cpu_quota` in microseconds; 100,000 is the kernel's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<u64>,
    /// The relative weight of block I/O, 10 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_weight: Option<u16>,
    /// CPUs as a list, `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes as a list.
    pub cpuset_mems: Option<String>,
    /// The number of processes; -1 is unlimited.
    pub pids_limit: Option<i64>,
}
