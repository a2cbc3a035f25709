//! Which namespaces are made, which are joined, and which stay the host's.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use rustix::thread::UnshareFlags;

use super::PlanError;

/// The namespaces of a container.
#[derive(Debug)]
pub(crate) struct NamespacePlan {
    /// Those made by the clone. The cgroup namespace is not: it must be made after the process
    /// has joined its cgroups, because its root is where the process then is.
    pub(crate) create: UnshareFlags,
    /// Whether there is a cgroup namespace of its own.
    pub(crate) cgroup: bool,
    /// A pid namespace that is joined, by the parent, before the clone.
    pub(crate) join_pid: Option<PathBuf>,
    /// Those that init joins, in order.
    pub(crate) join: Vec<(LinuxNamespaceType, PathBuf)>,
}

impl Default for NamespacePlan {
    fn default() -> Self {
        Self {
            create: UnshareFlags::empty(),
            cgroup: false,
            join_pid: None,
            join: Vec::new(),
        }
    }
}

impl NamespacePlan {
    /// Returns whether the hostname is not the host's.
    pub(crate) fn own_uts(&self) -> bool {
        self.has(UnshareFlags::NEWUTS, LinuxNamespaceType::Uts)
    }

    /// Returns whether the network is not the host's.
    pub(crate) fn own_net(&self) -> bool {
        self.has(UnshareFlags::NEWNET, LinuxNamespaceType::Network)
    }

    /// Returns whether System V IPC and message queues are not the host's.
    pub(crate) fn own_ipc(&self) -> bool {
        self.has(UnshareFlags::NEWIPC, LinuxNamespaceType::Ipc)
    }

    fn has(&self, made: UnshareFlags, joined: LinuxNamespaceType) -> bool {
        self.create.contains(made) || self.join.iter().any(|(kind, _)| *kind == joined)
    }
}

/// Returns the command of unshare(1) that makes the same namespaces.
pub(crate) fn as_unshare(namespaces: UnshareFlags) -> String {
    let words = [
        (UnshareFlags::NEWNS, "--mount"),
        (UnshareFlags::NEWPID, "--pid --fork"),
        (UnshareFlags::NEWUTS, "--uts"),
        (UnshareFlags::NEWIPC, "--ipc"),
        (UnshareFlags::NEWNET, "--net"),
    ];
    let words = words.iter().filter(|(flag, _)| namespaces.contains(*flag));
    words.fold("unshare".to_owned(), |line, (_, word)| line + " " + word)
}

/// Plans the namespaces of a spec.
pub(crate) fn plan(namespaces: &[LinuxNamespace]) -> Result<NamespacePlan, PlanError> {
    let mut plan = NamespacePlan::default();
    for namespace in namespaces {
        let kind = namespace.typ();
        match namespace.path() {
            Some(path) => join(&mut plan, kind, path.clone())?,
            None => create(&mut plan, kind)?,
        }
    }
    if !plan.create.contains(UnshareFlags::NEWNS) {
        return Err(PlanError::Unsupported(
            "a container without a mount namespace of its own".to_owned(),
        ));
    }
    Ok(plan)
}

fn create(plan: &mut NamespacePlan, kind: LinuxNamespaceType) -> Result<(), PlanError> {
    plan.create |= match kind {
        LinuxNamespaceType::Mount => UnshareFlags::NEWNS,
        LinuxNamespaceType::Pid => UnshareFlags::NEWPID,
        LinuxNamespaceType::Uts => UnshareFlags::NEWUTS,
        LinuxNamespaceType::Ipc => UnshareFlags::NEWIPC,
        LinuxNamespaceType::Network => UnshareFlags::NEWNET,
        LinuxNamespaceType::Cgroup => {
            plan.cgroup = true;
            UnshareFlags::empty()
        }
        other => return Err(PlanError::Unsupported(format!("a {other} namespace"))),
    };
    Ok(())
}

fn join(
    plan: &mut NamespacePlan,
    kind: LinuxNamespaceType,
    path: PathBuf,
) -> Result<(), PlanError> {
    match kind {
        LinuxNamespaceType::Pid => plan.join_pid = Some(path),
        LinuxNamespaceType::Uts
        | LinuxNamespaceType::Ipc
        | LinuxNamespaceType::Network
        | LinuxNamespaceType::Cgroup => plan.join.push((kind, path)),
        other => {
            return Err(PlanError::Unsupported(format!(
                "joining a {other} namespace"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_default;

    #[test]
    fn a_cgroup_namespace_is_not_made_by_the_clone() {
        use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
        let plan = plan(&spec_default::namespaces(&[
            Pid, Network, Ipc, Uts, Mount, Cgroup,
        ]))
        .unwrap();
        assert!(plan.cgroup && plan.own_net() && plan.own_uts() && plan.own_ipc());
        assert!(!plan.create.contains(UnshareFlags::NEWCGROUP));
        assert_eq!(
            as_unshare(plan.create),
            "unshare --mount --pid --fork --uts --ipc --net"
        );
    }

    #[test]
    fn what_is_not_done_is_refused() {
        use LinuxNamespaceType::{Mount, Pid, User};
        assert!(plan(&spec_default::namespaces(&[Pid])).is_err());
        assert!(plan(&spec_default::namespaces(&[Mount, User])).is_err());
    }
}
