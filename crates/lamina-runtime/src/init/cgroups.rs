//! The cgroup namespace and what of the cgroups the container sees.
//!
//! On v1 the parent moves this process while it is busy with its mounts; the namespace and the
//! cgroup mounts wait for that, because their root is where the process is at that moment.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_fs::Root;
use lamina_sys::mount::{
    Attributes, NODEV, NOEXEC, NOSUID, PropagationType, RDONLY, set_attributes,
};
use lamina_types::explain::Explainer;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::{RecvFlags, recv};
use rustix::thread::UnshareFlags;

use super::Context;
use super::mounts::{attach, directory};
use super::report::{Failure, Step};
use crate::cgroup::Member;
use crate::compat::new_filesystem;
use crate::plan::mounts::MountPlan;

/// What a parent sends when the process is in its cgroups.
pub(crate) const JOINED: &[u8] = b"joined";

/// Whether this process is in its cgroups yet.
pub(super) struct Joined<'a> {
    context: &'a Context<'a>,
    done: bool,
}

impl<'a> Joined<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self {
            context,
            done: false,
        }
    }

    /// Waits for the parent, once, and makes the cgroup namespace.
    pub(super) fn wait(&mut self, explain: &mut Explainer) -> Result<(), Failure> {
        if self.done {
            return Ok(());
        }
        let by_parent = self
            .context
            .cgroup
            .is_some_and(|cgroup| !cgroup.is_unified());
        if by_parent {
            let mut word = [0_u8; 16];
            let (_, read) = rustix::io::retry_on_intr(|| {
                recv(&self.context.channel, &mut word[..], RecvFlags::empty())
            })
            .step(|| "wait for the cgroups".to_owned())?;
            if word.get(..read) != Some(JOINED) {
                return Err(Failure::invalid("the parent went away".to_owned()));
            }
        }
        self.done = true;
        if self.context.plan.namespaces.cgroup {
            explain
                .step(
                    "cgroup namespace",
                    "/proc/self/cgroup and the cgroup mounts start at the container's own",
                    || "unshare --cgroup".to_owned(),
                    || lamina_sys::namespace::unshare(UnshareFlags::NEWCGROUP),
                )
                .step(|| "make a cgroup namespace".to_owned())?;
        }
        Ok(())
    }

    /// Mounts the cgroups as Docker does: the cgroup2 hierarchy, or for v1 a tmpfs with one bind
    /// of the container's own directory per hierarchy.
    pub(super) fn mount(&self, root: &Root, plan: &MountPlan) -> Result<(), Failure> {
        let Some(cgroup) = self.context.cgroup else {
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
            self.bind(&tmpfs, member, plan)?;
        }
        let attributes = Attributes {
            set: plan.attributes & RDONLY,
            ..Attributes::default()
        };
        set_attributes(tmpfs.as_fd(), &attributes).step(|| "make the cgroups read-only".to_owned())
    }

    fn bind(&self, tmpfs: &OwnedFd, member: &Member, plan: &MountPlan) -> Result<(), Failure> {
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
}
