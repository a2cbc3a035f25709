//! Kernel parameters: only those that belong to a namespace of the container.

use std::collections::HashMap;

use super::PlanError;
use super::namespaces::NamespacePlan;
use crate::spec_default::IPC_SYSCTLS;

/// One parameter to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// Its file below `/proc/sys`, relative: `net/ipv4/ip_forward`.
    pub(crate) file: String,
    pub(crate) value: String,
}

/// Plans the parameters, refusing those of the host (CVE-2022-0811).
pub(crate) fn plan(
    sysctls: Option<&HashMap<String, String>>,
    namespaces: &NamespacePlan,
) -> Result<Vec<Sysctl>, PlanError> {
    let mut plan = Vec::new();
    for (name, value) in sysctls.into_iter().flatten() {
        plan.push(one(name, value, namespaces)?);
    }
    // A map has no order; the plan has, so that a run can be compared with another.
    plan.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(plan)
}

fn one(name: &str, value: &str, namespaces: &NamespacePlan) -> Result<Sysctl, PlanError> {
    let refuse = |why| Err(PlanError::invalid("sysctl", name, why));
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-');
    if name.is_empty() || !name.chars().all(good) {
        return refuse("is not a name of letters, digits, dots and dashes");
    }
    if value.contains(['\0', '\n']) {
        return refuse("has a value of more than one line");
    }
    // Whichever separator comes first is the separator; the other is part of a name, such as the
    // dot of an interface (sysctl.d(5)).
    let slashed = name
        .find(['.', '/'])
        .is_some_and(|at| name.as_bytes()[at] == b'/');
    let file: String = if slashed {
        name.to_owned()
    } else {
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        name.chars().map(swap).collect()
    };
    if file.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refuse("has an empty part");
    }
    let dotted = file.replace('/', ".");
    if file.starts_with("net/") {
        if !namespaces.own_net() {
            return refuse("would change the host's network");
        }
    } else if IPC_SYSCTLS.contains(&dotted.as_str()) || file.starts_with("fs/mqueue/") {
        if !namespaces.own_ipc() {
            return refuse("would change the host's ipc");
        }
    } else if matches!(dotted.as_str(), "kernel.domainname" | "kernel.hostname") {
        return refuse("is set by its own option");
    } else {
        return refuse("is not in a namespace: it would change the host");
    }
    Ok(Sysctl {
        file,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use rustix::thread::UnshareFlags;

    use super::*;

    #[test]
    fn only_the_containers_own_parameters_are_written() {
        let own = NamespacePlan {
            create: UnshareFlags::NEWNET | UnshareFlags::NEWIPC,
            ..NamespacePlan::default()
        };
        let host = NamespacePlan::default();
        for (name, value, with_own, with_host) in [
            (
                "net.ipv4.ip_forward",
                "1",
                Some("net/ipv4/ip_forward"),
                None::<&str>,
            ),
            (
                "net/ipv4/conf/eth0.1/forwarding",
                "1",
                Some("net/ipv4/conf/eth0.1/forwarding"),
                None,
            ),
            ("kernel.shmmax", "1", Some("kernel/shmmax"), None),
            ("fs.mqueue.msg_max", "1", Some("fs/mqueue/msg_max"), None),
            ("kernel.core_pattern", "|/x", None, None),
            (
                "kernel.shm_rmid_forced+kernel.core_pattern",
                "1",
                None,
                None,
            ),
            ("net..ipv4", "1", None, None),
            ("net/../kernel/core_pattern", "1", None, None),
            ("net.ipv4.x\n", "1", None, None),
            ("net.ipv4.x", "1\nkernel.core_pattern=1", None, None),
            ("", "1", None, None),
            ("vm.overcommit_memory", "1", None, None),
        ] {
            let file = |plan: Result<Sysctl, _>| plan.ok().map(|sysctl: Sysctl| sysctl.file);
            assert_eq!(
                file(one(name, value, &own)).as_deref(),
                with_own,
                "{name:?}"
            );
            assert_eq!(
                file(one(name, value, &host)).as_deref(),
                with_host,
                "{name:?} on the host"
            );
        }
    }
}
