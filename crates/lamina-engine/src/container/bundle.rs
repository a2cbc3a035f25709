//! What a container's monitor gets: the record and the image as one specification, and the files of
//! the bundle.

use std::path::Path;

use lamina_fs::{At, Dir, Durability, PathError};
use lamina_monitor::{EventsConfig, MONITOR_JSON, MonitorConfig};
use lamina_runtime::{CONFIG_JSON, ROOTFS_JSON};
use lamina_types::Rootfs;
use lamina_types::explain::Explainer;
use lamina_types::mount::{MountKind, Relabel};
use oci_spec::runtime::Spec;
use rustix::io::Errno;

use crate::container::find::Container;
use crate::container::start::StartError;
use crate::files::{EtcFiles, write_new};
use crate::record::Record;
use crate::selinux::{self, LabelError, Labels};
use crate::{Engine, accounts, devices, host, logging, process, spec, users, volumes};

impl Engine {
    /// Looks up everything the specification needs, and builds it.
    pub(crate) fn plan(&self, container: &Container, rootfs: &Rootfs) -> Result<Spec, StartError> {
        let record = &container.record;
        let request = &record.request;
        let process = process::plan(request, &record.image_config, &record.id)?;
        let accounts = accounts::read(rootfs)?;
        let user = users::resolve(process.user.as_ref(), &process.group_add, &accounts)?;
        let isolation = &request.isolation;
        let devices = devices::granted(&request.devices, isolation.privileged)?;
        let labels = labels(record)?;
        prepare_sources(record, labels.as_ref())?;
        Ok(spec::build(&spec::Input {
            record,
            process: &process,
            user: &user,
            volumes: &[
                volumes::mounts(&self.store, &record.volumes)?,
                self.image_mounts(&record.images)?,
            ]
            .concat(),
            etc: &EtcFiles::in_dir(container.dir.path()),
            devices: &devices,
            capabilities: &host::capabilities(isolation),
            cgroup_parent: &self.cgroup_parent,
            cpus: host::cpus(),
            labels: labels.as_ref(),
        })?)
    }

    pub(crate) fn write_bundle(
        &self,
        container: &Container,
        spec: &Spec,
        rootfs: &Rootfs,
        monitor: &MonitorConfig,
        explain: &mut Explainer,
    ) -> Result<(), StartError> {
        let record = &container.record;
        let run = self.run_dir()?;
        explain.step(
            "write the bundle",
            "the monitor gets everything it needs as files, and would get the same from any engine",
            || format!("mkdir {}", self.bundle(&record.id).display()),
            || {
                let bundle = run.mkdir(record.id.as_str(), 0o700)?;
                write_documents(&bundle, spec, rootfs, monitor)
            },
        )?;
        Ok(())
    }

    pub(crate) fn monitor_config(
        &self,
        container: &Container,
        events: EventsConfig,
    ) -> MonitorConfig {
        let record = &container.record;
        let process = &record.request.process;
        MonitorConfig {
            version: MonitorConfig::VERSION,
            id: record.id.clone(),
            state_dir: container.dir.path().to_owned(),
            tty: process.tty,
            stdin_open: process.stdin,
            stdin_once: process.stdin,
            log: logging::of(record, &self.config.log),
            cleanup_argv: self.container_argv(&record.id, &["cleanup"]),
            init_reaper: process.init,
            remove: record.request.remove,
            joins: None,
            events: Some(events),
            restart: record.request.restart,
            restart_argv: self.container_argv(&record.id, &["start", "--again"]),
            restarts: 0,
            health: self.health_config(record),
            bound: false,
        }
    }
}

pub(crate) fn write_documents(
    bundle: &Dir,
    spec: &Spec,
    rootfs: &Rootfs,
    monitor: &MonitorConfig,
) -> Result<(), PathError> {
    write_json(bundle, CONFIG_JSON, spec)?;
    write_json(bundle, ROOTFS_JSON, rootfs)?;
    write_json(bundle, MONITOR_JSON, monitor)
}

/// Reads what the monitor of a bundle was told, if that can be read.
pub(crate) fn present_config(bundle: &Dir) -> Option<MonitorConfig> {
    const LIMIT: u64 = 1 << 20;
    let text = bundle.read(MONITOR_JSON, LIMIT).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Changes what the monitor of a bundle was told: it, or one that comes after it, reads it again.
pub(crate) fn change_config(
    bundle: &Dir,
    change: impl FnOnce(&mut MonitorConfig),
) -> Result<(), PathError> {
    let Some(mut config) = present_config(bundle) else {
        return Ok(());
    };
    change(&mut config);
    let json = serde_json::to_vec(&config).map_err(std::io::Error::from);
    let json = json.at("serialise", bundle.path().join(MONITOR_JSON))?;
    bundle.replace(MONITOR_JSON, &json, 0o600, Durability::Volatile)
}

pub(crate) fn write_json(
    dir: &Dir,
    name: &str,
    value: &impl serde::Serialize,
) -> Result<(), PathError> {
    let bytes = serde_json::to_vec(value)
        .map_err(std::io::Error::from)
        .at("serialise", dir.path().join(name))?;
    write_new(dir, name, &bytes, 0o600)
}

/// Returns the labels of a container, where SELinux is enabled.
pub(crate) fn labels(record: &Record) -> Result<Option<Labels>, LabelError> {
    if !host::selinux_enabled() {
        return Ok(None);
    }
    let isolation = &record.request.isolation;
    selinux::labels(&record.id, &isolation.label, isolation.privileged)
}

/// Checks that bind sources are still there, and relabels those that ask for it.
fn prepare_sources(record: &Record, labels: Option<&Labels>) -> Result<(), StartError> {
    for mount in &record.request.mounts {
        let MountKind::Bind {
            source, relabel, ..
        } = &mount.kind
        else {
            continue;
        };
        match rustix::fs::stat(source) {
            Ok(_) => {}
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return Err(StartError::BindSource(source.clone()));
            }
            Err(error) => return Err(error).at("stat", source)?,
        }
        if *relabel != Relabel::None && labels.is_some() {
            relabel_source(source, *relabel, labels)?;
        }
    }
    Ok(())
}

fn relabel_source(
    source: &Path,
    relabel: Relabel,
    labels: Option<&Labels>,
) -> Result<(), StartError> {
    let resolved = source.canonicalize().at("resolve", source)?;
    if let Some(label) = selinux::plan(&resolved, relabel, labels)? {
        selinux::apply(&resolved, &label)?;
    }
    Ok(())
}
