//! SELinux: a label for each container and for what it is given with `:z` and `:Z`.
//!
//! Nothing here acts where SELinux is not enabled. Relabelling a system directory would break the
//! host, so those are refused whatever the caller is allowed to do (CVE-2021-43816).

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use lamina_fs::{At, Dir, PathError};
use lamina_types::mount::Relabel;
use lamina_types::{ContainerId, ErrorKind};
use rustix::fs::{FileType, XattrFlags};

/// Where a label is kept.
const ATTRIBUTE: &str = "security.selinux";

/// Directories that never get a container's label, nor does anything above them.
const SYSTEM: [&str; 18] = [
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/root",
    "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var",
];
/// Directories below which nothing is relabelled either.
const SYSTEM_TREES: [&str; 11] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr",
];
/// The number of categories of the targeted policy.
const CATEGORIES: u16 = 1024;

/// The labels of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    /// The label of its processes.
    pub process: String,
    /// The label of its files.
    pub file: String,
}

/// Why something is not relabelled or a label is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LabelError {
    /// A directory of the system.
    #[error("SELinux relabelling of {path} is not allowed", path = .0.display())]
    System(PathBuf),
    /// `--security-opt label=…` is not one of `disable`, `user:`, `role:`, `type:`, `level:`.
    #[error("invalid label option {0:?}")]
    Option(String),
}

impl LabelError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::System(_) => ErrorKind::PermissionDenied,
            Self::Option(_) => ErrorKind::InvalidArgument,
        }
    }
}

/// Returns a container's labels; `None` where `label=disable` was asked for.
///
/// The two categories come from the id, so they stay the same over restarts.
pub(crate) fn labels(
    id: &ContainerId,
    options: &[String],
    privileged: bool,
) -> Result<Option<Labels>, LabelError> {
    let [mut user, mut role, mut kind] = ["system_u", "system_r", "container_t"].map(str::to_owned);
    let mut level = level(id);
    let mut disabled = privileged;
    for option in options {
        let invalid = || LabelError::Option(option.chars().take(80).collect());
        let plain = |value: &str| {
            !value.is_empty()
                && value
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.,:-".contains(&b))
        };
        match option.split_once(':') {
            None if option == "disable" => disabled = true,
            Some((name, value)) if plain(value) => match name {
                "user" => value.clone_into(&mut user),
                "role" => value.clone_into(&mut role),
                "type" => value.clone_into(&mut kind),
                "level" => value.clone_into(&mut level),
                _ => return Err(invalid()),
            },
            _ => return Err(invalid()),
        }
    }
    if disabled {
        return Ok(None);
    }
    Ok(Some(Labels {
        process: format!("{user}:{role}:{kind}:{level}"),
        file: format!("{user}:object_r:container_file_t:{level}"),
    }))
}

fn level(id: &ContainerId) -> String {
    let number = |digits: &str| u16::from_str_radix(digits, 16).unwrap_or(0) % CATEGORIES;
    let first = number(&id.as_str()[..4]);
    let second = number(&id.as_str()[4..8]);
    // The policy wants two different categories in ascending order.
    let second = if first == second {
        (second + 1) % CATEGORIES
    } else {
        second
    };
    format!("s0:c{},c{}", first.min(second), first.max(second))
}

/// Returns the label that a bind's source gets, if any; `source` is resolved, without links.
pub(crate) fn plan(
    source: &Path,
    relabel: Relabel,
    labels: Option<&Labels>,
) -> Result<Option<String>, LabelError> {
    let Some(labels) = labels else {
        return Ok(None);
    };
    let label = match relabel {
        Relabel::None => return Ok(None),
        Relabel::Private => labels.file.clone(),
        Relabel::Shared => "system_u:object_r:container_file_t:s0".to_owned(),
    };
    let system = source == Path::new("/")
        || SYSTEM.iter().any(|path| source == Path::new(path))
        || SYSTEM_TREES.iter().any(|tree| source.starts_with(tree));
    if system {
        return Err(LabelError::System(source.to_owned()));
    }
    Ok(Some(label))
}

/// Sets the label on a file, or on a directory and everything in it on the same filesystem.
///
/// Links are labelled themselves, not what they lead to.
pub(crate) fn apply(path: &Path, label: &str) -> Result<(), PathError> {
    let value = label.as_bytes();
    rustix::fs::lsetxattr(path, ATTRIBUTE, value, XattrFlags::empty()).at("relabel", path)?;
    let stat = rustix::fs::lstat(path).at("stat", path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        apply_in(&Dir::open(path)?, value, stat.st_dev)?;
    }
    Ok(())
}

fn apply_in(dir: &Dir, value: &[u8], device: u64) -> Result<(), PathError> {
    for entry in dir.entries()? {
        let path = dir.path().join(&entry.name);
        let stat = dir.stat(&entry.name)?;
        if stat.st_dev != device {
            continue;
        }
        // By way of the directory's descriptor: a name swapped for a link is labelled itself.
        let by_fd = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        let name = Path::new(&by_fd).join(&entry.name);
        rustix::fs::lsetxattr(&name, ATTRIBUTE, value, XattrFlags::empty()).at("relabel", &path)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            apply_in(&dir.open_at(&entry.name)?, value, device)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ContainerId {
        ContainerId::from_random([0xab; 32])
    }

    #[test]
    fn labels_are_stable_and_of_two_categories() {
        let labels = labels(&id(), &[], false).unwrap().unwrap();
        assert_eq!(labels.process, "system_u:system_r:container_t:s0:c939,c940");
        assert_eq!(
            labels.file,
            "system_u:object_r:container_file_t:s0:c939,c940"
        );
    }

    #[test]
    fn options_change_a_part_and_nothing_else() {
        let with = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
            labels(&id(), &options, false)
        };
        assert_eq!(with(&["disable"]), Ok(None));
        let found = with(&["type:spc_t", "level:s0:c1,c2"]).unwrap().unwrap();
        assert_eq!(found.process, "system_u:system_r:spc_t:s0:c1,c2");
        for bad in ["", "enable", "type:", "type:a b", "kind:x", "level:s0\n"] {
            assert!(with(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_system_is_never_relabelled() {
        let labels = labels(&id(), &[], false).unwrap().unwrap();
        for path in [
            "/",
            "/usr",
            "/usr/share/x",
            "/etc/passwd",
            "/home",
            "/var",
            "/tmp",
            "/proc/1",
        ] {
            let plan = plan(Path::new(path), Relabel::Private, Some(&labels));
            assert_eq!(plan, Err(LabelError::System(path.into())));
        }
        let own = Path::new("/home/me/src");
        assert_eq!(
            plan(own, Relabel::Private, Some(&labels)),
            Ok(Some(labels.file.clone()))
        );
        assert_eq!(plan(own, Relabel::None, Some(&labels)), Ok(None));
        assert_eq!(plan(Path::new("/etc"), Relabel::Private, None), Ok(None));
    }
}
