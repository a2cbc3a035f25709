//! The leak sweep: after a test nothing of its containers may be left in the kernel or on disk.

use std::fs::{read, read_dir, read_to_string};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Host;

/// How long the kernel and the monitors may take to let go.
const PATIENCE: Duration = Duration::from_secs(5);

impl Host {
    /// Panics if a container of this host has left anything: a record, a snapshot, a lease, a
    /// bundle, a cgroup, a process or a mount.
    ///
    /// What is being torn down when it looks is given a few seconds.
    pub fn sweep(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left_behind();
            if left.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "left behind:\n  {}",
                left.join("\n  ")
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Returns everything of containers that is still there.
    pub fn left_behind(&self) -> Vec<String> {
        let root = self.root();
        let mut left: Vec<String> = Vec::new();
        for folder in ["snap", "ops", "containers/names", "volumes"] {
            left.extend(entries(&root.join(folder)));
        }
        left.extend(entries(&root.join("containers")).filter(|path| !path.ends_with("/names")));
        left.extend(entries(&self.run_root().join("containers")));
        left.extend(self.cgroups());
        left.extend(self.processes());
        left.extend(self.mounts());
        left
    }

    fn cgroups(&self) -> Vec<String> {
        self.cgroup_parents()
            .flat_map(|parent| entries(&parent))
            .filter(|path| Path::new(path).is_dir())
            .collect()
    }

    /// Returns the cgroup that this host's are in, for every hierarchy there may be.
    pub(crate) fn cgroup_parents(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let top = PathBuf::from("/sys/fs/cgroup");
        let name = self.cgroup_parent();
        let hierarchies = entries(&top).map(PathBuf::from).chain([top]);
        hierarchies.map(move |hierarchy| hierarchy.join(&name))
    }

    /// Returns every process whose arguments or environment name this host's folder, but for
    /// the test itself and what it has started by other means.
    fn processes(&self) -> Vec<String> {
        let folder = self.folder().to_string_lossy().into_owned();
        let names_it = |bytes: &[u8]| bytes.windows(folder.len()).any(|w| w == folder.as_bytes());
        let mut found = Vec::new();
        for path in entries(Path::new("/proc")) {
            if !path
                .trim_start_matches("/proc/")
                .bytes()
                .all(|b| b.is_ascii_digit())
            {
                continue;
            }
            let file = |name: &str| read(format!("{path}/{name}")).unwrap_or_default();
            let words = file("cmdline");
            if !words.is_empty() && (names_it(&words) || names_it(&file("environ"))) {
                let shown = String::from_utf8_lossy(&words).replace('\0', " ");
                found.push(format!("process {path}: {shown}"));
            }
        }
        found
    }

    fn mounts(&self) -> Vec<String> {
        let folder = self.folder().to_string_lossy().into_owned();
        let table = read_to_string("/proc/self/mountinfo").unwrap_or_default();
        table
            .lines()
            .filter(|line| line.contains(&folder))
            .map(str::to_owned)
            .collect()
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().to_string_lossy().into_owned())
}
