//! The monitor's own cgroup: beside the containers', never in the caller's.
//!
//! A monitor left in its caller's cgroup would be killed with an ssh session or a unit. A caller
//! in the root cgroup of a hierarchy has none that could end, so nothing is done there.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use lamina_types::explain::Explainer;

use crate::proc_file;

/// The cgroup all monitors live in, in every hierarchy.
const MONITORS: &str = "lamina-monitors";

/// Where hierarchies are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";

/// Leaves the caller's cgroups. Best effort: where it is not permitted the monitor stays where it
/// is, as the caller would have.
pub(super) fn leave_callers(explain: &mut Explainer) {
    let mut buffer = [0_u8; 4096];
    let Ok(Some(own)) = proc_file::read("/proc/self/cgroup", &mut buffer) else {
        return;
    };
    let is_unified = !Path::new(MOUNTS).join("unified").exists();
    let moves = plan(&String::from_utf8_lossy(own), is_unified);
    if moves.is_empty() {
        return;
    }
    explain.step(
        "leave the caller's cgroup",
        "a monitor in its caller's cgroup would end with the login session or service",
        || {
            let commands = moves.iter().map(|to| {
                let dir = to.display();
                format!("mkdir -p {dir}; echo $$ > {dir}/cgroup.procs")
            });
            commands.collect::<Vec<_>>().join("; ")
        },
        || moves.iter().for_each(|to| enter(to)),
    );
}

/// Returns the cgroup directories to enter, given the content of `/proc/self/cgroup`.
fn plan(own: &str, is_unified: bool) -> Vec<PathBuf> {
    let moves = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        if path == "/" || path.trim_start_matches('/') == MONITORS {
            return None;
        }
        let mount = match controllers {
            "" if is_unified => PathBuf::from(MOUNTS),
            "" => Path::new(MOUNTS).join("unified"),
            named => Path::new(MOUNTS).join(named.trim_start_matches("name=")),
        };
        // A new cpuset of version 1 has no CPUs and takes nobody in; its root restricts nothing.
        if controllers.split(',').any(|c| c == "cpuset") {
            return Some(mount);
        }
        Some(mount.join(MONITORS))
    });
    moves.collect()
}

fn enter(dir: &Path) {
    // Exists already in all but the first container's case; what really fails is the write.
    let _ = DirBuilder::new().mode(0o755).create(dir);
    // The monitor has one thread, so in version 1 moving the thread moves it all, without the
    // lock over every fork and exit of the machine that cgroup.procs takes (10 ms and more).
    // Version 2 has no `tasks`.
    let open = |name| OpenOptions::new().write(true).open(dir.join(name));
    let members = open("tasks").or_else(|_| open("cgroup.procs"));
    let _ = members.and_then(|mut file| file.write_all(b"0"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cgroups_that_can_end_are_left() {
        let own = "9:name=systemd:/user.slice/s1\n8:cpu,cpuacct:/user.slice\n7:memory:/\n\
                   5:cpuset:/x\n6:pids:/lamina-monitors\n0::/user.slice/s1\n";
        let expect = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            plan(own, false),
            expect(&[
                "/sys/fs/cgroup/systemd/lamina-monitors",
                "/sys/fs/cgroup/cpu,cpuacct/lamina-monitors",
                "/sys/fs/cgroup/cpuset",
                "/sys/fs/cgroup/unified/lamina-monitors",
            ])
        );
        let unified = expect(&["/sys/fs/cgroup/lamina-monitors"]);
        assert_eq!(plan("0::/user.slice\n", true), unified);
        assert!(plan("0::/\n", true).is_empty());
        assert!(plan("garbage\n\n1:x", true).is_empty());
    }
}
