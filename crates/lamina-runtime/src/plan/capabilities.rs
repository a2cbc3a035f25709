//! Capabilities: names, numbers, and the sets a process is given.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use rustix::thread::CapabilitySet;

/// Every capability with its number (capabilities(7), include/uapi/linux/capability.h), and its
/// name without `CAP_`.
const TABLE: [(Capability, u32, &str); 41] = [
    (Capability::Chown, 0, "CHOWN"),
    (Capability::DacOverride, 1, "DAC_OVERRIDE"),
    (Capability::DacReadSearch, 2, "DAC_READ_SEARCH"),
    (Capability::Fowner, 3, "FOWNER"),
    (Capability::Fsetid, 4, "FSETID"),
    (Capability::Kill, 5, "KILL"),
    (Capability::Setgid, 6, "SETGID"),
    (Capability::Setuid, 7, "SETUID"),
    (Capability::Setpcap, 8, "SETPCAP"),
    (Capability::LinuxImmutable, 9, "LINUX_IMMUTABLE"),
    (Capability::NetBindService, 10, "NET_BIND_SERVICE"),
    (Capability::NetBroadcast, 11, "NET_BROADCAST"),
    (Capability::NetAdmin, 12, "NET_ADMIN"),
    (Capability::NetRaw, 13, "NET_RAW"),
    (Capability::IpcLock, 14, "IPC_LOCK"),
    (Capability::IpcOwner, 15, "IPC_OWNER"),
    (Capability::SysModule, 16, "SYS_MODULE"),
    (Capability::SysRawio, 17, "SYS_RAWIO"),
    (Capability::SysChroot, 18, "SYS_CHROOT"),
    (Capability::SysPtrace, 19, "SYS_PTRACE"),
    (Capability::SysPacct, 20, "SYS_PACCT"),
    (Capability::SysAdmin, 21, "SYS_ADMIN"),
    (Capability::SysBoot, 22, "SYS_BOOT"),
    (Capability::SysNice, 23, "SYS_NICE"),
    (Capability::SysResource, 24, "SYS_RESOURCE"),
    (Capability::SysTime, 25, "SYS_TIME"),
    (Capability::SysTtyConfig, 26, "SYS_TTY_CONFIG"),
    (Capability::Mknod, 27, "MKNOD"),
    (Capability::Lease, 28, "LEASE"),
    (Capability::AuditWrite, 29, "AUDIT_WRITE"),
    (Capability::AuditControl, 30, "AUDIT_CONTROL"),
    (Capability::Setfcap, 31, "SETFCAP"),
    (Capability::MacOverride, 32, "MAC_OVERRIDE"),
    (Capability::MacAdmin, 33, "MAC_ADMIN"),
    (Capability::Syslog, 34, "SYSLOG"),
    (Capability::WakeAlarm, 35, "WAKE_ALARM"),
    (Capability::BlockSuspend, 36, "BLOCK_SUSPEND"),
    (Capability::AuditRead, 37, "AUDIT_READ"),
    (Capability::Perfmon, 38, "PERFMON"),
    (Capability::Bpf, 39, "BPF"),
    (Capability::CheckpointRestore, 40, "CHECKPOINT_RESTORE"),
];

/// Returns the capability called `name`, in any case, with or without `CAP_`.
pub fn parse(name: &str) -> Option<Capability> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    TABLE
        .iter()
        .find(|(_, _, known)| *known == name)
        .map(|(capability, _, _)| *capability)
}

/// Returns the kernel's number of a capability.
pub(crate) fn number(capability: Capability) -> u32 {
    TABLE
        .iter()
        .find(|(known, _, _)| *known == capability)
        .map_or(0, |(_, number, _)| *number)
}

/// Returns every capability this process holds, which is the most it can give.
pub fn held() -> Capabilities {
    let permitted = rustix::thread::capabilities(None)
        .map_or(CapabilitySet::empty(), |sets| sets.permitted)
        .bits();
    TABLE
        .iter()
        .filter(|(_, number, _)| permitted & (1 << number) != 0)
        .map(|(capability, _, _)| *capability)
        .collect()
}

/// The five sets as bits, as the kernel takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CapabilityPlan {
    /// What no exec in the container can go beyond.
    pub bounding: u64,
    /// What is in force.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What a file with inheritable capabilities may take over; empty but for the ambient ones,
    /// which the kernel wants in it (CVE-2022-24769).
    pub inheritable: u64,
    /// What survives an exec by a user other than root.
    pub ambient: u64,
}

/// Plans the sets of a process; no `capabilities` at all means none, as in the OCI spec.
pub(crate) fn plan(spec: Option<&LinuxCapabilities>) -> CapabilityPlan {
    let Some(spec) = spec else {
        return CapabilityPlan::default();
    };
    let ambient = bits(spec.ambient().as_ref());
    let permitted = bits(spec.permitted().as_ref());
    CapabilityPlan {
        bounding: bits(spec.bounding().as_ref()),
        effective: bits(spec.effective().as_ref()) & permitted,
        permitted,
        inheritable: bits(spec.inheritable().as_ref()) | (ambient & permitted),
        ambient: ambient & permitted,
    }
}

fn bits(set: Option<&Capabilities>) -> u64 {
    set.into_iter()
        .flatten()
        .fold(0, |bits, capability| bits | 1 << number(*capability))
}

/// Returns the names in a set of bits, for people: `CAP_CHOWN,CAP_KILL`.
pub(crate) fn names(bits: u64) -> String {
    let names: Vec<&str> = TABLE
        .iter()
        .filter(|(_, number, _)| bits & (1 << number) != 0)
        .map(|(_, _, name)| *name)
        .collect();
    names.join(",").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_kernels_order() {
        for (index, (capability, number, name)) in TABLE.iter().enumerate() {
            assert_eq!(usize::try_from(*number).unwrap(), index);
            assert_eq!(capability.to_string(), *name);
        }
    }

    #[test]
    fn names_are_read_as_docker_reads_them() {
        for (name, expected) in [
            ("NET_ADMIN", Some(Capability::NetAdmin)),
            ("CAP_NET_ADMIN", Some(Capability::NetAdmin)),
            ("cap_net_admin", Some(Capability::NetAdmin)),
            ("net_admin", Some(Capability::NetAdmin)),
            ("NET ADMIN", None),
            ("", None),
            ("CAP_", None),
        ] {
            assert_eq!(parse(name), expected, "{name:?}");
        }
    }

    #[test]
    fn ambient_capabilities_are_inheritable_and_never_beyond_permitted() {
        let mut spec = LinuxCapabilities::default();
        spec.set_bounding(Some([Capability::Chown, Capability::Kill].into()));
        spec.set_effective(Some([Capability::Chown, Capability::SysAdmin].into()));
        spec.set_permitted(Some([Capability::Chown].into()));
        spec.set_inheritable(None);
        spec.set_ambient(Some([Capability::Chown, Capability::SysAdmin].into()));
        let expected = CapabilityPlan {
            bounding: 0b10_0001,
            effective: 1,
            permitted: 1,
            inheritable: 1,
            ambient: 1,
        };
        assert_eq!(plan(Some(&spec)), expected);
        assert_eq!(plan(None), CapabilityPlan::default());
    }
}
