//! Control groups that an ended run has left.
//!
//! They are found by the container's path in every hierarchy that is mounted, whether or not
//! somebody was able to note them; the store's undo kills what is still in them.

use std::path::{Path, PathBuf};

use lamina_fs::{Dir, PathError};
use rustix::fs::{Access, FileType, access};

/// Where control groups are mounted (the file hierarchy of systemd, and of everyone since).
const MOUNT: &str = "/sys/fs/cgroup";

/// Where the hierarchies are mounted.
#[derive(Debug)]
pub(crate) struct Hierarchies(Vec<PathBuf>);

impl Hierarchies {
    /// Looks at what is mounted.
    pub(crate) fn find() -> Result<Self, PathError> {
        mounted(Path::new(MOUNT)).map(Self)
    }

    /// Returns the directories that the group `path` may have, one for each hierarchy.
    pub(crate) fn directories(&self, path: &Path) -> Vec<PathBuf> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        self.0.iter().map(|mount| mount.join(relative)).collect()
    }
}

fn mounted(mount: &Path) -> Result<Vec<PathBuf>, PathError> {
    // Version 2 is the mount itself; with version 1 each hierarchy is a directory in it.
    if access(mount.join("cgroup.controllers"), Access::EXISTS).is_ok() {
        return Ok(vec![mount.to_owned()]);
    }
    let hierarchies = match Dir::open(mount) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    // Links such as `cpu` lead to a hierarchy that is listed by its own name.
    let hierarchies = hierarchies.entries()?.into_iter();
    Ok(hierarchies
        .filter(|entry| entry.kind == FileType::Directory)
        .map(|entry| mount.join(entry.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_hierarchy_may_have_a_group() {
        let mount = tempfile::tempdir().unwrap();
        for dir in ["memory", "cpu,cpuacct", "unified"] {
            std::fs::create_dir_all(mount.path().join(dir)).unwrap();
        }
        symlink("memory", mount.path().join("mem")).unwrap();
        let mut found = Hierarchies(mounted(mount.path()).unwrap()).directories(Path::new("/a/b"));
        found.sort();
        let expected = ["cpu,cpuacct/a/b", "memory/a/b", "unified/a/b"];
        assert_eq!(found, expected.map(|dir| mount.path().join(dir)));
        std::fs::create_dir(mount.path().join("cgroup.controllers")).unwrap();
        assert_eq!(mounted(mount.path()).unwrap(), [mount.path()]);
        assert!(mounted(Path::new("/no/such")).unwrap().is_empty());
    }
}
