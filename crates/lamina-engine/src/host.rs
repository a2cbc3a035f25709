//! Facts about the host that a start needs, each with one or two system calls.

use std::collections::HashSet;
use std::path::Path;

use lamina_runtime::spec_default;
use oci_spec::runtime::Capability;

use crate::request::IsolationRequest;

/// statfs(2): what selinuxfs is.
const SELINUX_MAGIC: u64 = 0xf97c_ff8c;

/// Returns the capabilities that this process can give on; asked for only where `ALL` or a
/// privileged container makes them count.
pub(crate) fn capabilities(isolation: &IsolationRequest) -> HashSet<Capability> {
    let all = isolation
        .cap_add
        .iter()
        .any(|name| name.eq_ignore_ascii_case("ALL"));
    if isolation.privileged || all {
        spec_default::held_capabilities()
    } else {
        HashSet::new()
    }
}

/// Returns how many processors this process may run on.
pub(crate) fn cpus() -> usize {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}

/// Returns whether SELinux is enabled: its filesystem is mounted where libselinux expects it.
pub(crate) fn selinux_enabled() -> bool {
    rustix::fs::statfs(Path::new("/sys/fs/selinux"))
        .is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| kind == SELINUX_MAGIC))
}
