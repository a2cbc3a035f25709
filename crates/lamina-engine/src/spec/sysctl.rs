//! `--sysctl`: only parameters that a namespace of the container's own confines.
//!
//! A parameter that is not namespaced, or whose namespace is the host's, would change the host
//! (CVE-2022-0811), so the list is of what is allowed.

use std::collections::BTreeMap;

use lamina_runtime::spec_default::IPC_SYSCTLS;

use crate::request::{IsolationRequest, NamespaceMode, NetworkMode};
use crate::spec::SpecError;

/// What Docker sets in a network namespace of a container's own: low ports and ping need no
/// privilege there.
const NETWORK_DEFAULTS: [(&str, &str); 2] = [
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// Checks what was asked for and adds the defaults.
pub(crate) fn plan(
    asked: &BTreeMap<String, String>,
    isolation: &IsolationRequest,
) -> Result<BTreeMap<String, String>, SpecError> {
    let mut plan = BTreeMap::new();
    if isolation.network != NetworkMode::Host {
        plan.extend(NETWORK_DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    for (name, value) in asked {
        check(name, value, isolation)?;
        plan.insert(name.clone(), value.clone());
    }
    Ok(plan)
}

fn check(name: &str, value: &str, isolation: &IsolationRequest) -> Result<(), SpecError> {
    let refuse = |why| {
        Err(SpecError::Sysctl {
            name: name.chars().take(120).collect(),
            why,
        })
    };
    let word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    if !name.split('.').all(word) {
        return refuse("the name is not of the form net.core.somaxconn");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" \t-_.,:".contains(&b);
    if value.is_empty() || !value.bytes().all(plain) {
        return refuse("the value has characters that no such parameter takes");
    }
    let ipc = IPC_SYSCTLS.contains(&name) || name.starts_with("fs.mqueue.");
    if name.starts_with("net.") {
        match isolation.network {
            NetworkMode::Host => refuse("the network namespace is the host's"),
            _ => Ok(()),
        }
    } else if ipc {
        match isolation.ipc {
            NamespaceMode::Host => refuse("the IPC namespace is the host's"),
            NamespaceMode::Private => Ok(()),
        }
    } else {
        refuse("it is not confined to a container")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str, value: &str, isolation: &IsolationRequest) -> bool {
        plan(&[(name.to_owned(), value.to_owned())].into(), isolation).is_ok()
    }

    #[test]
    fn only_what_a_namespace_confines_is_allowed() {
        let own = IsolationRequest::default();
        for (name, value) in [
            ("net.core.somaxconn", "1024"),
            ("net.ipv4.ip_local_port_range", "1024 65000"),
            ("net.ipv4.conf.eth0.forwarding", "1"),
            ("kernel.shmmax", "68719476736"),
            ("kernel.sem", "250 32000 100 128"),
            ("fs.mqueue.msg_max", "20"),
        ] {
            assert!(verdict(name, value, &own), "{name}={value}");
        }
        for (name, value) in [
            ("kernel.core_pattern", "|/bin/evil"),
            ("kernel.shmmaxx", "1"),
            ("kernel.hostname", "x"),
            ("vm.swappiness", "1"),
            ("fs.file-max", "1"),
            ("fs.mqueue", "1"),
            ("net", "1"),
            ("net.", "1"),
            ("net..core", "1"),
            ("net/core/somaxconn", "1"),
            ("net.core/../../kernel.core_pattern", "1"),
            ("kernel.shm_rmid_forced", "1+kernel.core_pattern=x"),
            ("net.core.somaxconn", "1\n2"),
            ("net.core.somaxconn", "1\0"),
            ("net.core.somaxconn", ""),
            ("net.core.somaxconn ", "1"),
            ("", "1"),
        ] {
            assert!(
                !verdict(name, value, &own),
                "{name:?}={value:?} must be refused"
            );
        }
    }

    #[test]
    fn the_hosts_namespaces_stay_as_they_are() {
        let host = IsolationRequest {
            network: NetworkMode::Host,
            ipc: NamespaceMode::Host,
            ..IsolationRequest::default()
        };
        assert!(!verdict("net.core.somaxconn", "1", &host));
        assert!(!verdict("kernel.shmmax", "1", &host));
        assert!(!verdict("fs.mqueue.msg_max", "1", &host));
        assert_eq!(plan(&BTreeMap::new(), &host).unwrap(), BTreeMap::new());
    }
}
