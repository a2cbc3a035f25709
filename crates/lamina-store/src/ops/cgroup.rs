//! Removing a control group that a dead operation left, with everything in it.

use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::process;

/// statfs(2): what control groups of version 1 and 2 are.
const MAGIC: [u64; 2] = [0x27_e0eb, 0x6367_7270];
/// The kernel may take this long to let go of the last process.
const PATIENCE: Duration = Duration::from_secs(3);
/// Containers can make groups below their own; deeper ones are removed by the next attempt.
const DEPTH: usize = 32;

/// Kills everything in the group and removes it with its children; a missing one is no error.
///
/// Refuses what is not a control group, or not one of ours by its name `lamina-…`.
pub(super) fn remove(path: &Path) -> Result<(), PathError> {
    let Some((parent, name)) = ours(path)? else {
        return Ok(());
    };
    let start = Instant::now();
    loop {
        match remove_in(&parent, &name, 0) {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if error.errno() == Some(Errno::BUSY) && start.elapsed() < PATIENCE => {}
            other => return other,
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Lets the processes of a group go on; a missing one is no error. Refuses as [`remove`] does.
pub(super) fn thaw(path: &Path) -> Result<(), PathError> {
    let Some((parent, name)) = ours(path)? else {
        return Ok(());
    };
    match parent.open_at(&name) {
        Err(error) if error.is_not_found() => Ok(()),
        other => {
            let group = other?;
            set(
                &group,
                &[("cgroup.freeze", "0"), ("freezer.state", "THAWED")],
            );
            Ok(())
        }
    }
}

/// Opens the parent of a group of ours; `None` if it is gone.
fn ours(path: &Path) -> Result<Option<(Dir, String)>, PathError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| name.starts_with("lamina-"));
    let (Some(name), Some(parent)) = (name, path.parent()) else {
        return Err(Errno::INVAL).at("open control group", path);
    };
    let parent = match Dir::open(parent) {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let kind = rustix::fs::fstatfs(&parent).at("stat", parent.path())?;
    if !MAGIC
        .iter()
        .any(|magic| i128::from(kind.f_type) == i128::from(*magic))
    {
        return Err(Errno::INVAL).at("open control group", path);
    }
    Ok(Some((parent, name.to_owned())))
}

/// Writes control files; each version and kernel has some of them.
fn set(group: &Dir, values: &[(&str, &str)]) {
    for (file, value) in values {
        if let Ok(file) = group.open_file(file, OFlags::WRONLY) {
            let _ = rustix::io::write(&file, value.as_bytes());
        }
    }
}

fn remove_in(parent: &Dir, name: &str, depth: usize) -> Result<(), PathError> {
    let group = parent.open_at(name)?;
    thaw_and_kill(&group)?;
    if depth < DEPTH {
        for child in group.entries()? {
            if let (FileType::Directory, Some(child)) = (child.kind, child.name.to_str()) {
                remove_in(&group, child, depth + 1)?;
            }
        }
    }
    parent.rmdir(name)
}

/// Kills what is in the group itself. A frozen process dies only when it is thawed.
fn thaw_and_kill(group: &Dir) -> Result<(), PathError> {
    set(
        group,
        &[
            ("cgroup.kill", "1"),
            ("cgroup.freeze", "0"),
            ("freezer.state", "THAWED"),
        ],
    );
    for pid in members(group)? {
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        // The pid may have been used again between the listing and the pidfd.
        if members(group)?.contains(&pid) {
            let path = group.path().join("cgroup.procs");
            process::kill_by(pidfd.as_fd(), path)?;
        }
    }
    Ok(())
}

fn members(group: &Dir) -> Result<Vec<Pid>, PathError> {
    let bytes = match group.read("cgroup.procs", 16 << 20) {
        // A threaded group of version 2 lists its processes in its parent only.
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let pids = text.split_ascii_whitespace();
    Ok(pids
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect())
}
