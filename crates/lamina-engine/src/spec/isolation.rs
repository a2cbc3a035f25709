//! Namespaces, masks and the system call filter.

use std::path::{Component, Path, PathBuf};

use lamina_types::ContainerId;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};

use crate::request::{IsolationRequest, NamespaceMode, NetworkMode};
use crate::spec::SpecError;

/// Returns the namespaces that are the container's own.
pub(crate) fn namespaces(isolation: &IsolationRequest) -> Vec<LinuxNamespace> {
    let own = |mode: NamespaceMode| mode == NamespaceMode::Private;
    [
        (LinuxNamespaceType::Mount, true),
        (LinuxNamespaceType::Pid, own(isolation.pid)),
        (LinuxNamespaceType::Uts, own(isolation.uts)),
        (LinuxNamespaceType::Ipc, own(isolation.ipc)),
        (LinuxNamespaceType::Cgroup, own(isolation.cgroup)),
        (
            LinuxNamespaceType::Network,
            isolation.network != NetworkMode::Host,
        ),
    ]
    .into_iter()
    .filter(|(_, own)| *own)
    .map(|(typ, _)| {
        LinuxNamespaceBuilder::default()
            .typ(typ)
            .build()
            .expect("every field has a default")
    })
    .collect()
}

/// Returns the container's cgroup: `<parent>/lamina-<id>` in every hierarchy.
pub(crate) fn cgroup(parent: &str, id: &ContainerId) -> Result<PathBuf, SpecError> {
    // A `..` would lead out of what the caller may use (CVE-2025-47291 and crun's `..`).
    let plain = Path::new(parent)
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !parent.starts_with('/') || !plain || parent.contains(char::is_control) {
        return Err(SpecError::CgroupParent(parent.chars().take(160).collect()));
    }
    Ok(Path::new(parent).join(format!("lamina-{id}")))
}

/// Returns `paths`, or none where the caller has given up this protection.
pub(crate) fn unless_open(isolation: &IsolationRequest, paths: Vec<String>) -> Vec<String> {
    if isolation.privileged || isolation.systempaths_unconfined {
        Vec::new()
    } else {
        paths
    }
}

/// The names that a hostname may have: what gethostname(2) and a hosts file can carry.
pub(crate) fn check_hostname(name: &str) -> Result<(), SpecError> {
    let allowed = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if (1..=64).contains(&name.len()) && allowed && !name.starts_with('-') {
        Ok(())
    } else {
        Err(SpecError::Hostname(name.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_parent_cannot_lead_out() {
        let id = ContainerId::from_random([7; 32]);
        let path = |parent| cgroup(parent, &id).map(|path| path.display().to_string());
        assert_eq!(path("/a/b").unwrap(), format!("/a/b/lamina-{id}"));
        for bad in ["", "a", "../..", "/../x", "/a/../../b", "/a\nb"] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hostnames_cannot_carry_a_line() {
        for good in ["a", "web-1", "a.b_c", &"x".repeat(64)] {
            assert!(check_hostname(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "a b",
            "a\n1.2.3.4 bank",
            "a\u{2028}",
            "-a",
            "ä",
            &"x".repeat(65),
        ] {
            assert!(check_hostname(bad).is_err(), "{bad:?}");
        }
    }
}
