//! From a record to an OCI runtime specification: pure, and rebuilt at every start.
//!
//! Everything that has to be looked up on the host or in the image comes in as a value, so the
//! whole of what a container may do is tested as a table, without a kernel. Docker's defaults
//! that no flag changes (capabilities, masks, devices, the system call filter) are the runtime's
//! `spec_default`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use lamina_runtime::spec_default;
use lamina_types::{ContainerId, ErrorKind};
use oci_spec::runtime::{
    Capability, Linux, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxDevice, LinuxDeviceCgroup,
    LinuxResourcesBuilder, LinuxSeccomp, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder,
    UserBuilder,
};

use crate::files::EtcFiles;
use crate::process::{ProcessPlan, hostname, name_of};
use crate::record::Record;
use crate::request::{CreateRequest, NamespaceMode, SeccompMode};
use crate::selinux::Labels;
use crate::users::ResolvedUser;

pub(crate) mod capabilities;
pub(crate) mod isolation;
pub(crate) mod mounts;
pub(crate) mod resources;
pub(crate) mod sysctl;
#[cfg(test)]
mod tests;

pub(crate) use mounts::VolumeMount;

/// The version of the runtime specification that is written.
const SPEC_VERSION: &str = "1.2.0";

/// Everything a specification is made from.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// What the container was made from.
    pub record: &'a Record,
    /// The program.
    pub process: &'a ProcessPlan,
    /// Its user, in numbers.
    pub user: &'a ResolvedUser,
    /// The volumes' directories.
    pub volumes: &'a [VolumeMount],
    /// The generated files.
    pub etc: &'a EtcFiles,
    /// The host's devices that were asked for, with the rights to them.
    pub devices: &'a [GrantedDevice],
    /// The capabilities that this host can give.
    pub capabilities: &'a HashSet<Capability>,
    /// The parent of the container's cgroup, unless the request names one.
    pub cgroup_parent: &'a str,
    /// The number of processors, whose throttle counters are masked.
    pub cpus: usize,
    /// The labels, where SELinux is enabled.
    pub labels: Option<&'a Labels>,
}

/// A device of the host that a container may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantedDevice {
    /// The node that is made.
    pub node: LinuxDevice,
    /// The rule that opens it.
    pub rule: LinuxDeviceCgroup,
}

/// Why a request cannot become a specification.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// A kernel parameter that may not be set.
    #[error("sysctl {name:?} is not allowed: {why}")]
    Sysctl {
        /// The parameter.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A limit that makes no sense.
    #[error("invalid {what}: {why}")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Limits out of their range or that exclude each other, in Docker's words.
    #[error("{0}")]
    Limits(&'static str),
    /// There is no such capability.
    #[error("unknown capability {0:?}")]
    Capability(String),
    /// A mount may not go where it was asked to.
    #[error("invalid mount target {target}: {why}", target = target.display())]
    Target {
        /// The target.
        target: PathBuf,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The parent cgroup is no absolute path without `..`.
    #[error("invalid cgroup parent {0:?}")]
    CgroupParent(String),
    /// The hostname cannot be one.
    #[error("invalid hostname {0:?}")]
    Hostname(String),
    /// The OOM score adjustment is out of range.
    #[error("invalid oom-score-adj {0}, the range is from -1000 to 1000")]
    OomScore(i32),
    /// The system call filter is none.
    #[error("the seccomp profile is invalid: {0}")]
    Seccomp(String),
}

impl SpecError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Builds the specification.
pub(crate) fn build(input: &Input<'_>) -> Result<Spec, SpecError> {
    let request = &input.record.request;
    let isolation = &request.isolation;
    let root = RootBuilder::default()
        .path("rootfs")
        .readonly(request.read_only)
        .build()
        .expect("every field is set");
    let mut spec = SpecBuilder::default()
        .version(SPEC_VERSION)
        .root(root)
        .mounts(mounts::plan(request, input.volumes, input.etc)?)
        .process(process(input)?)
        .linux(linux(input)?);
    if isolation.uts == NamespaceMode::Private {
        let name = hostname(request, &input.record.id);
        isolation::check_hostname(name)?;
        spec = spec.hostname(name);
    }
    let mut spec = spec.build().expect("every field has a default");
    // The builder starts from a sample specification; what it fills in unasked is taken out.
    let annotations = Some(&request.annotations).filter(|asked| !asked.is_empty());
    spec.set_annotations(annotations.map(|asked| asked.clone().into_iter().collect()));
    if isolation.uts == NamespaceMode::Host {
        spec.set_hostname(None);
    }
    Ok(spec)
}

/// Builds the specification of a further process of a container: whom it is, what it may do, and
/// whose limits hold. Namespaces and mounts are there.
pub(crate) fn build_joining(input: &Input<'_>) -> Result<Spec, SpecError> {
    let mut linux = LinuxBuilder::default().cgroups_path(cgroups_path(input)?);
    if let Some(filter) = seccomp(input)? {
        linux = linux.seccomp(filter);
    }
    let mut spec = SpecBuilder::default()
        .version(SPEC_VERSION)
        .process(process(input)?)
        .linux(linux.build().expect("every field has a default"))
        .build()
        .expect("every field has a default");
    // The builder starts from a sample specification; what it fills in unasked is taken out.
    spec.set_annotations(None);
    spec.set_hostname(None);
    spec.set_mounts(None);
    spec.set_root(None);
    Ok(spec)
}

fn cgroups_path(input: &Input<'_>) -> Result<PathBuf, SpecError> {
    let asked = input.record.request.cgroup_parent.as_deref();
    isolation::cgroup(asked.unwrap_or(input.cgroup_parent), &input.record.id)
}

/// Checks what a request asks for, as far as it can be known before a start.
pub(crate) fn check(request: &CreateRequest, id: &ContainerId) -> Result<(), SpecError> {
    let isolation = &request.isolation;
    mounts::plan(request, &[], &EtcFiles::in_dir(Path::new("/")))?;
    resources::plan(&request.resources)?;
    resources::rlimits(&request.process.ulimits)?;
    sysctl::plan(&request.sysctls, isolation)?;
    isolation::cgroup(request.cgroup_parent.as_deref().unwrap_or("/"), id)?;
    if let Some(name) = &isolation.hostname {
        isolation::check_hostname(name)?;
    }
    check_oom_score(request.process.oom_score_adj)?;
    let none = HashSet::new();
    let bounding = capabilities::plan(isolation, &none, &none)?;
    if let SeccompMode::Profile(text) = &isolation.seccomp {
        profile(text, &bounding)?;
    }
    Ok(())
}

fn check_oom_score(score: Option<i32>) -> Result<(), SpecError> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => Err(SpecError::OomScore(score)),
        _ => Ok(()),
    }
}

