//! `info`: the host, the store and the protections as they really are.

use std::path::{Path, PathBuf};

use lamina_fs::{Dir, PathError};
use lamina_types::ErrorKind;
use serde::Serialize;

use crate::Engine;
use crate::container::list::ListError;
use crate::container::state::ContainerStatus;
use crate::host;
use crate::logging::DRIVERS;
use crate::rootfs::RootfsError;

/// statfs(2): what a pure cgroup2 hierarchy is.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// What `info` shows.
#[derive(Debug, Clone, Serialize)]
pub struct Info {
    /// How many containers there are.
    pub containers: usize,
    /// How many of them run.
    pub running: usize,
    /// How many are held still.
    pub paused: usize,
    /// How many have ended, or were never started.
    pub stopped: usize,
    /// How many names of images there are.
    pub images: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The machine's architecture by the kernel's name.
    pub architecture: String,
    /// The host's name.
    pub hostname: String,
    /// The distribution, by os-release(5).
    pub operating_system: String,
    /// How many processors this process may use.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// The storage mode in use.
    pub storage_mode: String,
    /// Why it is that one.
    pub storage_reason: String,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// What confines containers on this host.
    pub security: Vec<String>,
    /// Protections this host cannot give, each with its reason.
    pub missing: Vec<String>,
    /// The logging drivers that there are.
    pub log_drivers: Vec<String>,
    /// Where images and containers are.
    pub root: PathBuf,
    /// Where what a reboot ends is.
    pub run: PathBuf,
}

/// Why `info` cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InfoError {
    /// The containers cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// The names of images cannot be listed.
    #[error(transparent)]
    Refs(#[from] lamina_store::RefError),
    /// The storage mode cannot be found out.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
}

impl InfoError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::List(error) => error.kind(),
            Self::Refs(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Describes the host, the store and what protects containers here.
    pub fn info(&self) -> Result<Info, InfoError> {
        let containers = self.list(true)?;
        let running = containers
            .iter()
            .filter(|container| container.state.status.is_running())
            .count();
        let paused = containers
            .iter()
            .filter(|container| container.state.status == ContainerStatus::Paused)
            .count();
        let system = rustix::system::uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        let (security, missing) = protections();
        let snapshotter = self.snapshotter()?;
        Ok(Info {
            containers: containers.len(),
            running: running - paused,
            paused,
            stopped: containers.len() - running,
            images: self.store.refs().list()?.len(),
            kernel: text(system.release()),
            architecture: text(system.machine()),
            hostname: text(system.nodename()),
            operating_system: operating_system(),
            cpus: host::cpus(),
            memory: memory(),
            storage_mode: snapshotter.mode().name().to_owned(),
            storage_reason: snapshotter.reason(),
            cgroup_version: cgroup_version(),
            security,
            missing,
            log_drivers: DRIVERS.map(str::to_owned).into(),
            root: self.config.root.clone(),
            run: self.config.run.clone(),
        })
    }
}

fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    info.totalram.saturating_mul(unit)
}

fn cgroup_version() -> u8 {
    let pure = rustix::fs::statfs(Path::new("/sys/fs/cgroup"))
        .is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| kind == CGROUP2_MAGIC));
    if pure { 2 } else { 1 }
}

fn operating_system() -> String {
    let read = |dir: &str| Dir::open(dir)?.read("os-release", 64 << 10);
    let bytes: Result<Vec<u8>, PathError> = read("/usr/lib").or_else(|_| read("/etc"));
    let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("Linux", |name| name.trim_matches('"'))
        .to_owned()
}

/// Returns what protects containers here, and what this host lacks.
fn protections() -> (Vec<String>, Vec<String>) {
    let mut have = vec!["namespaces".to_owned(), "capabilities".to_owned()];
    let mut lack = Vec::new();
    let actions = Path::new("/proc/sys/kernel/seccomp/actions_avail");
    if actions.exists() {
        have.push("seccomp".to_owned());
    } else {
        lack.push("seccomp: this kernel has no filters".to_owned());
    }
    if host::selinux_enabled() {
        have.push("selinux".to_owned());
    } else {
        lack.push("selinux: not enabled on this host".to_owned());
    }
    (have, lack)
}
