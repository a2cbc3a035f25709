//! Mounts of a container, in the order they are made.
//!
//! First what every container has, then the generated files of `/etc`, then what was asked for,
//! shallow targets before deep ones as Docker orders them, so that one mount can lie in another.
//! A mount that was asked for replaces a default one with the same target.

use std::path::{Path, PathBuf};

use lamina_runtime::spec_default;
use lamina_types::mount::{MountKind, MountSpec, Propagation};
use oci_spec::runtime::Mount;

use crate::files::EtcFiles;
use crate::process::lexically;
use crate::request::{CreateRequest, NamespaceMode};
use crate::spec::SpecError;

/// What may be mounted on below /proc: files that lxcfs imitates, as runc allows
/// (CVE-2019-16884 is a mount on /proc that switched the LSM off).
const PROC_ALLOWED: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];

/// A volume or an image that is mounted: what it is, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeMount {
    /// `bind` for a directory on the host, a filesystem, or the runtime's word for an image.
    pub kind: String,
    /// The directory, the filesystem's device, or the image's name.
    pub source: PathBuf,
    /// Options as mount(8) knows them.
    pub options: Vec<String>,
    /// The part of it that is mounted.
    pub subpath: Option<PathBuf>,
    /// Where it goes.
    pub target: PathBuf,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// Makes the list.
pub(crate) fn plan(
    request: &CreateRequest,
    volumes: &[VolumeMount],
    etc: &EtcFiles,
) -> Result<Vec<Mount>, SpecError> {
    let mut asked: Vec<Mount> = volumes.iter().map(volume).collect();
    for spec in &request.mounts {
        if let Some(mount) = converted(spec) {
            asked.push(mount);
        }
    }
    for (index, mount) in asked.iter().enumerate() {
        let target = mount.destination();
        check_target(target, mount.source().as_deref())?;
        if asked[..index]
            .iter()
            .any(|other| other.destination() == target)
        {
            return Err(SpecError::Target {
                target: target.clone(),
                why: "two mounts have the same target",
            });
        }
    }
    asked.sort_by_key(|mount| mount.destination().components().count());

    let mut mounts = defaults(request);
    mounts.extend(etc.mounts().into_iter().map(|(source, target)| {
        build(
            target,
            "bind",
            source,
            &["bind", "rprivate", "nosuid", "nodev"],
        )
    }));
    mounts.retain(|mount| {
        let target = mount.destination();
        !asked.iter().any(|other| other.destination() == target)
    });
    mounts.extend(asked);
    Ok(mounts)
}

fn build(
    target: impl Into<PathBuf>,
    kind: &str,
    source: impl Into<PathBuf>,
    options: &[&str],
) -> Mount {
    // The paths may be any bytes, which the runtime's string form could not carry.
    let mut mount = spec_default::mount("", kind, "", options);
    mount
        .set_destination(target.into())
        .set_source(Some(source.into()));
    mount
}

/// Docker's own, with what `--privileged`, `--ipc host` and `--shm-size` change.
fn defaults(request: &CreateRequest) -> Vec<Mount> {
    let isolation = &request.isolation;
    let size = request.shm_size.filter(|size| *size != 0);
    let mut mounts = spec_default::mounts(size.unwrap_or(spec_default::SHM_SIZE));
    for mount in &mut mounts {
        let target = mount.destination().clone();
        if isolation.ipc == NamespaceMode::Host && target == Path::new("/dev/shm") {
            // The memory that is shared; the queues are those of the namespace whoever mounts
            // them, and not every host has.
            let options = ["rbind", "rprivate", "nosuid", "noexec", "nodev"];
            *mount = build(&target, "bind", &target, &options);
        }
        if isolation.privileged && target.starts_with("/sys") {
            let options = mount.options_mut().get_or_insert_default();
            options.retain(|option| option != "ro");
            options.push("rw".to_owned());
        }
    }
    mounts
}

