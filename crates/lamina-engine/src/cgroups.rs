//! Control groups that an ended run has left.
//!
//! They are found by the container's path in every hierarchy that is mounted, whether or not
//! somebody was able to note them; the store's undo kills what is still in them.

use std::path::{Path, PathBuf};

use lamina_fs::{Dir, PathError};
use rustix::fs::{Access, FileType, access};

/// Where control groups are mounted (the file hierarchy of systemd, and of everyone since).
const MOUNT: &str = "/sys/fs/cgroup";

/// Returns the directories that the group `path` may have, one for each hierarchy.
pub(crate) fn possible(path: &Path) -> Result<Vec<PathBuf>, PathError> {
    possible_in(Path::new(MOUNT), path)
}

/// Returns the directories of the group `path` that exist, in any hierarchy.
pub(crate) fn existing(path: &Path) -> Result<Vec<PathBuf>, PathError> {
    existing_in(Path::new(MOUNT), path)
}

fn existing_in(mount: &Path, path: &Path) -> Result<Vec<PathBuf>, PathError> {
    let mut dirs = possible_in(mount, path)?;
    dirs.retain(|dir| access(dir, Access::EXISTS).is_ok());
    Ok(dirs)
}

fn possible_in(mount: &Path, path: &Path) -> Result<Vec<PathBuf>, PathError> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    // Version 2 is the mount itself; with version 1 each hierarchy is a directory in it.
    if access(mount.join("cgroup.controllers"), Access::EXISTS).is_ok() {
        return Ok(vec![mount.join(relative)]);
    }
    let hierarchies = match Dir::open(mount) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    // Links such as `cpu` lead to a hierarchy that is listed by its own name.
    let hierarchies = hierarchies.entries()?.into_iter();
    Ok(hierarchies
        .filter(|entry| entry.kind == FileType::Directory)
        .map(|entry| mount.join(entry.name).join(relative))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_group_is_found_in_every_hierarchy_that_has_it() {
        let mount = tempfile::tempdir().unwrap();
        for dir in [
            "memory/lamina/a",
            "pids/lamina/a",
            "cpu,cpuacct/lamina/b",
            "unified",
        ] {
            std::fs::create_dir_all(mount.path().join(dir)).unwrap();
        }
        symlink("memory", mount.path().join("mem")).unwrap();
        let mut found = existing_in(mount.path(), Path::new("/lamina/a")).unwrap();
        found.sort();
        let expected = ["memory/lamina/a", "pids/lamina/a"].map(|dir| mount.path().join(dir));
        assert_eq!(found, expected);
        assert_eq!(
            possible_in(mount.path(), Path::new("/lamina/a"))
                .unwrap()
                .len(),
            4
        );
        std::fs::create_dir(mount.path().join("cgroup.controllers")).unwrap();
        assert_eq!(
            possible_in(mount.path(), Path::new("/lamina/a")).unwrap(),
            [mount.path().join("lamina/a")]
        );
        assert!(
            existing_in(Path::new("/no/such"), Path::new("/a"))
                .unwrap()
                .is_empty()
        );
    }
}
