//! What a container gets when nobody asks for anything else: Docker's defaults.
//!
//! Plain values for whoever builds an OCI spec. Nothing here is applied by itself: the runtime
//! applies what the spec says and nothing more, except the device nodes and links every container
//! has ([`DEVICES`], [`DEVICE_LINKS`], as the OCI spec demands).

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxCapabilities, LinuxDeviceCgroup, LinuxDeviceType,
    LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, Mount,
};

use crate::seccomp::profile;

pub use crate::plan::capabilities::{held as held_capabilities, parse as parse_capability};
pub use crate::seccomp::profile::{ProfileError, from_docker_json as seccomp_from_json};

/// Docker's fourteen capabilities; the bounding set reads `a80425fb`.
pub const CAPABILITIES: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Paths that are hidden behind an empty file or directory.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that cannot be written.
pub const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Device nodes every container has, with major and minor number; all are mode 0666.
pub const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Symbolic links every container has in /dev: name and target.
pub const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Kernel parameters that an ipc namespace confines (namespaces(7)), besides `fs.mqueue.`.
pub const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Begins the option of a bind that mounts a part of its source: `x-lamina.beneath=PATH`. No link
/// in the source leads out of it.
pub const BENEATH: &str = "x-lamina.beneath=";

/// The type of a mount that is a root filesystem's tree: the source is what people call it, and
/// an option that begins with [`TREE`] has the [`Rootfs`](lamina_types::Rootfs) as JSON.
pub const IMAGE: &str = "x-lamina.image";

/// Begins the option that says what of a mount of type [`IMAGE`] is mounted.
pub const TREE: &str = "x-lamina.tree=";

/// The size of /dev/shm: 64 MiB.
pub const SHM_SIZE: u64 = 64 << 20;

/// Returns [`MASKED_PATHS`] and the thermal throttle counters of `cpus` processors, which tell a
/// container about its neighbours (GHSA-6fw5-f8r9-fgfm).
pub fn masked_paths(cpus: usize) -> Vec<String> {
    let throttle =
        (0..cpus).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    MASKED_PATHS
        .iter()
        .map(|path| (*path).to_owned())
        .chain(throttle)
        .collect()
}

/// Returns [`READONLY_PATHS`] as a spec holds them.
pub fn readonly_paths() -> Vec<String> {
    READONLY_PATHS
        .iter()
        .map(|path| (*path).to_owned())
        .collect()
}

/// Returns the five sets for a process that may use `set`: nothing inheritable, nothing ambient.
pub fn process_capabilities(set: &Capabilities) -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(set.clone()));
    sets.set_effective(Some(set.clone()));
    sets.set_permitted(Some(set.clone()));
    sets.set_inheritable(None);
    sets.set_ambient(None);
    sets
}

/// Returns the mounts of /proc, /dev and what belongs in it, /sys and the cgroups, in Docker's
/// order. `shm_size` is in bytes.
pub fn mounts(shm_size: u64) -> Vec<Mount> {
    let shm = format!("size={shm_size}");
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", "ro"],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "ro"],
        ),
    ]
}

/// Returns one mount of a spec.
pub fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(
            options.iter().map(|option| (*option).to_owned()).collect(),
        ));
    mount
}

/// Returns Docker's device rules: everything denied, then what is harmless allowed. Making any
/// node is allowed (`m`), opening it is not.
pub fn device_rules() -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::{B, C};
    let mut rules = vec![device_rule(false, None, None, None, "rwm")];
    rules.push(device_rule(true, Some(C), None, None, "m"));
    rules.push(device_rule(true, Some(B), None, None, "m"));
    for (_, major, minor) in DEVICES {
        rules.push(device_rule(true, Some(C), Some(major), Some(minor), "rwm"));
    }
    // The console, the pty multiplexer, and all ptys.
    rules.push(device_rule(true, Some(C), Some(5), Some(1), "rwm"));
    rules.push(device_rule(true, Some(C), Some(5), Some(2), "rwm"));
    rules.push(device_rule(true, Some(C), Some(136), None, "rwm"));
    rules
}

/// Returns one device rule; `None` for a number is "any".
pub fn device_rule(
    allow: bool,
    kind: Option<LinuxDeviceType>,
    major: Option<u32>,
    minor: Option<u32>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow)
        .set_typ(kind)
        .set_major(major.map(i64::from))
        .set_minor(minor.map(i64::from))
        .set_access(Some(access.to_owned()));
    rule
}

/// Returns new namespaces of the given kinds.
pub fn namespaces(kinds: &[LinuxNamespaceType]) -> Vec<LinuxNamespace> {
    kinds
        .iter()
        .map(|kind| {
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(*kind).set_path(None);
            namespace
        })
        .collect()
}

/// Returns Docker's default system call filter for a process with `capabilities` in its bounding
/// set, for this machine's processor and its 32-bit forms.
pub fn seccomp(capabilities: &Capabilities) -> LinuxSeccomp {
    profile::default_profile(capabilities)
}

/// Returns the architectures a filter covers on this machine, the native one first.
pub fn architectures() -> Vec<Arch> {
    profile::native_architectures()
}
