//! An OCI `resources` section as writes to control files, for v1 and for v2.

use std::fmt::Display;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
    LinuxThrottleDevice,
};

use super::CgroupError;
use crate::spec_default::{DEVICES, device_rule};

/// One value for one control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// The controller whose hierarchy has the file on v1.
    pub(crate) controller: &'static str,
    /// The file's name.
    pub(crate) file: String,
    pub(crate) value: String,
    /// Whether a kernel without the file, or one that refuses, is put up with.
    pub(crate) optional: bool,
}

fn write(controller: &'static str, file: &str, value: impl Display) -> Write {
    Write {
        controller,
        file: file.to_owned(),
        value: format!("{value}"),
        optional: false,
    }
}

fn optional(controller: &'static str, file: &str, value: impl Display) -> Write {
    Write {
        optional: true,
        ..write(controller, file, value)
    }
}

/// Plans everything for a new v1 cgroup: devices and limits.
pub(crate) fn v1(resources: Option<&LinuxResources>) -> Result<Vec<Write>, CgroupError> {
    let mut writes: Vec<Write> = device_rules(resources).iter().map(device_v1).collect();
    if let Some(resources) = resources {
        writes.extend(limits_v1(resources)?);
    }
    Ok(writes)
}

/// Plans everything for a new v2 cgroup but its devices, which are a program.
pub(crate) fn v2(resources: Option<&LinuxResources>) -> Result<Vec<Write>, CgroupError> {
    resources.map_or_else(|| Ok(Vec::new()), limits_v2)
}

/// Returns the device rules in force: nothing first, then the spec's, then what every container
/// must be able to use. An empty list is "nothing", never "everything" (GHSA-g54h-m393-cpwq).
pub(crate) fn device_rules(resources: Option<&LinuxResources>) -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::C;
    let mut rules = vec![device_rule(false, None, None, None, "rwm")];
    let asked = resources.and_then(|resources| resources.devices().as_ref());
    // What precedes a rule about all devices has no effect.
    let asked = asked.map_or(&[][..], Vec::as_slice);
    let last_all = asked.iter().rposition(is_about_everything);
    if let Some(last_all) = last_all {
        if asked[last_all].allow() {
            return vec![asked[last_all].clone()];
        }
        rules.extend(asked[last_all + 1..].iter().cloned());
    } else {
        rules.extend(asked.iter().cloned());
    }
    let ptys = [(5, Some(2)), (136, None)];
    let defaults = DEVICES
        .iter()
        .map(|(_, major, minor)| (*major, Some(*minor)));
    for (major, minor) in defaults.chain(ptys) {
        let rule = device_rule(true, Some(C), Some(major), minor, "rwm");
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

fn is_about_everything(rule: &LinuxDeviceCgroup) -> bool {
    let kind = matches!(rule.typ(), None | Some(LinuxDeviceType::A));
    let any = |number: Option<i64>| number.is_none_or(|number| number < 0);
    let letters = rule.access().as_deref().unwrap_or("rwm");
    let all = "rwm".chars().all(|letter| letters.contains(letter));
    kind && any(rule.major()) && any(rule.minor()) && all
}

/// Returns whether a rule lifts all restrictions.
pub(crate) fn allows_everything(rule: &LinuxDeviceCgroup) -> bool {
    rule.allow() && is_about_everything(rule)
}

fn device_v1(rule: &LinuxDeviceCgroup) -> Write {
    let file = if rule.allow() {
        "devices.allow"
    } else {
        "devices.deny"
    };
    if is_about_everything(rule) {
        return write("devices", file, "a");
    }
    let number = |number: Option<i64>| match number {
        Some(number) if number >= 0 => number.to_string(),
        _ => "*".to_owned(),
    };
    let kind = match rule.typ() {
        Some(LinuxDeviceType::B) => "b",
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => "c",
        _ => "a",
    };
    let access = rule.access().as_deref().unwrap_or("rwm");
    let value = format!(
        "{kind} {}:{} {access}",
        number(rule.major()),
        number(rule.minor())
    );
    write("devices", file, value)
}

/// Plans the limits of `resources` on v1.
pub(crate) fn limits_v1(resources: &LinuxResources) -> Result<Vec<Write>, CgroupError> {
    let mut writes = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_v1(memory, &mut writes);
    }
    if let Some(cpu) = resources.cpu() {
        cpu_v1(cpu, &mut writes);
    }
    if let Some(pids) = resources.pids() {
        writes.push(write("pids", "pids.max", pids_max(pids.limit())));
    }
    if let Some(io) = resources.block_io() {
        let weight = io.weight().filter(|weight| *weight > 0);
        writes.extend(weight.map(|weight| optional("blkio", "blkio.weight", weight)));
        for (devices, file) in throttles(io, true) {
            for device in devices {
                let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
                writes.push(write("blkio", file, value));
            }
        }
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.limit_in_bytes", hugepage(limit.page_size())?);
        writes.push(write("hugetlb", &file, limit.limit()));
    }
    Ok(writes)
}

