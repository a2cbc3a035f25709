//! Mounts: the options of a spec become attributes, propagation and filesystem parameters.

use std::path::{Component, Path, PathBuf};

use lamina_sys::mount::{self as attr, PropagationType};
use lamina_types::Rootfs;
use oci_spec::runtime::Mount;

use super::{PlanError, absolute};
use crate::spec_default;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPlan {
    /// Where, absolute in the container.
    pub(crate) target: PathBuf,
    pub(crate) what: What,
    /// `MOUNT_ATTR_*` bits of this mount.
    pub(crate) attributes: u64,
    /// Bits a bind clears that its source may have (`rw`, `exec`, `dev`, `suid`).
    pub(crate) clear: u64,
    /// Bits of this mount and all mounts below it (`rro`, `rnosuid`, …; Linux 5.12).
    pub(crate) recursive: u64,
    /// How mount events travel; `true` for the mounts below as well.
    pub(crate) propagation: Option<(PropagationType, bool)>,
    /// The options as the spec has them, for people.
    pub(crate) options: String,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A new instance of a filesystem.
    Filesystem {
        kind: String,
        source: String,
        /// Parameters with and without a value.
        parameters: Vec<(String, Option<String>)>,
    },
    /// A file or directory of the host.
    Bind {
        source: PathBuf,
        /// The part of it that is mounted, resolved as after a chroot to it.
        beneath: Option<PathBuf>,
        /// Whether the mounts below the source come too.
        recursive: bool,
    },
    /// The tree of an image.
    Tree {
        /// What people call it.
        source: String,
        tree: Rootfs,
        /// The part of it that is mounted, resolved as after a chroot to it.
        beneath: Option<PathBuf>,
    },
    /// The container's cgroups: a cgroup2 mount, or one bind per v1 hierarchy below a tmpfs.
    Cgroup,
}

impl MountPlan {
    /// Returns mount(8)'s command line for it.
    pub(crate) fn command(&self) -> String {
        let target = self.target.display();
        match &self.what {
            What::Filesystem { kind, source, .. } => {
                format!("mount -t {kind} -o {} {source} {target}", self.options)
            }
            What::Bind { source, .. } => {
                format!("mount -o {} {} {target}", self.options, source.display())
            }
            What::Tree { source, .. } => {
                format!("mount -o {} {source} {target}", self.options)
            }
            What::Cgroup => format!("mount -t cgroup2 -o {} cgroup {target}", self.options),
        }
    }
}

/// Plans the mounts of a spec, in its order.
pub(crate) fn plan(mounts: &[Mount]) -> Result<Vec<MountPlan>, PlanError> {
    mounts.iter().map(one).collect()
}

/// Targets below /proc that may be mounted over: files that tell about the host and that lxcfs
/// and the like replace (runc's list).
const PROC_EXCEPTIONS: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Returns whether a mount at `target` would hide or fake a part of /proc (CVE-2019-16884).
pub(crate) fn hides_proc(target: &Path) -> bool {
    target.starts_with("/proc")
        && target != Path::new("/proc")
        && !PROC_EXCEPTIONS
            .iter()
            .any(|exception| target == Path::new(exception))
}

fn one(mount: &Mount) -> Result<MountPlan, PlanError> {
    let target = absolute("mount target", mount.destination())?;
    let shown = || target.to_string_lossy().into_owned();
    if target.components().any(|part| part == Component::ParentDir) {
        return Err(PlanError::invalid(
            "mount target",
            shown(),
            "goes up with ..",
        ));
    }
    // Without the doubled slashes and dots that would hide what it names.
    let target: PathBuf = target.components().collect();
    if target == Path::new("/") {
        return Err(PlanError::invalid(
            "mount target",
            shown(),
            "is the root filesystem",
        ));
    }
    let options = Options::read(mount.options().as_deref().unwrap_or_default());
    let what = what(mount, &target, &options)?;
    let proc_itself = matches!(&what, What::Filesystem { kind, .. } if kind == "proc");
    if hides_proc(&target) || (target == Path::new("/proc") && !proc_itself && !is_proc_bind(&what))
    {
        return Err(PlanError::invalid(
            "mount target",
            shown(),
            "is inside /proc",
        ));
    }
    if options.unsupported {
        return Err(PlanError::Unsupported(format!(
            "an id-mapped mount at {}",
            shown()
        )));
    }
    Ok(MountPlan {
        target,
        what,
        attributes: options.set,
        clear: options.clear,
        recursive: options.recursive,
        propagation: options.propagation,
        options: shown_options(mount),
    })
}

/// Returns the options for people: the document of a tree is none for them.
fn shown_options(mount: &Mount) -> String {
    let options = mount.options().as_deref().unwrap_or_default().iter();
    let shown = options.filter(|option| !option.starts_with(spec_default::TREE));
    shown.map(String::as_str).collect::<Vec<_>>().join(",")
}

