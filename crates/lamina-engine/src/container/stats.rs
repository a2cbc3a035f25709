//! `stats`: what a container uses, read from its control groups and its network namespace.

use std::path::Path;
use std::time::Instant;

use lamina_fs::Dir;
use lamina_runtime::{Cgroup, CgroupError};
use lamina_types::{ContainerId, ContainerName, ErrorKind};

use crate::Engine;
use crate::container::find::FindError;
use crate::container::list::{ListError, state_of};
use crate::request::NetworkMode;

/// Control files and those of /proc are small; io.stat has a line for each disk.
const LIMIT: u64 = 1 << 20;

/// What a container has used by a moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Which container.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Whether it runs; if not, everything else is zero.
    pub running: bool,
    /// When it was looked at.
    pub at: Instant,
    /// CPU time in nanoseconds.
    pub cpu: u64,
    /// Memory in bytes, without what the kernel keeps of files and would give back at once.
    pub memory: u64,
    /// The limit of memory in bytes: the container's or the machine's.
    pub memory_limit: u64,
    /// Bytes received and sent; of the host's network nothing is counted.
    pub network: (u64, u64),
    /// Bytes read from and written to disks.
    pub block: (u64, u64),
    /// How many processes and threads it has.
    pub pids: u64,
}

/// Why it is not known what a container uses.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    State(#[from] ListError),
    /// Its control groups cannot be found.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl StatsError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::State(error) => error.kind(),
            Self::Cgroup(error) => error.kind(),
        }
    }
}

impl Sample {
    /// Returns the CPU time since an earlier sample as a share of one CPU, in percent.
    pub fn cpu_percent(&self, before: &Self) -> f64 {
        let elapsed = self.at.duration_since(before.at).as_secs_f64();
        let used = self.cpu.saturating_sub(before.cpu);
        if elapsed <= 0.0 {
            return 0.0;
        }
        std::time::Duration::from_nanos(used).as_secs_f64() / elapsed * 100.0
    }
}

impl Engine {
    /// Looks at what a container uses now.
    pub fn sample(&self, id: &ContainerId) -> Result<Sample, StatsError> {
        let container = self.load_supervised(id)?;
        let state = state_of(&container)?;
        let record = &container.record;
        let mut sample = Sample {
            id: record.id.clone(),
            name: record.name.clone(),
            running: state.status.is_running(),
            at: Instant::now(),
            cpu: 0,
            memory: 0,
            memory_limit: 0,
            network: (0, 0),
            block: (0, 0),
            pids: 0,
        };
        if !sample.running {
            return Ok(sample);
        }
        if let Some(cgroup) = self.cgroup_of(record)? {
            sample.fill(&cgroup);
        }
        let total = memory_total();
        if sample.memory_limit == 0 || sample.memory_limit > total {
            sample.memory_limit = total;
        }
        if record.request.isolation.network != NetworkMode::Host {
            let text = read(Path::new(&format!("/proc/{}/net", state.pid)), "dev");
            sample.network = network(&text);
        }
        Ok(sample)
    }
}

impl Sample {
    fn fill(&mut self, cgroup: &Cgroup) {
        let file = |controller: &str, name: &str| match cgroup.controller(controller) {
            Some(dir) => read(dir, name),
            None => String::new(),
        };
        let number = |text: String| text.trim().parse::<u64>().unwrap_or(0);
        self.pids = number(file("pids", "pids.current"));
        if cgroup.is_v2() {
            let micros = field(&file("cpu", "cpu.stat"), "usage_usec");
            self.cpu = micros.saturating_mul(1000);
            let cached = field(&file("memory", "memory.stat"), "inactive_file");
            self.memory = number(file("memory", "memory.current")).saturating_sub(cached);
            self.memory_limit = number(file("memory", "memory.max"));
            self.block = io_stat(&file("io", "io.stat"));
        } else {
            self.cpu = number(file("cpuacct", "cpuacct.usage"));
            let cached = field(&file("memory", "memory.stat"), "total_inactive_file");
            let usage = number(file("memory", "memory.usage_in_bytes"));
            self.memory = usage.saturating_sub(cached);
            self.memory_limit = number(file("memory", "memory.limit_in_bytes"));
            self.block = blkio(&file("blkio", "blkio.throttle.io_service_bytes_recursive"));
        }
        // Reading took a moment; this is the nearest that can be said.
        self.at = Instant::now();
    }
}

/// Reads a control file; one that is not there is empty.
pub(crate) fn read(dir: &Path, name: &str) -> String {
    let bytes = Dir::open(dir).and_then(|dir| dir.read(name, LIMIT));
    bytes.map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// Returns the memory of the machine in bytes.
pub(crate) fn memory_total() -> u64 {
    let text = read(Path::new("/proc"), "meminfo");
    field(&text, "MemTotal:").saturating_mul(1024)
}

/// Returns the number after a word at the beginning of a line; 0 where there is none.
pub(crate) fn field(text: &str, name: &str) -> u64 {
    let lines = text.lines().map(str::split_whitespace);
    let mut values = lines.filter_map(|mut words| match words.next() {
        Some(word) if word == name => words.next()?.parse().ok(),
        _ => None,
    });
    values.next().unwrap_or(0)
}

/// Sums what all interfaces but the loopback have received and sent.
fn network(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let counters: Vec<u64> = counters
            .split_whitespace()
            .map(|word| word.parse().unwrap_or(0))
            .collect();
        sum.0 += counters.first().unwrap_or(&0);
        sum.1 += counters.get(8).unwrap_or(&0);
    }
    sum
}

/// Sums the bytes of `8:0 rbytes=1 wbytes=2 …`.
fn io_stat(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let words = text.split_whitespace();
        let values = words.filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
        values.sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

/// Sums the bytes of `8:0 Read 1`, `8:0 Write 2`.
fn blkio(text: &str) -> (u64, u64) {
    let sum = |word: &str| {
        let lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let values = lines.filter_map(|words| match words[..] {
            [_, what, value] if what == word => value.parse::<u64>().ok(),
            _ => None,
        });
        values.sum()
    };
    (sum("Read"), sum("Write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_both_versions_are_summed() {
        let v2 = "8:0 rbytes=10 wbytes=2 rios=1 wios=1\n8:16 rbytes=5 wbytes=1\n";
        assert_eq!(io_stat(v2), (15, 3));
        let v1 = "8:0 Read 10\n8:0 Write 2\n8:0 Total 12\n8:16 Read 5\nTotal 17\n";
        assert_eq!(blkio(v1), (15, 2));
        let dev = "Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 100 1 0 0 0 0 0 0 200 2\n";
        assert_eq!(network(dev), (100, 200));
        assert_eq!(field("a 1\ninactive_file 7\n", "inactive_file"), 7);
        assert_eq!(field("total_inactive_file 7\n", "inactive_file"), 0);
    }
}
