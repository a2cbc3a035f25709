//! `inspect`: everything about a container, in Docker's shape.

use std::path::{Path, PathBuf};

use lamina_monitor::log::{Format, LOG_DIR};
use lamina_types::mount::MountKind;
use lamina_types::{ContainerId, ErrorKind, Rootfs, Source};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Engine;
use crate::container::find::{Container, FindError};
use crate::container::health;
use crate::container::list::{ListError, labels};
use crate::container::state::ContainerState;
use crate::process::{self, hostname, lexically};
use crate::record::Record;
use crate::request::{NamespaceMode, NetworkMode};
use crate::volumes;

mod host_config;

use host_config::{host_config, none_if_empty};

/// Why a container cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    State(#[from] ListError),
}

impl InspectError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::State(error) => error.kind(),
        }
    }
}

/// A container as `docker inspect` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerInspect {
    /// The id.
    pub id: ContainerId,
    /// When it was made.
    pub created: String,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it is doing.
    pub state: Value,
    /// The image's id.
    pub image: String,
    /// The generated files.
    pub resolv_conf_path: PathBuf,
    /// See `resolv_conf_path`.
    pub hostname_path: PathBuf,
    /// See `resolv_conf_path`.
    pub hosts_path: PathBuf,
    /// Where its output is recorded.
    pub log_path: PathBuf,
    /// The name, with Docker's slash before it.
    pub name: String,
    /// Labels of security modules, which Docker has and nothing here sets: empty.
    pub mount_label: &'static str,
    /// See `mount_label`.
    pub process_label: &'static str,
    /// See `mount_label`.
    pub app_armor_profile: &'static str,
    /// How often it was restarted.
    pub restart_count: u32,
    /// The processes that were executed in it and run; `null` where there are none, as Docker's.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<ContainerId>>,
    /// How its root filesystem is put together.
    pub driver: &'static str,
    /// The platform's operating system.
    pub platform: &'static str,
    /// What it may use and see.
    pub host_config: Value,
    /// The layers' directories.
    pub graph_driver: Value,
    /// Binds, volumes and tmpfs mounts.
    pub mounts: Vec<Value>,
    /// The process, the environment, the labels.
    pub config: Value,
    /// The network.
    pub network_settings: Value,
}

impl Engine {
    /// Describes a container.
    pub fn inspect(&self, id: &ContainerId) -> Result<ContainerInspect, InspectError> {
        let container = self.load(id)?;
        let state = self.observe(&container)?;
        let rootfs = self.existing_rootfs(id).ok();
        Ok(self.described(&container, &state, rootfs.as_ref()))
    }

    fn described(
        &self,
        container: &Container,
        state: &ContainerState,
        rootfs: Option<&Rootfs>,
    ) -> ContainerInspect {
        let record = &container.record;
        let plan = process::plan(&record.request, &record.image_config, &record.id);
        let mut argv = plan
            .as_ref()
            .map_or_else(|_| Vec::new(), |plan| plan.argv.clone());
        let dir = container.dir.path();
        ContainerInspect {
            id: record.id.clone(),
            created: record.created.clone(),
            path: argv.first().cloned().unwrap_or_default(),
            args: argv.split_off(argv.len().min(1)),
            state: state.value(),
            image: record.image.to_string(),
            resolv_conf_path: dir.join("resolv.conf"),
            hostname_path: dir.join("hostname"),
            hosts_path: dir.join("hosts"),
            log_path: log_path(record, dir),
            name: format!("/{}", record.name),
            mount_label: "",
            process_label: "",
            app_armor_profile: "",
            restart_count: state.restarts,
            exec_ids: self.running_executions(&record.id),
            driver: "overlay2",
            platform: "linux",
            host_config: host_config(record),
            graph_driver: graph_driver(rootfs, state.pid),
            mounts: self.mount_points(record),
            config: config(record, plan.as_ref().ok()),
            network_settings: network(record),
        }
    }

    fn running_executions(&self, id: &ContainerId) -> Option<Vec<ContainerId>> {
        let known = self.executions(id).unwrap_or_default().into_iter();
        let running = known.filter(|one| one.exit.is_none()).map(|one| one.id);
        let running: Vec<_> = running.collect();
        (!running.is_empty()).then_some(running)
    }

