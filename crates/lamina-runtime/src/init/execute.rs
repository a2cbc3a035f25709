//! From `start` to the program.

use std::convert::Infallible;

use lamina_sys::{exec, fds};
use lamina_types::explain::Explainer;
use rustix::fs::{AtFlags, CWD, FileType, Mode, statat};
use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::report::{Failure, Step, describe};
use super::{Prepared, privileges, reaper, settings};
use crate::plan::process::ProcessPlan;

/// Becomes the program. Returns only where that failed.
pub(super) fn run(
    process: &ProcessPlan,
    prepared: &Prepared,
    explain: &mut Explainer,
) -> Result<Infallible, Failure> {
    let filter = prepared.filter.as_ref();
    let [stdin, stdout, stderr] = &prepared.stdio;
    dup2_stdin(stdin).step(|| "set stdin".to_owned())?;
    dup2_stdout(stdout).step(|| "set stdout".to_owned())?;
    dup2_stderr(stderr).step(|| "set stderr".to_owned())?;
    if prepared.reaper {
        reaper::stay_behind()?;
    }
    if process.terminal {
        ioctl_tiocsctty(stdin).step(|| "take the terminal".to_owned())?;
    }
    privileges::filter_early(process, filter, explain)?;
    privileges::become_user(process, explain)?;
    settings::enter_working_directory(process)?;
    privileges::set(process, explain)?;
    privileges::filter_late(process, filter, explain)?;
    umask(Mode::from_raw_mode(process.umask));
    // Everything that is not standard goes at the exec, the channel too: its end is the news that
    // the program runs.
    fds::cloexec_from(3).step(|| "mark descriptors close-on-exec".to_owned())?;
    explain.report(
        "execute",
        "the process becomes the program",
        format!("exec {}", words(process)),
        std::time::Duration::ZERO,
    );
    execute(process)
}

fn words(process: &ProcessPlan) -> String {
    let args = process.args.as_slice().iter();
    args.map(|arg| arg.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Tries the candidates in turn, as execvp(3): a directory of PATH without the program is passed
/// over, one with a program that may not be executed is remembered.
fn execute(process: &ProcessPlan) -> Result<Infallible, Failure> {
    let mut denied = None;
    for candidate in &process.candidates {
        let Err(errno) = exec::execve(candidate, &process.args, &process.env);
        match errno {
            Errno::NOENT | Errno::NOTDIR => {
                // A script or a binary whose interpreter is missing answers ENOENT as well.
                if statat(CWD, candidate.as_c_str(), AtFlags::empty()).is_ok() {
                    denied = Some(Errno::NOENT);
                }
            }
            Errno::ACCESS if is_directory(candidate) => denied = Some(Errno::ISDIR),
            Errno::ACCESS => denied = Some(Errno::ACCESS),
            other => return Err(refused(process, other)),
        }
    }
    Err(denied.map_or_else(|| not_found(process), |errno| refused(process, errno)))
}

fn is_directory(path: &std::ffi::CStr) -> bool {
    statat(CWD, path, AtFlags::empty())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Docker's words, which people and scripts know.
fn not_found(process: &ProcessPlan) -> Failure {
    let name = &process.name;
    let message = if name.contains('/') {
        format!("exec: {name:?}: stat {name}: no such file or directory")
    } else {
        format!("exec: {name:?}: executable file not found in $PATH")
    };
    Failure {
        message,
        errno: Some(Errno::NOENT.raw_os_error()),
        code: 127,
    }
}

fn refused(process: &ProcessPlan, errno: Errno) -> Failure {
    let name = &process.name;
    let why = match errno {
        Errno::NOENT => "no such file or directory (its interpreter is missing)".to_owned(),
        Errno::NOEXEC => "exec format error".to_owned(),
        Errno::ISDIR => "is a directory".to_owned(),
        other => describe(other),
    };
    Failure {
        message: format!("exec: {name:?}: {why}"),
        errno: Some(errno.raw_os_error()),
        code: if errno == Errno::NOENT { 127 } else { 126 },
    }
}
