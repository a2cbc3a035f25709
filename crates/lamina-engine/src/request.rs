//! What the engine is asked to make: the one door through which every face creates a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lamina_types::mount::MountSpec;
use lamina_types::{
    ContainerName, DeviceSpec, Healthcheck, OnFailure, Platform, Reference, Resources,
    RestartPolicy, Signal, Ulimit, UserSpec,
};
use serde::{Deserialize, Serialize};

use crate::logging::LogRequest;

/// A container as it was asked for: typed and checked, nothing opened yet.
///
/// The CLI, the API and the CRI translate into this and nothing else. It is kept whole in
/// `record.json`, because inspect, start, restart, update and commit read it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRequest {
    /// The image to run.
    pub image: Reference,
    /// The platform of the image; `None` is the host's.
    pub platform: Option<Platform>,
    /// When to ask the registry.
    pub pull: PullPolicy,
    /// The container's name; `None` makes an `adjective_noun` one.
    pub name: Option<ContainerName>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What the runtime is told beside all that is known (`--annotation`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is executed.
    pub process: ProcessRequest,
    /// What it may see and reach.
    pub isolation: IsolationRequest,
    /// What it may use.
    pub resources: Resources,
    /// The parent cgroup, an absolute path in every hierarchy; `None` is `/lamina`.
    pub cgroup_parent: Option<String>,
    /// Mounts, in the order they were given.
    pub mounts: Vec<MountSpec>,
    /// Containers whose volumes and binds it gets (`--volumes-from`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumesFrom>,
    /// Whether the root filesystem is read-only.
    pub read_only: bool,
    /// The size of /dev/shm in bytes; `None` is 64 MiB.
    pub shm_size: Option<u64>,
    /// Host devices.
    pub devices: Vec<DeviceSpec>,
    /// Kernel parameters, dotted names.
    pub sysctls: BTreeMap<String, String>,
    /// Whether the container goes with its exit (`--rm`).
    pub remove: bool,
    /// When it is started again after its end; never, where it goes with it.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Where the id is written (`--cidfile`); the file must not exist.
    pub cidfile: Option<PathBuf>,
    /// What becomes of the output.
    #[serde(default)]
    pub log: LogRequest,
    /// How it is found out whether it is well.
    #[serde(default)]
    pub health: HealthRequest,
}

impl CreateRequest {
    /// Returns a request for a container of which nothing is known.
    pub(crate) fn unknown() -> Self {
        let image = "unknown.invalid/unknown".parse();
        Self {
            image: image.expect("the constant is a valid reference"),
            platform: None,
            pull: PullPolicy::Never,
            name: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            process: ProcessRequest::default(),
            isolation: IsolationRequest::default(),
            resources: Resources::default(),
            cgroup_parent: None,
            mounts: Vec::new(),
            volumes_from: Vec::new(),
            read_only: false,
            shm_size: None,
            devices: Vec::new(),
            sysctls: BTreeMap::new(),
            remove: false,
            restart: RestartPolicy::No,
            cidfile: None,
            log: LogRequest::default(),
            health: HealthRequest::default(),
        }
    }
}

/// A container whose volumes and binds another gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// The container, as it was typed.
    pub container: String,
    /// Whether writes are refused (`:ro`) or allowed (`:rw`); as there where neither is said.
    pub read_only: Option<bool>,
}

/// How it is found out whether a container is well, and what follows where it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthRequest {
    /// What replaces the image's check, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Healthcheck>,
    /// What is done with a container that has become unhealthy.
    pub on_failure: OnFailure,
}

/// What a container executes, and how it is talked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessRequest {
    /// Replaces the image's entrypoint; an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// The arguments after the image's name.
    pub args: Vec<String>,
    /// `NAME=value`, or `NAME` alone to remove the image's.
    pub env: Vec<String>,
    /// The working directory; it is made if it does not exist.
    pub workdir: Option<PathBuf>,
    /// The user; `None` is the image's.
    pub user: Option<UserSpec>,
    /// Supplementary groups, names or numbers.
    pub group_add: Vec<String>,
    /// Whether the process has a terminal.
    pub tty: bool,
    /// Whether stdin is kept open.
    pub stdin: bool,
    /// The streams that were asked to be connected from the start.
    pub attached: Connected,
    /// Whether a tiny init reaps for the program (`--init`).
    pub init: bool,
    /// The signal that stops it; `None` is the image's, else SIGTERM.
    pub stop_signal: Option<Signal>,
    /// The seconds that it has to stop before it is killed, below zero for ever; `None` is ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// The adjustment of the OOM score, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
}

/// Standard streams of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// Its input.
    pub stdin: bool,
    /// Its output.
    pub stdout: bool,
    /// Its error output.
    pub stderr: bool,
}

impl Connected {
    /// None of them: the container runs in the background.
    pub const NONE: Self = Self {
        stdin: false,
        stdout: false,
        stderr: false,
    };
}

/// What is connected where nobody says otherwise.
impl Default for Connected {
    fn default() -> Self {
        Self {
            stdin: false,
            stdout: true,
            stderr: true,
        }
    }
}

/// How far a container is separated from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IsolationRequest {
    /// The hostname; `None` is the short id, or the host's with `uts: Host`.
    pub hostname: Option<String>,
    /// `--network`.
    pub network: NetworkMode,
    /// `--pid`.
    pub pid: NamespaceMode,
    /// `--ipc`.
    pub ipc: NamespaceMode,
    /// `--uts`.
    pub uts: NamespaceMode,
    /// `--cgroupns`.
    pub cgroup: NamespaceMode,
    /// `--privileged`.
    pub privileged: bool,
    /// Capabilities added, without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities dropped, without `CAP_`, or `ALL`.
    pub cap_drop: Vec<String>,
    /// `--security-opt seccomp=…`.
    pub seccomp: SeccompMode,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--security-opt label=…`, where SELinux is enabled.
    pub label: Vec<String>,
    /// `--security-opt systempaths=unconfined`: neither masks nor read-only paths.
    pub systempaths_unconfined: bool,
}

/// Whether a namespace is the container's own or the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// The network of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Its own namespace with nothing but loopback.
    #[default]
    None,
    /// The host's.
    Host,
}

/// The system call filter of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeccompMode {
    /// Docker's default profile.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile in Docker's JSON form: its text, read by the face.
    Profile(String),
}

/// When the registry is asked for an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// Only if it is not here.
    #[default]
    Missing,
    /// Never.
    Never,
}