/// Decides what is mounted.
fn what(mount: &Mount, target: &Path, options: &Options) -> Result<What, PlanError> {
    let kind = mount.typ().as_deref().unwrap_or_default();
    let source = mount.source().clone().unwrap_or_default();
    if options.bind.is_some() || kind == "bind" {
        return Ok(What::Bind {
            source: absolute("mount source", &source)?,
            beneath: options.beneath.clone(),
            recursive: options.bind.unwrap_or(false),
        });
    }
    if kind == spec_default::IMAGE {
        let text = options.tree.as_deref().unwrap_or_default();
        let shown = source.to_string_lossy().into_owned();
        return match serde_json::from_str(text) {
            Ok(tree) => Ok(What::Tree {
                source: shown,
                tree,
                beneath: options.beneath.clone(),
            }),
            Err(_) => Err(PlanError::invalid("mount source", shown, "has no tree")),
        };
    }
    match kind {
        "cgroup" | "cgroup2" => Ok(What::Cgroup),
        "" | "none" => {
            let target = target.to_string_lossy();
            Err(PlanError::invalid("mount target", target, "has no type"))
        }
        other => Ok(What::Filesystem {
            kind: other.to_owned(),
            source: if source.as_os_str().is_empty() {
                other.to_owned()
            } else {
                source.to_string_lossy().into_owned()
            },
            parameters: options.parameters.clone(),
        }),
    }
}

/// With the host's pid namespace, Docker binds the host's /proc on /proc.
fn is_proc_bind(what: &What) -> bool {
    matches!(what, What::Bind { source, .. } if source == Path::new("/proc"))
}

#[derive(Default)]
struct Options {
    set: u64,
    clear: u64,
    recursive: u64,
    propagation: Option<(PropagationType, bool)>,
    /// `Some(recursive)` for a bind.
    bind: Option<bool>,
    parameters: Vec<(String, Option<String>)>,
    beneath: Option<PathBuf>,
    tree: Option<String>,
    unsupported: bool,
}

/// Options that set or clear attribute bits: name, bits, and whether they are set.
const FLAGS: [(&str, u64, bool); 16] = [
    ("ro", attr::RDONLY, true),
    ("rw", attr::RDONLY, false),
    ("nosuid", attr::NOSUID, true),
    ("suid", attr::NOSUID, false),
    ("nodev", attr::NODEV, true),
    ("dev", attr::NODEV, false),
    ("noexec", attr::NOEXEC, true),
    ("exec", attr::NOEXEC, false),
    ("noatime", attr::NOATIME, true),
    ("strictatime", attr::STRICTATIME, true),
    ("atime", attr::ATIME_MASK, false),
    ("relatime", attr::ATIME_MASK, false),
    ("nodiratime", attr::NODIRATIME, true),
    ("diratime", attr::NODIRATIME, false),
    ("nosymfollow", attr::NOSYMFOLLOW, true),
    ("symfollow", attr::NOSYMFOLLOW, false),
];

impl Options {
    fn read(options: &[String]) -> Self {
        let mut read = Self::default();
        for option in options {
            read.option(option);
        }
        read
    }

    fn option(&mut self, option: &str) {
        if let Some((_, bits, set)) = FLAGS.iter().find(|(name, _, _)| *name == option) {
            self.flag(*bits, *set);
            return;
        }
        let recursive_flag = option
            .strip_prefix('r')
            .and_then(|name| FLAGS.iter().find(|(known, _, set)| *set && *known == name));
        if let Some((_, bits, _)) = recursive_flag {
            self.recursive |= bits;
            return;
        }
        if let Some(path) = option.strip_prefix(spec_default::BENEATH) {
            self.beneath = Some(path.into());
            return;
        }
        if let Some(text) = option.strip_prefix(spec_default::TREE) {
            self.tree = Some(text.to_owned());
            return;
        }
        match option {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "idmap" | "ridmap" => self.unsupported = true,
            // Words without meaning for the kernel, and Docker's SELinux letters, which the
            // engine has acted on.
            "defaults" | "async" | "sync" | "nofail" | "" | "z" | "Z" | "copy" | "nocopy"
            | "tmpcopyup" | "rrw" => {}
            other => match propagation(other) {
                Some(propagation) => self.propagation = Some(propagation),
                None => self.parameter(other),
            },
        }
    }

    fn flag(&mut self, bits: u64, set: bool) {
        // Of several access-time modes and of several opposites, the last one said counts.
        let mask = if bits & attr::ATIME_MASK != 0 {
            attr::ATIME_MASK
        } else {
            bits
        };
        self.set &= !mask;
        self.clear |= mask;
        if set {
            self.set |= bits;
            if mask == bits {
                self.clear &= !bits;
            }
        }
    }

    fn parameter(&mut self, option: &str) {
        let parameter = match option.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        };
        self.parameters.push(parameter);
    }
}