    fn mount_points(&self, record: &Record) -> Vec<Value> {
        let named = record.volumes.iter().map(|volume| {
            json!({
                "Type": "volume", "Name": volume.name,
                "Source": volumes::data(&self.store, &volume.name),
                "Destination": volume.target, "Driver": "local",
                "Mode": if volume.read_only { "ro" } else { "" },
                "RW": !volume.read_only, "Propagation": "",
            })
        });
        let others = record.request.mounts.iter().filter_map(|mount| {
            let target = lexically(&mount.target);
            let read_only = mount.read_only || mount.recursive_read_only;
            match &mount.kind {
                MountKind::Bind {
                    source,
                    propagation,
                    ..
                } => Some(json!({
                    "Type": "bind", "Source": source, "Destination": target,
                    "Mode": if read_only { "ro" } else { "" },
                    "RW": !read_only, "Propagation": propagation,
                })),
                MountKind::Tmpfs { .. } => Some(json!({
                    "Type": "tmpfs", "Source": "", "Destination": target, "Mode": "",
                    "RW": !read_only, "Propagation": "",
                })),
                MountKind::Image { source, .. } => Some(json!({
                    "Type": "image", "Source": source, "Destination": target, "Mode": "",
                    "RW": false, "Propagation": "",
                })),
                MountKind::Volume { .. } => None,
            }
        });
        named.chain(others).collect()
    }
}

pub(crate) fn network_name(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::None => "none",
        NetworkMode::Host => "host",
    }
}

/// Where the log is that others may read; that of `local` is nobody else's, as with Docker.
fn log_path(record: &Record, dir: &Path) -> PathBuf {
    match record.request.log.format() {
        Some(Format::Json) => dir.join(LOG_DIR).join(Format::Json.current()),
        _ => PathBuf::new(),
    }
}

/// Docker's four paths. The tree is mounted in the container's own namespace only, so the merged
/// view is reached through the process.
fn graph_driver(rootfs: Option<&Rootfs>, pid: u32) -> Value {
    let merged = match pid {
        0 => Value::Null,
        pid => json!(format!("/proc/{pid}/root")),
    };
    let mut data = Map::new();
    match rootfs {
        Some(Rootfs::Overlay {
            lowers,
            upper,
            work,
            ..
        }) => {
            let lowers: Vec<String> = lowers
                .iter()
                .map(|lower| match lower {
                    Source::Dir(path) | Source::Erofs { file: path } => path.display().to_string(),
                })
                .collect();
            data.insert("LowerDir".to_owned(), json!(lowers.join(":")));
            data.insert("UpperDir".to_owned(), json!(upper));
            data.insert("WorkDir".to_owned(), json!(work));
        }
        Some(Rootfs::Dir(path)) => {
            data.insert("RootDir".to_owned(), json!(path));
        }
        None => {}
    }
    data.insert("MergedDir".to_owned(), merged);
    json!({"Name": "overlay2", "Data": data})
}

fn config(record: &Record, plan: Option<&process::ProcessPlan>) -> Value {
    let request = &record.request;
    let image = &record.image_config;
    let process = &request.process;
    let user = match &process.user {
        Some(user) => user.to_string(),
        None => image.user.clone(),
    };
    let cmd = if process.args.is_empty() && process.entrypoint.is_none() {
        &image.cmd
    } else {
        &process.args
    };
    let entrypoint = process.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    let image_name = request.image.familiar();
    let mut value = json!({
        "Hostname": match request.isolation.uts {
            NamespaceMode::Private => hostname(request, &record.id),
            NamespaceMode::Host => "",
        },
        "Domainname": "",
        "User": user,
        "AttachStdin": process.attached.stdin,
        "AttachStdout": process.attached.stdout,
        "AttachStderr": process.attached.stderr,
        "Tty": process.tty,
        "OpenStdin": process.stdin,
        "StdinOnce": process.stdin && process.attached.stdin,
        "Env": process::configured_env(request, image),
        "Cmd": none_if_empty(cmd),
        // Docker shows a name as it was typed, and hardly anybody types the default tag.
        "Image": image_name.strip_suffix(":latest").unwrap_or(&image_name),
        "Volumes": Some(&image.volumes).filter(|volumes| !volumes.is_empty()),
        "WorkingDir": plan.map(|plan| plan.cwd.display().to_string()),
        "Entrypoint": none_if_empty(entrypoint),
        "Labels": labels(&request.labels, image),
        "StopSignal": plan.map(|plan| plan.stop_signal.to_string()),
    });
    if let Some(seconds) = process.stop_timeout {
        value["StopTimeout"] = seconds.into();
    }
    value["Healthcheck"] = json!(health::merged(record));
    value
}

fn network(record: &Record) -> Value {
    let mode = network_name(record.request.isolation.network);
    json!({
        "IPAddress": "",
        "Gateway": "",
        "MacAddress": "",
        "Ports": {},
        "Networks": {mode: {"IPAddress": "", "Gateway": "", "MacAddress": ""}},
    })
}