fn memory_v1(memory: &LinuxMemory, writes: &mut Vec<Write>) {
    let limit = memory.limit().filter(|limit| *limit != 0);
    let swap = memory.swap().filter(|swap| *swap != 0);
    writes.extend(limit.map(|limit| write("memory", "memory.limit_in_bytes", limit)));
    if let Some(swap) = swap {
        // A kernel without swap accounting has no such file; Docker warns and goes on.
        writes.push(optional("memory", "memory.memsw.limit_in_bytes", swap));
    }
    let soft = memory.reservation().filter(|soft| *soft != 0);
    writes.extend(soft.map(|soft| write("memory", "memory.soft_limit_in_bytes", soft)));
    let swappiness = memory.swappiness().filter(|value| *value <= 100);
    writes.extend(swappiness.map(|value| write("memory", "memory.swappiness", value)));
    if memory.disable_oom_killer() == Some(true) {
        writes.push(write("memory", "memory.oom_control", 1));
    }
}

fn cpu_v1(cpu: &LinuxCpu, writes: &mut Vec<Write>) {
    let shares = cpu.shares().filter(|shares| *shares != 0);
    writes.extend(shares.map(|shares| write("cpu", "cpu.shares", shares)));
    let period = cpu.period().filter(|period| *period != 0);
    writes.extend(period.map(|period| write("cpu", "cpu.cfs_period_us", period)));
    let quota = cpu.quota().filter(|quota| *quota != 0);
    writes.extend(quota.map(|quota| write("cpu", "cpu.cfs_quota_us", quota)));
    let cpus = cpu.cpus().as_deref().filter(|cpus| !cpus.is_empty());
    writes.extend(cpus.map(|cpus| write("cpuset", "cpuset.cpus", cpus)));
    let mems = cpu.mems().as_deref().filter(|mems| !mems.is_empty());
    writes.extend(mems.map(|mems| write("cpuset", "cpuset.mems", mems)));
}

/// Plans the limits of `resources` on v2.
pub(crate) fn limits_v2(resources: &LinuxResources) -> Result<Vec<Write>, CgroupError> {
    let mut writes = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_v2(memory, &mut writes)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_v2(cpu, &mut writes);
    }
    if let Some(pids) = resources.pids() {
        writes.push(write("pids", "pids.max", pids_max(pids.limit())));
    }
    if let Some(io) = resources.block_io() {
        let weight = io.weight().filter(|weight| *weight > 0).map(u64::from);
        // v1 weights go from 10 to 1000, v2's from 1 to 10000 (runc's conversion).
        let weight = weight.map(|weight| 1 + (weight.max(10) - 10) * 9999 / 990);
        writes.extend(weight.map(|weight| optional("io", "io.weight", weight)));
        for (devices, key) in throttles(io, false) {
            for device in devices {
                let value = format!(
                    "{}:{} {key}={}",
                    device.major(),
                    device.minor(),
                    device.rate()
                );
                writes.push(write("io", "io.max", value));
            }
        }
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.max", hugepage(limit.page_size())?);
        writes.push(write("hugetlb", &file, limit.limit()));
    }
    let unified = resources.unified().iter().flatten();
    for (file, value) in unified {
        if file.contains('/') || value.contains('\n') {
            return Err(CgroupError::Invalid(format!(
                "file {file:?} is not a control file"
            )));
        }
        writes.push(write("unified", file, value));
    }
    Ok(writes)
}

fn memory_v2(memory: &LinuxMemory, writes: &mut Vec<Write>) -> Result<(), CgroupError> {
    let limit = memory.limit().filter(|limit| *limit != 0);
    writes.extend(limit.map(|limit| write("memory", "memory.max", or_max(limit))));
    if let Some(swap) = memory.swap().filter(|swap| *swap != 0) {
        // OCI counts memory and swap together, v2 counts swap alone.
        let alone = match (swap, limit) {
            (-1, _) => "max".to_owned(),
            (swap, Some(limit)) if limit > 0 && swap >= limit => (swap - limit).to_string(),
            _ => {
                return Err(CgroupError::Invalid(format!(
                    "swap limit {swap} is below the memory limit it includes"
                )));
            }
        };
        writes.push(optional("memory", "memory.swap.max", alone));
    }
    let low = memory.reservation().filter(|low| *low != 0);
    writes.extend(low.map(|low| write("memory", "memory.low", or_max(low))));
    Ok(())
}

