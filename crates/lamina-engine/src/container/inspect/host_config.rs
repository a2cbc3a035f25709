//! `HostConfig` of `inspect`.

use lamina_runtime::spec_default;
use lamina_types::mount::MountKind;
use serde_json::{Map, Value, json};

use super::network_name;
use crate::host;
use crate::record::Record;
use crate::request::{NamespaceMode, SeccompMode};

fn namespace(mode: NamespaceMode) -> &'static str {
    match mode {
        NamespaceMode::Private => "private",
        NamespaceMode::Host => "host",
    }
}

/// Returns what a container may use and see, with every field that Docker's has.
pub(super) fn host_config(record: &Record) -> Value {
    let mut value = defaults(record);
    if let (Some(fields), Value::Object(plain)) = (value.as_object_mut(), plain_host_config(record))
    {
        fields.extend(plain);
    }
    let annotations = &record.request.annotations;
    if !annotations.is_empty() {
        value["Annotations"] = json!(annotations);
    }
    value
}

/// What nothing here sets, with Docker's values, so that a template over it finds it.
fn defaults(record: &Record) -> Value {
    let isolation = &record.request.isolation;
    let hidden = !isolation.systempaths_unconfined && !isolation.privileged;
    let masked = hidden.then(|| spec_default::masked_paths(host::cpus()));
    let read_only = hidden.then(spec_default::readonly_paths);
    json!({
        "ContainerIDFile": "", "VolumeDriver": "", "Runtime": "lamina", "Isolation": "",
        "PortBindings": {}, "PublishAllPorts": false, "Links": null, "ExtraHosts": null,
        "Dns": [], "DnsOptions": [], "DnsSearch": [],
        "Cgroup": "", "UsernsMode": "", "ConsoleSize": [0, 0],
        "BlkioWeightDevice": [], "BlkioDeviceReadBps": null, "BlkioDeviceWriteBps": null,
        "BlkioDeviceReadIOps": null, "BlkioDeviceWriteIOps": null,
        "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpuCount": 0, "CpuPercent": 0,
        "DeviceCgroupRules": null, "DeviceRequests": null,
        "MemorySwappiness": null, "OomKillDisable": false,
        "IOMaximumIOps": 0, "IOMaximumBandwidth": 0,
        "MaskedPaths": masked, "ReadonlyPaths": read_only,
    })
}

fn plain_host_config(record: &Record) -> Value {
    let request = &record.request;
    let isolation = &request.isolation;
    let resources = &request.resources;
    // Docker leaves the mode of these empty where it is the default.
    let own = |mode| match mode {
        NamespaceMode::Private => "",
        NamespaceMode::Host => "host",
    };
    json!({
        "Binds": binds(record),
        "VolumesFrom": none_if_empty(&request.volumes_from.iter().map(|from| {
            from.container.clone() + from.read_only.map_or("", |ro| if ro { ":ro" } else { ":rw" })
        }).collect::<Vec<_>>()),
        "NetworkMode": network_name(isolation.network),
        "AutoRemove": request.remove,
        "CapAdd": none_if_empty(&isolation.cap_add),
        "CapDrop": none_if_empty(&isolation.cap_drop),
        "CgroupnsMode": namespace(isolation.cgroup),
        "GroupAdd": none_if_empty(&request.process.group_add),
        "IpcMode": namespace(isolation.ipc),
        "PidMode": own(isolation.pid),
        "UTSMode": own(isolation.uts),
        "OomScoreAdj": request.process.oom_score_adj.unwrap_or(0),
        "Privileged": isolation.privileged,
        "ReadonlyRootfs": request.read_only,
        "SecurityOpt": security_options(record),
        "ShmSize": request.shm_size.unwrap_or(spec_default::SHM_SIZE),
        "Sysctls": request.sysctls,
        "Tmpfs": tmpfs(record),
        "Init": request.process.init,
        "CgroupParent": request.cgroup_parent.as_deref().unwrap_or(""),
        "CpuShares": resources.cpu_shares.unwrap_or(0),
        "Memory": resources.memory.unwrap_or(0),
        "MemorySwap": swap(record),
        "MemoryReservation": resources.memory_reservation.unwrap_or(0),
        "NanoCpus": resources.nano_cpus.unwrap_or(0),
        "CpuQuota": resources.cpu_quota.unwrap_or(0),
        "CpuPeriod": resources.cpu_period.unwrap_or(0),
        "BlkioWeight": resources.blkio_weight.unwrap_or(0),
        "CpusetCpus": resources.cpuset_cpus.as_deref().unwrap_or(""),
        "CpusetMems": resources.cpuset_mems.as_deref().unwrap_or(""),
        "PidsLimit": resources.pids_limit,
        "Devices": request.devices.iter().map(|device| json!({
            "PathOnHost": device.host, "PathInContainer": device.container,
            "CgroupPermissions": device.permissions,
        })).collect::<Vec<_>>(),
        "Ulimits": request.process.ulimits.iter().map(|limit| json!({
            "Name": limit.name, "Soft": limit.soft, "Hard": limit.hard,
        })).collect::<Vec<_>>(),
        "RestartPolicy": {
            "Name": request.restart.name(), "MaximumRetryCount": request.restart.most(),
        },
        "LogConfig": {"Type": request.log.driver(), "Config": request.log.options},
    })
}

fn swap(record: &Record) -> i64 {
    let resources = &record.request.resources;
    let twice = resources
        .memory
        .and_then(|memory| i64::try_from(memory).ok())
        .map_or(0, |memory| memory.saturating_mul(2));
    resources.memory_swap.unwrap_or(twice)
}

/// Docker shows an empty list that was never given as `null`.
pub(super) fn none_if_empty(list: &[String]) -> Option<&[String]> {
    Some(list).filter(|list| !list.is_empty())
}

fn binds(record: &Record) -> Option<Vec<String>> {
    let binds: Vec<String> = record
        .request
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Bind { source, .. } => {
                let read_only = if mount.read_only { ":ro" } else { "" };
                let (source, target) = (source.display(), mount.target.display());
                Some(format!("{source}:{target}{read_only}"))
            }
            _ => None,
        })
        .collect();
    Some(binds).filter(|binds| !binds.is_empty())
}

/// Where there is a tmpfs, each with the options as mount(8) has them.
fn tmpfs(record: &Record) -> Map<String, Value> {
    let mounts = record.request.mounts.iter();
    let mounts = mounts.filter_map(|mount| match &mount.kind {
        MountKind::Tmpfs {
            size,
            mode,
            options,
        } => {
            let size = size.map(|bytes| format!("size={bytes}"));
            let mode = mode.map(|mode| format!("mode={mode:o}"));
            let words = options.iter().cloned().chain(size).chain(mode);
            let words: Vec<String> = words.collect();
            Some((mount.target.display().to_string(), words.join(",").into()))
        }
        _ => None,
    });
    mounts.collect()
}

fn security_options(record: &Record) -> Option<Vec<String>> {
    let isolation = &record.request.isolation;
    let mut options = Vec::new();
    match &isolation.seccomp {
        SeccompMode::Default => {}
        SeccompMode::Unconfined => options.push("seccomp=unconfined".to_owned()),
        SeccompMode::Profile(text) => options.push(format!("seccomp={text}")),
    }
    if isolation.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    if isolation.systempaths_unconfined {
        options.push("systempaths=unconfined".to_owned());
    }
    options.extend(isolation.label.iter().map(|label| format!("label={label}")));
    Some(options).filter(|options| !options.is_empty())
}
