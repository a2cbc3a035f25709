//! The cgroup namespace and what of the cgroups the container sees.
//!
//! The parent makes them while init builds its root; joining comes before anything is mounted or
//! written that a limit is about.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_fs::Root;
use lamina_sys::mount::{
    Attributes, NODEV, NOEXEC, NOSUID, PropagationType, RDONLY, set_attributes,
};
use lamina_types::explain::Explainer;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::UnshareFlags;

use super::mounts::{attach, directory};
use super::report::{Failure, Step};
use super::{Context, waiting};
use crate::cgroup::{Cgroup, CgroupError, Member};
use crate::compat::new_filesystem;
use crate::plan::mounts::MountPlan;

/// Joins the container's cgroups, and makes the cgroup namespace, whose root is where the process
/// is at that moment. On v2 it was born where it belongs.
pub(super) fn join(
    context: &Context<'_>,
    explain: &mut Explainer,
) -> Result<Option<Cgroup>, Failure> {
    let cgroup = enter(&context.channel, explain)?;
    if !context.plan.namespaces.cgroup {
        return Ok(cgroup);
    }
    explain
        .step(
            "cgroup namespace",
            "/proc/self/cgroup and the cgroup mounts start at the container's own",
            || "unshare --cgroup".to_owned(),
            || lamina_sys::namespace::unshare(UnshareFlags::NEWCGROUP),
        )
        .step(|| "make a cgroup namespace".to_owned())?;
    Ok(cgroup)
}

/// Joins the container's cgroups, once they are there.
pub(super) fn enter(channel: &OwnedFd, explain: &mut Explainer) -> Result<Option<Cgroup>, Failure> {
    let cgroup = waiting::for_cgroups(channel);
    if let Some(cgroup) = cgroup.as_ref().filter(|cgroup| !cgroup.is_unified()) {
        explain
            .step(
                "join cgroups",
                "from here on every process of the container is counted and limited",
                || format!("echo 0 | tee {}", cgroup.files("tasks")),
                || cgroup.join_self(),
            )
            .map_err(|error| refused(&error))?;
    }
    Ok(cgroup)
}

fn refused(error: &CgroupError) -> Failure {
    let errno = match error {
        CgroupError::Limit { source, .. } | CgroupError::Io { source, .. } => {
            Errno::from_io_error(source)
        }
        _ => None,
    };
    Failure::new(&error.to_string(), errno.unwrap_or(Errno::IO))
}

/// Returns the commands that [`mount`] stands for.
pub(super) fn command(cgroup: Option<&Cgroup>, plan: &MountPlan) -> String {
    let target = plan.target.display();
    match cgroup {
        None => String::new(),
        Some(cgroup) if cgroup.is_unified() => plan.command(),
        Some(cgroup) => {
            let mut command = format!("mount -t tmpfs -o mode=755 tmpfs {target}");
            for member in cgroup.members() {
                let (dir, name) = (member.dir.display(), &member.name);
                command.push_str(&format!("; mount --bind {dir} {target}/{name}"));
            }
            command
        }
    }
}

/// Mounts the cgroups as Docker does: the cgroup2 hierarchy, or for v1 a tmpfs with one bind
/// of the container's own directory per hierarchy.
pub(super) fn mount(cgroup: Option<&Cgroup>, root: &Root, plan: &MountPlan) -> Result<(), Failure> {
    let Some(cgroup) = cgroup else {
        return Ok(());
    };
    let target = directory(root, plan)?;
    if cgroup.is_unified() {
        let mount = new_filesystem("cgroup2", &[("source", Some("cgroup"))], plan.attributes)?;
        return attach(&mount, &target, &plan.target);
    }
    let parameters = [("source", Some("tmpfs")), ("mode", Some("755"))];
    let tmpfs = new_filesystem("tmpfs", &parameters, NOSUID | NOEXEC | NODEV)?;
    attach(&tmpfs, &target, &plan.target)?;
    for member in cgroup.members() {
        bind(&tmpfs, member, plan)?;
    }
    let attributes = Attributes {
        set: plan.attributes & RDONLY,
        ..Attributes::default()
    };
    set_attributes(tmpfs.as_fd(), &attributes).step(|| "make the cgroups read-only".to_owned())
}

fn bind(tmpfs: &OwnedFd, member: &Member, plan: &MountPlan) -> Result<(), Failure> {
    let act = || format!("show the cgroup {}", member.dir.display());
    let name = member.name.as_str();
    mkdirat(tmpfs, name, Mode::from_raw_mode(0o755)).step(act)?;
    // Programs look for /sys/fs/cgroup/cpu also where it is mounted with cpuacct.
    for controller in member
        .controllers
        .iter()
        .filter(|controller| *controller != name)
    {
        symlinkat(name, tmpfs, controller.as_str()).step(act)?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, &member.dir, flags).step(act)?;
    let attributes = Attributes {
        set: plan.attributes | NOSUID | NOEXEC | NODEV,
        propagation: Some(PropagationType::Private),
        ..Attributes::default()
    };
    set_attributes(tree.as_fd(), &attributes).step(act)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = openat(tmpfs, name, flags, Mode::empty()).step(act)?;
    attach(&tree, &target, Path::new(name))
}