fn volume(volume: &VolumeMount) -> Mount {
    let mut options = volume.options.clone();
    if volume.kind == "bind" {
        for word in ["rbind", "rprivate"] {
            options.push(word.to_owned());
        }
    }
    let asked = options.iter().any(|option| option == "ro");
    let write = if volume.read_only || asked {
        "ro"
    } else {
        "rw"
    };
    options.push(write.to_owned());
    if let Some(part) = &volume.subpath {
        options.push(format!("{}{}", spec_default::BENEATH, part.display()));
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    build(&volume.target, &volume.kind, &volume.source, &options)
}

/// Converts one mount; volumes and images come as [`VolumeMount`]s.
fn converted(spec: &MountSpec) -> Option<Mount> {
    let target = lexically(&spec.target);
    match &spec.kind {
        MountKind::Bind {
            source,
            propagation,
            non_recursive,
            ..
        } => {
            let bind = if *non_recursive { "bind" } else { "rbind" };
            let mut options = vec![bind, propagation_name(*propagation)];
            match (spec.recursive_read_only, spec.read_only) {
                (true, _) => options.extend(["ro", "rro"]),
                (false, true) => options.push("ro"),
                (false, false) => options.push("rw"),
            }
            Some(build(target, "bind", source, &options))
        }
        MountKind::Tmpfs {
            size,
            mode,
            options,
        } => Some(tmpfs(target, spec.read_only, *size, *mode, options)),
        MountKind::Volume { .. } | MountKind::Image { .. } => None,
    }
}

/// Docker's tmpfs: nothing on it is executed, set-user-id or a device unless asked for.
fn tmpfs(
    target: PathBuf,
    read_only: bool,
    size: Option<u64>,
    mode: Option<u32>,
    asked: &[String],
) -> Mount {
    let has = |option: &str| asked.iter().any(|have| have == option);
    let mut options = Vec::new();
    for (default, opposite) in [("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")] {
        if !has(opposite) && !has(default) {
            options.push(default.to_owned());
        }
    }
    options.extend(asked.iter().cloned());
    if read_only && !has("ro") {
        options.push("ro".to_owned());
    }
    options.extend(size.map(|size| format!("size={size}")));
    options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    build(target, "tmpfs", "tmpfs", &options)
}

fn propagation_name(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Rprivate => "rprivate",
        Propagation::Private => "private",
        Propagation::Rshared => "rshared",
        Propagation::Shared => "shared",
        Propagation::Rslave => "rslave",
        Propagation::Slave => "slave",
    }
}

/// Returns what the root's propagation has to be for the binds that were asked for to travel.
pub(crate) fn root_propagation(request: &CreateRequest) -> &'static str {
    let mut needed = "rprivate";
    for spec in &request.mounts {
        if let MountKind::Bind { propagation, .. } = &spec.kind {
            match propagation {
                Propagation::Rshared | Propagation::Shared => return "rshared",
                Propagation::Rslave | Propagation::Slave => needed = "rslave",
                Propagation::Rprivate | Propagation::Private => {}
            }
        }
    }
    needed
}

/// Refuses targets that would replace what isolation rests on.
///
/// The runtime checks again where the path really leads, since an image may have a link there.
pub(crate) fn check_target(target: &Path, source: Option<&Path>) -> Result<(), SpecError> {
    let refuse = |why| {
        Err(SpecError::Target {
            target: target.to_owned(),
            why,
        })
    };
    if target == Path::new("/") {
        return refuse("the target can't be '/'");
    }
    if target.starts_with("/proc") {
        let allowed = PROC_ALLOWED.iter().any(|path| target == Path::new(path));
        if !allowed {
            return refuse("nothing may be mounted on /proc");
        }
    }
    if target.starts_with("/sys") && !source.is_some_and(|source| source.starts_with("/sys")) {
        return refuse("only a part of the host's /sys may be mounted on /sys");
    }
    Ok(())
}
