//! A further process in a container that runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_sys::clone::{CloneRequest, Cloned, clone3};
use lamina_types::explain::Explainer;
use oci_spec::runtime::{LinuxSeccomp, Spec};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::Pid;
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};
use serde_json::value::RawValue;

use crate::begun::Begun;
use crate::cgroup::hierarchy::{Hierarchies, Version};
use crate::cgroup::{Cgroup, CgroupPlan};
use crate::channel;
use crate::create::{CreateError, Filter, Stdio, failed};
use crate::init::joined::{self, Joining};
use crate::init::orders::{Order, Outfit};
use crate::plan::{PlanError, process};

/// What [`join`] makes a process from.
#[derive(Debug)]
pub struct JoinRequest<'a> {
    /// A spec as for a container, of which only the process, `linux.seccomp` and
    /// `linux.cgroupsPath`, the container's, count.
    pub spec: &'a Spec,
    /// Its `linux.seccomp`, if that was left out of the spec.
    pub filter: Option<&'a RawValue>,
    /// The container's init.
    pub init: Pid,
    /// A pidfd of it.
    pub container: BorrowedFd<'a>,
    /// The standard streams.
    pub stdio: Stdio,
    /// Where the caller's own steps are told.
    pub explain: &'a mut Explainer,
    /// The pipe the process writes its step records to, as JSON lines.
    pub explain_pipe: Option<BorrowedFd<'a>>,
}

/// Clones a process into the namespaces and cgroups of a container, with everything but the
/// program, which [`Begun::start`] lets it execute. It is not of the container's cgroups' making:
/// [`Created::cgroup`](crate::Created::cgroup) will be `None`.
///
/// The caller must have one thread and is the parent of the process: it reaps it. On failure
/// nothing is left.
pub fn join(request: JoinRequest<'_>) -> Result<Begun, CreateError> {
    let JoinRequest { spec, explain, .. } = request;
    let wanted = spec.process().as_ref();
    let process = process::plan(wanted.ok_or(PlanError::Missing("process"))?)?;
    if process.terminal != matches!(request.stdio, Stdio::Terminal) {
        return Err(CreateError::Terminal);
    }
    let linux = spec.linux().as_ref();
    let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let cgroup = cgroup(path.ok_or(PlanError::Missing("linux.cgroupsPath"))?)?;
    let seccomp: Option<&LinuxSeccomp> = linux.and_then(|linux| linux.seccomp().as_ref());
    let filter = Filter {
        spec: seccomp,
        text: request.filter,
    };
    let (ours, theirs) = channel::pair().map_err(failed("make the channel to the process"))?;
    let joining = Joining {
        process: &process,
        is_filtered: filter.is_some(),
        container: request.container,
        channel: theirs,
    };
    let directory = match &cgroup {
        Some(cgroup) if cgroup.is_unified() => Some(directory_of(cgroup, request.init)?),
        _ => None,
    };
    let cloned = explain.step(
        "clone",
        "a process in the container's pid namespace",
        || format!("nsenter --target {} --pid", request.init),
        || clone_beside(request.container, directory.as_ref()),
    )?;
    let begun = match cloned {
        Cloned::Child => joined::main(&joining, request.explain_pipe),
        Cloned::Parent { pid, pidfd } => Begun {
            pid,
            pidfd,
            channel: ours,
            cgroup: None,
        },
    };
    drop(joining);
    let outfit = Outfit {
        streams: request.stdio.into_descriptors(),
        fifo: None,
        reaper: false,
    };
    let supplied = begun
        .order(&Order::Join(cgroup))
        .and_then(|()| filter.supply(&begun, explain))
        .and_then(|()| begun.order(&Order::Outfit(outfit)));
    match supplied {
        Ok(()) => Ok(begun),
        Err(error) => {
            begun.abandon();
            Err(error)
        }
    }
}

/// Returns the cgroup of a container; `None` where this machine has none mounted.
fn cgroup(path: &Path) -> Result<Option<Cgroup>, CreateError> {
    let hierarchies = Hierarchies::discover()?;
    Ok(match hierarchies.version {
        Version::None => None,
        _ => Some(CgroupPlan::new(&hierarchies, path, None)?.cgroup),
    })
}

/// Opens the cgroup that init is in: its container may have made cgroups below its own, which then
/// takes no processes (cgroups(7), "no internal processes").
fn directory_of(cgroup: &Cgroup, init: Pid) -> Result<OwnedFd, CreateError> {
    let own = std::fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    let below = path.and_then(|path| Path::new(path).strip_prefix(cgroup.path()).ok());
    Ok(cgroup.directory_below(below.map_or_else(PathBuf::new, Path::to_owned))?)
}

/// Clones into the pid namespace of the container: only children are born into it, so the caller
/// enters it for its child's sake and goes back.
fn clone_beside(
    container: BorrowedFd<'_>,
    directory: Option<&OwnedFd>,
) -> Result<Cloned, CreateError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = openat(CWD, c"/proc/self/ns/pid", flags, Mode::empty())
        .map_err(failed("open /proc/self/ns/pid"))?;
    move_into_thread_name_spaces(container, ThreadNameSpaceType::PROCESS_ID)
        .map_err(failed("enter the container's pid namespace"))?;
    let cloned = clone3(&CloneRequest {
        namespaces: 0,
        cgroup: directory.map(AsFd::as_fd),
        sibling: false,
    })
    .map_err(failed("clone a process into the container"));
    if !matches!(cloned, Ok(Cloned::Child)) {
        move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))
            .map_err(failed("return to the pid namespace"))?;
    }
    cloned
}
