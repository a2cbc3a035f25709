//! What cgroup hierarchies this machine has, found by one read of mountinfo.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::plan::Write;
use super::{CgroupError, Member, io_error, read_file, remove_directory, write_file};

/// Which kind of machine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Controllers are in v1 hierarchies; a cgroup2 hierarchy beside them has none to speak of.
    V1,
    /// All controllers are in the one cgroup2 hierarchy.
    V2,
    /// No cgroup filesystem is mounted.
    None,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) controllers: Vec<String>,
    pub(crate) mount_point: PathBuf,
}

/// All that is mounted.
#[derive(Debug)]
pub(crate) struct Hierarchies {
    pub(crate) version: Version,
    pub(crate) mounted: Vec<Hierarchy>,
}

/// Controllers every container gets a cgroup for: limits may be set on them later, they count
/// (cpuacct), deny devices, and freeze.
const ALWAYS: [&str; 6] = ["memory", "cpu", "cpuacct", "pids", "devices", "freezer"];

/// All v1 controllers, to tell them from mount options.
const KNOWN: [&str; 13] = [
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "devices",
    "freezer",
    "cpuset",
    "blkio",
    "net_cls",
    "net_prio",
    "perf_event",
    "hugetlb",
    "rdma",
];

impl Hierarchies {
    /// Looks at what is mounted in the caller's mount namespace.
    pub(crate) fn discover() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let text = read_file(path).map_err(|errno| io_error("read", path, errno))?;
        Ok(Self::parse(&text))
    }

    fn parse(mountinfo: &str) -> Self {
        let mut v1: Vec<Hierarchy> = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let mut right = right.split(' ');
            let kind = right.next().unwrap_or_default();
            if !matches!(kind, "cgroup" | "cgroup2") {
                continue;
            }
            let Some(mount_point) = left.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            if kind == "cgroup2" {
                v2.get_or_insert(mount_point);
                continue;
            }
            let options = right.nth(1).unwrap_or_default().split(',');
            let controllers: Vec<String> = options
                .filter(|option| KNOWN.contains(option))
                .map(str::to_owned)
                .collect();
            let seen = v1.iter().any(|other| other.controllers == controllers);
            if !controllers.is_empty() && !seen {
                v1.push(Hierarchy {
                    controllers,
                    mount_point,
                });
            }
        }
        match (v1.is_empty(), v2) {
            (false, _) => Self {
                version: Version::V1,
                mounted: v1,
            },
            (true, Some(mount_point)) => Self {
                version: Version::V2,
                mounted: vec![Hierarchy {
                    controllers: Vec::new(),
                    mount_point,
                }],
            },
            (true, None) => Self {
                version: Version::None,
                mounted: Vec::new(),
            },
        }
    }

    /// Returns the command that makes the directories of `path`, for people.
    pub(crate) fn command(&self, path: &Path) -> String {
        let relative = relative(path).unwrap_or_default();
        let dirs = self.members(&relative, &[]).into_iter();
        let dirs = dirs.map(|member| member.dir.display().to_string());
        format!("mkdir -p {}", dirs.collect::<Vec<_>>().join(" "))
    }

    /// Returns where a container's cgroup is in each hierarchy it needs one in.
    pub(super) fn members(&self, relative: &Path, writes: &[Write]) -> Vec<Member> {
        let needed = |hierarchy: &&Hierarchy| {
            self.version == Version::V2
                || hierarchy.controllers.iter().any(|own| {
                    ALWAYS.contains(&own.as_str())
                        || writes.iter().any(|write| write.controller == own)
                })
        };
        let member = |hierarchy: &Hierarchy| Member {
            controllers: hierarchy.controllers.clone(),
            name: hierarchy
                .mount_point
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            dir: hierarchy.mount_point.join(relative),
        };
        self.mounted.iter().filter(needed).map(member).collect()
    }

    /// Lets the parents of `relative` hand their controllers down (cgroup v2,
    /// `cgroup.subtree_control`), from the root. What is enabled already is not written again.
    pub(super) fn enable_controllers(&self, relative: &Path) -> Result<(), CgroupError> {
        let Some(root) = self.mounted.first().map(|hierarchy| &hierarchy.mount_point) else {
            return Ok(());
        };
        let parent = relative.parent().unwrap_or(Path::new(""));
        let nearest = root.join(parent).join("cgroup.subtree_control");
        let wanted = ["cpu", "memory", "pids", "cpuset", "io"];
        let enabled = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
        let now = read_file(&nearest).unwrap_or_default();
        let available = read_file(&root.join("cgroup.controllers"))
            .map_err(|errno| io_error("read", &root.join("cgroup.controllers"), errno))?;
        let missing: Vec<&str> = wanted
            .into_iter()
            .filter(|name| enabled(&available, name) && !enabled(&now, name))
            .collect();
        if missing.is_empty() && rustix::fs::access(&nearest, rustix::fs::Access::EXISTS).is_ok() {
            return Ok(());
        }
        let mut dir = root.clone();
        let steps = std::iter::once(Component::CurDir).chain(parent.components());
        for step in steps {
            if let Component::Normal(name) = step {
                dir.push(name);
                make_directory(&dir)?;
            }
            for controller in &missing {
                // One at a time: a controller that cannot be enabled (rt tasks keep cpu back) must
                // not take the others with it. A limit that then has no file says so itself.
                let _ = write_file(
                    &dir.join("cgroup.subtree_control"),
                    &format!("+{controller}"),
                );
            }
        }
        Ok(())
    }
}

