//! Plans: everything that will be done to make a container, as values, before anything is done.
//!
//! [`Plan::new`] reads an OCI spec and a root filesystem and decides; it opens nothing. The init
//! process applies the plan step by step and `--explain` prints it, so what is said is what is
//! done.

pub(crate) mod capabilities;
pub(crate) mod devices;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod process;
pub(crate) mod sysctl;

use std::path::{Path, PathBuf};

use lamina_types::{ErrorKind, Rootfs};
use oci_spec::runtime::Spec;

use crate::seccomp::compile::CompileError;
use devices::Node;
use mounts::MountPlan;
use namespaces::NamespacePlan;
use process::ProcessPlan;
use sysctl::Sysctl;

/// Why a spec cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A part of the spec that is needed is not there.
    #[error("the spec has no {0}")]
    Missing(&'static str),
    /// Something in the spec makes no sense.
    #[error("{what} {value:?}: {why}")]
    Invalid {
        /// What it is, such as `mount target`.
        what: &'static str,
        /// What the spec says.
        value: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// Something this runtime does not do.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The system call filter is not one.
    #[error("read linux.seccomp of the spec")]
    Filter(#[source] serde_json::Error),
    /// The system call filter cannot be compiled.
    #[error(transparent)]
    Seccomp(#[from] CompileError),
}

impl PlanError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) | Self::Invalid { .. } | Self::Filter(_) => ErrorKind::InvalidArgument,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Seccomp(error) => error.kind(),
        }
    }

    fn invalid(what: &'static str, value: impl Into<String>, why: &'static str) -> Self {
        Self::Invalid {
            what,
            value: value.into(),
            why,
        }
    }
}

/// What the init process will do, in full.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) namespaces: NamespacePlan,
    pub(crate) rootfs: Rootfs,
    pub(crate) readonly: bool,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) devices: Vec<Node>,
    pub(crate) masked: Vec<PathBuf>,
    pub(crate) readonly_paths: Vec<PathBuf>,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) process: ProcessPlan,
    /// Whether there is a system call filter: it is compiled after the clone, while init works.
    pub(crate) is_filtered: bool,
}

impl Plan {
    /// Decides everything that follows from `spec` and `rootfs`.
    pub(crate) fn new(spec: &Spec, rootfs: &Rootfs) -> Result<Self, PlanError> {
        let linux = spec
            .linux()
            .as_ref()
            .ok_or(PlanError::Missing("linux section"))?;
        let process = spec
            .process()
            .as_ref()
            .ok_or(PlanError::Missing("process"))?;
        refuse_what_is_not_done(spec)?;
        let namespaces = namespaces::plan(linux.namespaces().as_deref().unwrap_or_default())?;
        let hostname = hostname("hostname", spec.hostname().as_deref(), &namespaces)?;
        let domainname = hostname_of_domain(spec.domainname().as_deref(), &namespaces)?;
        let paths = |paths: &Option<Vec<String>>| -> Result<Vec<PathBuf>, PlanError> {
            let paths = paths.iter().flatten();
            paths
                .map(|path| absolute("masked or read-only path", Path::new(path)))
                .collect()
        };
        Ok(Self {
            rootfs: rootfs.clone(),
            readonly: spec
                .root()
                .as_ref()
                .and_then(|root| root.readonly())
                .unwrap_or(false),
            hostname,
            domainname,
            mounts: mounts::plan(spec.mounts().as_deref().unwrap_or_default())?,
            devices: devices::plan(linux.devices().as_deref().unwrap_or_default())?,
            masked: paths(linux.masked_paths())?,
            readonly_paths: paths(linux.readonly_paths())?,
            sysctls: sysctl::plan(linux.sysctl().as_ref(), &namespaces)?,
            process: process::plan(process)?,
            is_filtered: linux.seccomp().is_some(),
            namespaces,
        })
    }
}

/// Refuses what would otherwise be silently weaker than asked.
fn refuse_what_is_not_done(spec: &Spec) -> Result<(), PlanError> {
    let process = spec.process().as_ref();
    let linux = spec.linux().as_ref();
    let asked = |label: Option<&String>| label.is_some_and(|label| !label.is_empty());
    let unsupported = [
        (
            "process.apparmorProfile",
            asked(process.and_then(|process| process.apparmor_profile().as_ref())),
        ),
        (
            "process.selinuxLabel",
            asked(process.and_then(|process| process.selinux_label().as_ref())),
        ),
        (
            "linux.uidMappings (a user namespace)",
            linux.is_some_and(|linux| linux.uid_mappings().iter().flatten().next().is_some()),
        ),
        (
            "hooks",
            spec.hooks()
                .as_ref()
                .is_some_and(|hooks| *hooks != Default::default()),
        ),
        (
            "linux.intelRdt",
            linux.is_some_and(|linux| linux.intel_rdt().is_some()),
        ),
        (
            "linux.personality",
            linux.is_some_and(|linux| linux.personality().is_some()),
        ),
        (
            "linux.timeOffsets",
            linux.is_some_and(|linux| linux.time_offsets().is_some()),
        ),
        (
            "linux.memoryPolicy",
            linux.is_some_and(|linux| linux.memory_policy().is_some()),
        ),
    ];
    match unsupported.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(PlanError::Unsupported((*what).to_owned())),
        None => Ok(()),
    }
}

fn hostname(
    what: &'static str,
    name: Option<&str>,
    namespaces: &NamespacePlan,
) -> Result<Option<String>, PlanError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if name.len() > 64 {
        return Err(PlanError::invalid(what, name, "longer than 64 bytes"));
    }
    if !namespaces.own_uts() {
        return Err(PlanError::invalid(
            what,
            name,
            "would change the host's, without a uts namespace",
        ));
    }
    Ok(Some(name.to_owned()))
}

fn hostname_of_domain(
    name: Option<&str>,
    namespaces: &NamespacePlan,
) -> Result<Option<String>, PlanError> {
    hostname("domainname", name, namespaces)
}

/// Checks that a path of the spec is absolute and has no zero byte.
fn absolute(what: &'static str, path: &Path) -> Result<PathBuf, PlanError> {
    use std::os::unix::ffi::OsStrExt;
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(PlanError::invalid(
            what,
            path.to_string_lossy(),
            "has a zero byte in it",
        ));
    }
    if !path.is_absolute() {
        return Err(PlanError::invalid(
            what,
            path.to_string_lossy(),
            "is not absolute",
        ));
    }
    Ok(path.to_owned())
}
