//! The processes of a cgroup: killing all of them, and stopping them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{CgroupError, Member, PATIENCE, read_file, write_file};

const SIGKILL: i32 = 9;

/// Kills until a round finds nobody, ten rounds at most: a fork bomb can outrun one.
///
/// A number is killed through a pidfd and only if it is still listed after the pidfd was opened,
/// so that a reused process id is never hit.
pub(super) fn kill_all(members: &[Member]) -> Result<(), CgroupError> {
    for _ in 0..10 {
        let mut found = false;
        for member in members {
            let first = listed(&member.dir);
            let held: Vec<_> = first
                .iter()
                .filter_map(|pid| Some((*pid, pidfd_open(*pid, PidfdFlags::empty()).ok()?)))
                .collect();
            if held.is_empty() {
                continue;
            }
            let still: HashSet<Pid> = listed(&member.dir).into_iter().collect();
            for (pid, pidfd) in held {
                if still.contains(&pid) {
                    found = true;
                    let _ = lamina_sys::signals::pidfd_kill(pidfd.as_fd(), SIGKILL);
                }
            }
        }
        if !found {
            break;
        }
    }
    Ok(())
}

/// Returns the processes of a cgroup and of those directly below it.
fn listed(dir: &Path) -> Vec<Pid> {
    let text = read_file(&dir.join("cgroup.procs")).unwrap_or_default();
    let numbers = text.lines().filter_map(|line| line.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// Returns the processes of a cgroup and of all below it.
pub(super) fn all(dir: &Path) -> Vec<Pid> {
    let mut found = listed(dir);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let children = rustix::fs::open(dir, flags, Mode::empty()).and_then(Dir::read_from);
    for child in children.into_iter().flatten().flatten() {
        let name = child.file_name().to_bytes();
        if child.file_type() == FileType::Directory && !name.starts_with(b".") {
            found.extend(all(&dir.join(OsStr::from_bytes(name))));
        }
    }
    found.sort_by_key(|pid| pid.as_raw_nonzero());
    found.dedup();
    found
}

/// Freezes or thaws a cgroup2 cgroup and waits until it is so.
pub(super) fn freeze_v2(dir: &Path, frozen: bool) -> Result<(), CgroupError> {
    let value = if frozen { "1" } else { "0" };
    write_file(&dir.join("cgroup.freeze"), value)?;
    let wanted = format!("frozen {value}");
    wait_for(dir, "cgroup.events", frozen, &|text| {
        text.lines().any(|line| line == wanted)
    })
}

/// Freezes or thaws a v1 freezer cgroup and waits until it is so.
pub(super) fn freeze_v1(dir: &Path, frozen: bool) -> Result<(), CgroupError> {
    let value = if frozen { "FROZEN" } else { "THAWED" };
    let file = dir.join("freezer.state");
    write_file(&file, value)?;
    let result = wait_for(dir, "freezer.state", frozen, &|text| text.trim() == value);
    if result.is_err() && frozen {
        // A half-frozen container would hang for ever: let it go on.
        write_file(&file, "THAWED")?;
    }
    result
}

fn wait_for(
    dir: &Path,
    file: &str,
    frozen: bool,
    done: &dyn Fn(&str) -> bool,
) -> Result<(), CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if done(&read_file(&dir.join(file)).unwrap_or_default()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let path = dir.to_owned();
            return Err(match frozen {
                true => CgroupError::Restless { path },
                false => CgroupError::FrozenAbove { path },
            });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