/// Checks the cgroup path of a spec and makes it relative.
pub(crate) fn relative(path: &Path) -> Result<PathBuf, CgroupError> {
    let shown = path.display();
    if path.as_os_str().as_bytes().contains(&b':') && !path.is_absolute() {
        return Err(CgroupError::Invalid(format!(
            "path {shown} is systemd's form, which is not supported"
        )));
    }
    let mut relative = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => relative.push(name),
            // A parent of `../..` would put limits on somebody else's processes.
            _ => {
                return Err(CgroupError::Invalid(format!(
                    "path {shown} goes up with .."
                )));
            }
        }
    }
    if relative.as_os_str().is_empty() {
        return Err(CgroupError::Invalid(format!(
            "path {shown} is the root cgroup"
        )));
    }
    Ok(relative)
}

/// Makes a cgroup with its parents; the leaf is tried first because the parents nearly always
/// exist.
pub(super) fn make_directory(dir: &Path) -> Result<(), CgroupError> {
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdir(dir, mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => {
            let parent = dir
                .parent()
                .ok_or_else(|| io_error("make", dir, Errno::NOENT))?;
            make_directory(parent)?;
            match rustix::fs::mkdir(dir, mode) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(io_error("make cgroup", dir, errno)),
            }
        }
        Err(errno) => Err(io_error("make cgroup", dir, errno)),
    }
}

/// A new v1 cpuset is empty and takes no process until it has processors and memory nodes: they
/// are copied from the parent, for every level that has none.
pub(super) fn inherit_cpuset(dir: &Path) -> Result<(), CgroupError> {
    let Some(parent) = dir.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = read_file(&dir.join(file)).unwrap_or_default();
        if !own.trim().is_empty() {
            continue;
        }
        let path = parent.join(file);
        let mut value = read_file(&path).map_err(|errno| io_error("read", &path, errno))?;
        if value.trim().is_empty() {
            inherit_cpuset(parent)?;
            value = read_file(&path).map_err(|errno| io_error("read", &path, errno))?;
        }
        write_file(&dir.join(file), value.trim())?;
    }
    Ok(())
}

/// Removes a cgroup and all below it, deepest first. `EBUSY` where one has a process.
pub(super) fn remove_tree(dir: &Path) -> Result<(), Errno> {
    match remove_directory(dir) {
        Err(Errno::BUSY) => {}
        other => return other,
    }
    // Busy: a process, or cgroups that the container made.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(CWD, dir, flags, Mode::empty())?;
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            remove_tree(&dir.join(std::ffi::OsStr::from_bytes(name)))?;
        }
    }
    remove_directory(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_v1_is_v1() {
        let found = Hierarchies::parse(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             99 31 0:32 / /mnt/again rw - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(found.version, Version::V1);
        let points: Vec<_> = found
            .mounted
            .iter()
            .map(|h| h.mount_point.to_str().unwrap())
            .collect();
        assert_eq!(
            points,
            ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory"]
        );
        let members = found.members(Path::new("lamina/x"), &[]);
        assert_eq!(members[0].name, "cpu,cpuacct");
        assert_eq!(members[1].dir, Path::new("/sys/fs/cgroup/memory/lamina/x"));
    }

    #[test]
    fn one_cgroup2_mount_is_v2() {
        let found =
            Hierarchies::parse("26 22 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert_eq!(found.version, Version::V2);
        assert_eq!(
            found.members(Path::new("a"), &[])[0].dir,
            Path::new("/sys/fs/cgroup/a")
        );
        assert_eq!(Hierarchies::parse("").version, Version::None);
    }

    #[test]
    fn paths_stay_below_the_root() {
        for (path, expected) in [
            ("/lamina/lamina-1", Some("lamina/lamina-1")),
            ("lamina/x", Some("lamina/x")),
            ("/a//./b/", Some("a/b")),
            ("/", None),
            ("", None),
            ("/../..", None),
            ("/a/../b", None),
            ("system.slice:x:y", None),
        ] {
            let got = relative(Path::new(path)).ok();
            assert_eq!(got.as_deref(), expected.map(Path::new), "{path:?}");
        }
    }
}