fn propagation(option: &str) -> Option<(PropagationType, bool)> {
    let (recursive, name) = match option.strip_prefix('r') {
        Some(name) => (true, name),
        None => (false, option),
    };
    let propagation = match name {
        "private" => PropagationType::Private,
        "slave" => PropagationType::Slave,
        "shared" => PropagationType::Shared,
        "unbindable" => PropagationType::Unbindable,
        _ => return None,
    };
    Some((propagation, recursive))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec_default::mount;

    #[test]
    fn dockers_default_mounts_are_planned() {
        let plan = plan(&spec_default::mounts(1 << 20)).unwrap();
        let commands: Vec<String> = plan.iter().map(MountPlan::command).collect();
        assert_eq!(
            commands,
            [
                "mount -t proc -o nosuid,noexec,nodev proc /proc",
                "mount -t tmpfs -o nosuid,strictatime,mode=755,size=65536k tmpfs /dev",
                "mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts",
                "mount -t tmpfs -o nosuid,noexec,nodev,mode=1777,size=1048576 shm /dev/shm",
                "mount -t mqueue -o nosuid,noexec,nodev mqueue /dev/mqueue",
                "mount -t sysfs -o nosuid,noexec,nodev,ro sysfs /sys",
                "mount -t cgroup2 -o nosuid,noexec,nodev,ro cgroup /sys/fs/cgroup",
            ]
        );
        assert_eq!(plan[1].attributes, attr::NOSUID | attr::STRICTATIME);
        assert_eq!(
            plan[5].attributes,
            attr::NOSUID | attr::NOEXEC | attr::NODEV | attr::RDONLY
        );
        let What::Filesystem { parameters, .. } = &plan[1].what else {
            panic!("{:?}", plan[1]);
        };
        assert_eq!(parameters[0], ("mode".to_owned(), Some("755".to_owned())));
    }

    #[test]
    fn bind_options_become_attributes() {
        let plan = |options: &[&str]| one(&mount("/x", "bind", "/src", options)).unwrap();
        let rro = plan(&["rbind", "ro", "rro", "rslave"]);
        assert_eq!(rro.attributes, attr::RDONLY);
        assert_eq!(rro.recursive, attr::RDONLY);
        assert_eq!(rro.propagation, Some((PropagationType::Slave, true)));
        assert!(matches!(
            rro.what,
            What::Bind {
                recursive: true,
                ..
            }
        ));
        let rw = plan(&["bind", "ro", "rw", "private"]);
        assert_eq!((rw.attributes, rw.clear), (0, attr::RDONLY));
        assert_eq!(rw.propagation, Some((PropagationType::Private, false)));
        let atime = plan(&["bind", "noatime", "strictatime"]);
        assert_eq!(
            (atime.attributes, atime.clear),
            (attr::STRICTATIME, attr::ATIME_MASK)
        );
    }

    #[test]
    fn a_volume_of_another_machine_is_mounted_with_its_options() {
        let options = ["addr=192.0.2.1", "vers=4.2", "nolock", "rw"];
        let plan = one(&mount("/rows", "nfs", ":/export", &options)).unwrap();
        let parameter = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            plan.what,
            What::Filesystem {
                kind: "nfs".to_owned(),
                source: ":/export".to_owned(),
                parameters: vec![
                    parameter("addr", Some("192.0.2.1")),
                    parameter("vers", Some("4.2")),
                    parameter("nolock", None),
                ],
            }
        );
        assert_eq!(plan.attributes, 0);
    }

    #[test]
    fn an_image_is_a_tree_that_its_options_carry() {
        let tree = format!("{}{{\"dir\":\"/layer\"}}", spec_default::TREE);
        let planned = |options: &[&str]| one(&mount("/x", spec_default::IMAGE, "bb:1", options));
        let plan = planned(&["ro", &tree, "x-lamina.beneath=bin"]).unwrap();
        assert_eq!(plan.attributes, attr::RDONLY);
        assert_eq!(
            plan.what,
            What::Tree {
                source: "bb:1".to_owned(),
                tree: Rootfs::Dir("/layer".into()),
                beneath: Some("bin".into()),
            }
        );
        assert_eq!(plan.command(), "mount -o ro,x-lamina.beneath=bin bb:1 /x");
        assert!(planned(&["ro"]).is_err());
        assert!(planned(&["ro", "x-lamina.tree={}"]).is_err());
    }

    #[test]
    fn targets_that_fake_proc_or_the_root_are_refused() {
        for target in [
            "/",
            "//",
            "/.",
            "/proc/self",
            "/proc/sys/kernel",
            "//proc/./self/attr",
            "/x/../proc",
            "relative",
            "/proc/kcore",
        ] {
            assert!(
                one(&mount(target, "bind", "/src", &["bind"])).is_err(),
                "{target}"
            );
        }
        assert!(one(&mount("/proc", "tmpfs", "tmpfs", &[])).is_err());
        assert!(one(&mount("/proc", "bind", "/src", &["bind"])).is_err());
        for target in ["/proc/meminfo", "/process", "/sys/x"] {
            assert!(
                one(&mount(target, "bind", "/src", &["bind"])).is_ok(),
                "{target}"
            );
        }
        assert!(one(&mount("/proc", "bind", "/proc", &["rbind"])).is_ok());
    }
}