fn cpu_v2(cpu: &LinuxCpu, writes: &mut Vec<Write>) {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        // 2..262144 becomes 1..10000 (the conversion of kubernetes and runc).
        let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
        writes.push(write("cpu", "cpu.weight", weight));
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let quota = quota.map_or_else(|| "max".to_owned(), or_max);
        let value = format!("{quota} {}", period.unwrap_or(100_000));
        writes.push(write("cpu", "cpu.max", value));
    }
    let cpus = cpu.cpus().as_deref().filter(|cpus| !cpus.is_empty());
    writes.extend(cpus.map(|cpus| write("cpuset", "cpuset.cpus", cpus)));
    let mems = cpu.mems().as_deref().filter(|mems| !mems.is_empty());
    writes.extend(mems.map(|mems| write("cpuset", "cpuset.mems", mems)));
}

/// The four throttles of block devices, with their v1 file or their v2 key.
fn throttles(io: &LinuxBlockIo, v1: bool) -> [(&[LinuxThrottleDevice], &'static str); 4] {
    let name = |old, new| if v1 { old } else { new };
    [
        (
            io.throttle_read_bps_device().as_deref().unwrap_or_default(),
            name("blkio.throttle.read_bps_device", "rbps"),
        ),
        (
            io.throttle_write_bps_device()
                .as_deref()
                .unwrap_or_default(),
            name("blkio.throttle.write_bps_device", "wbps"),
        ),
        (
            io.throttle_read_iops_device()
                .as_deref()
                .unwrap_or_default(),
            name("blkio.throttle.read_iops_device", "riops"),
        ),
        (
            io.throttle_write_iops_device()
                .as_deref()
                .unwrap_or_default(),
            name("blkio.throttle.write_iops_device", "wiops"),
        ),
    ]
}

fn hugepage(size: &str) -> Result<&str, CgroupError> {
    let good = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if good {
        Ok(size)
    } else {
        Err(CgroupError::Invalid(format!(
            "huge page size {size:?} makes no sense"
        )))
    }
}

fn pids_max(limit: i64) -> String {
    if limit > 0 {
        limit.to_string()
    } else {
        "max".to_owned()
    }
}

fn or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> LinuxResources {
        serde_json::from_str(json).unwrap()
    }

    fn lines(writes: Vec<Write>) -> Vec<String> {
        writes
            .into_iter()
            .map(|w| format!("{}={}", w.file, w.value))
            .collect()
    }

    const LIMITS: &str = r#"{"memory":{"limit":268435456,"swap":536870912,"reservation":1000},
        "cpu":{"shares":1024,"quota":150000,"period":100000,"cpus":"0-1"},"pids":{"limit":64}}"#;

    #[test]
    fn limits_become_files() {
        assert_eq!(
            lines(limits_v1(&resources(LIMITS)).unwrap()),
            [
                "memory.limit_in_bytes=268435456",
                "memory.memsw.limit_in_bytes=536870912",
                "memory.soft_limit_in_bytes=1000",
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=150000",
                "cpuset.cpus=0-1",
                "pids.max=64",
            ]
        );
        assert_eq!(
            lines(limits_v2(&resources(LIMITS)).unwrap()),
            [
                "memory.max=268435456",
                "memory.swap.max=268435456",
                "memory.low=1000",
                "cpu.weight=39",
                "cpu.max=150000 100000",
                "cpuset.cpus=0-1",
                "pids.max=64",
            ]
        );
    }

    #[test]
    fn unlimited_and_senseless_values() {
        let swap = resources(r#"{"memory":{"limit":1000,"swap":-1},"pids":{"limit":-1}}"#);
        let v2 = lines(limits_v2(&swap).unwrap());
        assert_eq!(
            v2,
            ["memory.max=1000", "memory.swap.max=max", "pids.max=max"]
        );
        let below = resources(r#"{"memory":{"limit":1000,"swap":10}}"#);
        assert!(limits_v2(&below).is_err());
        let escape = resources(r#"{"unified":{"../x":"1"}}"#);
        assert!(limits_v2(&escape).is_err());
    }

    #[test]
    fn no_device_list_denies_all_but_the_defaults() {
        let v1 = lines(v1(None).unwrap());
        assert_eq!(v1[0], "devices.deny=a");
        assert_eq!(v1[1], "devices.allow=c 1:3 rwm");
        assert_eq!(v1.len(), 9, "{v1:?}");
        let all = resources(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
        assert_eq!(lines(super::v1(Some(&all)).unwrap()), ["devices.allow=a"]);
    }
}