fn profile(text: &str, bounding: &HashSet<Capability>) -> Result<LinuxSeccomp, SpecError> {
    spec_default::seccomp_from_json(text, bounding)
        .map_err(|error| SpecError::Seccomp(error.to_string()))
}

fn bounding(input: &Input<'_>) -> Result<HashSet<Capability>, SpecError> {
    capabilities::plan(
        &input.record.request.isolation,
        &spec_default::CAPABILITIES.into(),
        input.capabilities,
    )
}

fn process(input: &Input<'_>) -> Result<Process, SpecError> {
    let request = &input.record.request;
    let bounding = bounding(input)?;
    // As execve(2) leaves them: a user other than root has none but in the bounding set, and
    // nothing is ever inheritable or ambient (CVE-2022-24769).
    let effective = if input.user.uid == 0 {
        bounding.clone()
    } else {
        HashSet::new()
    };
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(bounding)
        .effective(effective.clone())
        .permitted(effective)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
        .expect("every field is set");
    let user = UserBuilder::default()
        .uid(input.user.uid)
        .gid(input.user.gid)
        .umask(0o022_u32)
        .additional_gids(input.user.groups.clone())
        .build()
        .expect("every field has a default");
    let mut env = input.process.env.clone();
    if !env.iter().any(|entry| name_of(entry) == "HOME") {
        env.push(format!("HOME={}", input.user.home));
    }
    let mut process = ProcessBuilder::default()
        .terminal(request.process.tty)
        .user(user)
        .args(input.process.argv.clone())
        .env(env)
        .cwd(&input.process.cwd)
        .capabilities(capabilities)
        .rlimits(resources::rlimits(&request.process.ulimits)?)
        .no_new_privileges(request.isolation.no_new_privileges);
    check_oom_score(request.process.oom_score_adj)?;
    if let Some(score) = request.process.oom_score_adj {
        process = process.oom_score_adj(score);
    }
    if let Some(label) = input.labels.map(|labels| labels.process.as_str()) {
        process = process.selinux_label(label);
    }
    Ok(process.build().expect("every field has a default"))
}

fn linux(input: &Input<'_>) -> Result<Linux, SpecError> {
    let record = input.record;
    let request = &record.request;
    let isolation = &request.isolation;
    let limits = resources::plan(&request.resources)?;
    let mut resources = LinuxResourcesBuilder::default().devices(device_rules(input));
    if let Some(memory) = limits.memory {
        resources = resources.memory(memory);
    }
    if let Some(cpu) = limits.cpu {
        resources = resources.cpu(cpu);
    }
    if let Some(pids) = limits.pids {
        resources = resources.pids(pids);
    }
    if let Some(io) = limits.io {
        resources = resources.block_io(io);
    }
    let mut linux = LinuxBuilder::default()
        .namespaces(isolation::namespaces(isolation))
        .cgroups_path(cgroups_path(input)?)
        .resources(resources.build().expect("every field has a default"))
        .devices(
            input
                .devices
                .iter()
                .map(|device| device.node.clone())
                .collect::<Vec<_>>(),
        )
        .sysctl(
            sysctl::plan(&request.sysctls, isolation)?
                .into_iter()
                .collect::<HashMap<_, _>>(),
        )
        .rootfs_propagation(mounts::root_propagation(request))
        .masked_paths(isolation::unless_open(
            isolation,
            spec_default::masked_paths(input.cpus),
        ))
        .readonly_paths(isolation::unless_open(
            isolation,
            spec_default::readonly_paths(),
        ));
    if let Some(filter) = seccomp(input)? {
        linux = linux.seccomp(filter);
    }
    if let Some(label) = input.labels.map(|labels| labels.file.as_str()) {
        linux = linux.mount_label(label);
    }
    Ok(linux.build().expect("every field has a default"))
}

/// Docker's rules: nothing, then the harmless devices, then what was asked for.
fn device_rules(input: &Input<'_>) -> Vec<LinuxDeviceCgroup> {
    if input.record.request.isolation.privileged {
        return vec![spec_default::device_rule(true, None, None, None, "rwm")];
    }
    let mut rules = spec_default::device_rules();
    rules.extend(input.devices.iter().map(|device| device.rule.clone()));
    rules
}

fn seccomp(input: &Input<'_>) -> Result<Option<LinuxSeccomp>, SpecError> {
    let isolation = &input.record.request.isolation;
    let bounding = bounding(input)?;
    match &isolation.seccomp {
        _ if isolation.privileged && isolation.seccomp == SeccompMode::Default => Ok(None),
        SeccompMode::Unconfined => Ok(None),
        SeccompMode::Default => Ok(Some(spec_default::seccomp(&bounding))),
        SeccompMode::Profile(text) => profile(text, &bounding).map(Some),
    }
}
