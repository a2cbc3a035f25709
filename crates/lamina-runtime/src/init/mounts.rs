//! The mounts of the spec, each attached by descriptor.
//!
//! A target is resolved once, inside the container's root, and the mount is attached to the
//! descriptor that came out; nobody can swap a component in between (CVE-2021-30465). Missing
//! mount points are made by the same walk, so never outside (CVE-2024-45310).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_fs::Root;
use lamina_types::explain::Explainer;
use rustix::fs::{FileType, OFlags, fstat, fstatfs};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use super::report::{Failure, Step};
use super::{cgroups, trees};
use crate::cgroup::Cgroup;
use crate::compat::new_filesystem;
use crate::plan::mounts::{MountPlan, What, hides_proc};

/// The type statfs gives for procfs (include/uapi/linux/magic.h).
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Mounts that later steps work with.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    /// Where a terminal is taken from.
    pub(super) devpts: Option<OwnedFd>,
    /// Where kernel parameters are written.
    pub(super) proc: Option<OwnedFd>,
}

/// Mounts everything in order.
pub(super) fn all(
    plans: &[MountPlan],
    root: &Root,
    cgroup: Option<&Cgroup>,
    sources: Vec<Option<OwnedFd>>,
    bundle: &Path,
    explain: &mut Explainer,
) -> Result<Mounted, Failure> {
    let mut all = Mounted::default();
    for (plan, source) in plans.iter().zip(sources) {
        let mounted = explain.step(
            name(plan),
            why(plan),
            || command(cgroup, plan),
            || match &plan.what {
                What::Tree {
                    source: name,
                    tree,
                    beneath,
                } => {
                    let tree = trees::mount(plan, (name, tree), beneath.as_deref(), bundle)?;
                    one(cgroup, root, plan, Some(tree))
                }
                _ => one(cgroup, root, plan, source),
            },
        )?;
        if let What::Filesystem { kind, .. } = &plan.what {
            match kind.as_str() {
                "devpts" => all.devpts = mounted,
                "proc" => all.proc = mounted,
                _ => {}
            }
        }
    }
    Ok(all)
}

fn one(
    cgroup: Option<&Cgroup>,
    root: &Root,
    plan: &MountPlan,
    source: Option<OwnedFd>,
) -> Result<Option<OwnedFd>, Failure> {
    match (&plan.what, source) {
        (What::Cgroup, _) => cgroups::mount(cgroup, root, plan).map(|()| None),
        (
            What::Filesystem {
                kind,
                source,
                parameters,
            },
            _,
        ) => {
            let mut all = vec![("source", Some(source.as_str()))];
            all.extend(
                parameters
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_deref())),
            );
            let mount = new_filesystem(kind, &all, plan.attributes | plan.recursive)
                .map_err(|failure| at(failure, plan))?;
            let target = directory(root, plan)?;
            attach(&mount, &target, &plan.target)?;
            Ok(Some(mount))
        }
        (What::Bind { .. } | What::Tree { .. }, Some(tree)) => {
            let stat = fstat(&tree).step(|| format!("look at {}", plan.command()))?;
            let target = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                directory(root, plan)?
            } else {
                let target = root.ensure_file(&plan.target).step(|| make(plan))?;
                refuse_inside_proc(&target, plan)?;
                target
            };
            attach(&tree, &target, &plan.target)?;
            Ok(None)
        }
        (What::Bind { .. } | What::Tree { .. }, None) => Err(Failure::invalid(format!(
            "no source for {}",
            plan.command()
        ))),
    }
}

/// Names the target in a failure of the filesystem itself.
fn at(mut failure: Failure, plan: &MountPlan) -> Failure {
    failure.message = format!("{} (on {})", failure.message, plan.target.display());
    failure
}

fn make(plan: &MountPlan) -> String {
    format!("make the mount point {}", plan.target.display())
}

/// Opens the directory a mount goes on, making it where it is missing.
///
/// /proc and /sys must be ordinary directories of the root filesystem: through a link the real
/// ones would be missing where everybody looks (CVE-2019-19921, CVE-2023-27561).
pub(super) fn directory(root: &Root, plan: &MountPlan) -> Result<OwnedFd, Failure> {
    let kernel = plan.target == Path::new("/proc") || plan.target == Path::new("/sys");
    if kernel {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY;
        match root.open(&plan.target, flags) {
            Ok(target) => return Ok(target),
            Err(error) if Errno::from_io_error(&error.source) == Some(Errno::NOENT) => {}
            Err(_) => {
                let target = plan.target.display();
                let message = format!("{target} must be mounted on an ordinary directory");
                return Err(Failure::invalid(message));
            }
        }
    }
    let target = root
        .create_dir_all(&plan.target, 0o755, None)
        .step(|| make(plan))?;
    if !kernel {
        refuse_inside_proc(&target, plan)?;
    }
    Ok(target)
}

/// A link in the image may lead a harmless-looking target into procfs.
fn refuse_inside_proc(target: &OwnedFd, plan: &MountPlan) -> Result<(), Failure> {
    let stat = fstatfs(target).step(|| format!("look at {}", plan.target.display()))?;
    let allowed = plan.target.starts_with("/proc") && !hides_proc(&plan.target);
    if stat.f_type == PROC_SUPER_MAGIC && !allowed {
        let target = plan.target.display();
        return Err(Failure::invalid(format!(
            "mount target {target} leads into /proc"
        )));
    }
    Ok(())
}

/// Attaches a detached mount to what `target` names, whatever its path has become meanwhile.
pub(super) fn attach(mount: &impl AsFd, target: &OwnedFd, path: &Path) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount.as_fd(), "", target, "", flags).step(|| format!("mount on {}", path.display()))
}

fn name(plan: &MountPlan) -> &'static str {
    match &plan.what {
        What::Bind { .. } => "bind mount",
        What::Tree { .. } => "mount image",
        What::Cgroup => "cgroup mount",
        What::Filesystem { kind, .. } => match kind.as_str() {
            "proc" => "mount proc",
            "tmpfs" => "mount tmpfs",
            "devpts" => "mount devpts",
            "mqueue" => "mount mqueue",
            "sysfs" => "mount sysfs",
            _ => "mount",
        },
    }
}

fn command(cgroup: Option<&Cgroup>, plan: &MountPlan) -> String {
    match plan.what {
        What::Cgroup => cgroups::command(cgroup, plan),
        _ => plan.command(),
    }
}

fn why(plan: &MountPlan) -> &'static str {
    match &plan.what {
        What::Bind { .. } => {
            "a file or directory of the host: a volume, or one of the generated files in /etc"
        }
        What::Tree { .. } => "the tree of another image, which cannot be written to",
        What::Cgroup => "the container sees its own limits, read-only",
        What::Filesystem { kind, .. } => match kind.as_str() {
            "proc" => "a view of this pid namespace: ps shows the container alone",
            "tmpfs" => "empty, in memory, gone with the container",
            "devpts" => "terminals of its own, not the host's",
            "mqueue" => "POSIX message queues of this ipc namespace",
            "sysfs" => "the kernel's devices and this network namespace's interfaces",
            _ => "as asked",
        },
    }
}
