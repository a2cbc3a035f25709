//! A further process of a container that runs: what a clone does to become one (`exec`).
//!
//! It enters what init made. Order matters here too: what belongs to the host (its procfs, the
//! cgroups' directories) is used before the container's mounts are entered, and nothing of the
//! host's is open any more when they are.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use lamina_types::explain::Explainer;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::report::{Failure, Report, Step};
use super::{
    Prepared, become_program, cgroups, detach_from_parent, end, explainer, limit, settings,
    terminal,
};
use crate::plan::process::ProcessPlan;

/// What the parent prepared for the child.
pub(crate) struct Joining<'a> {
    pub(crate) process: &'a ProcessPlan,
    /// Whether there is a system call filter.
    pub(crate) is_filtered: bool,
    /// A pidfd of the container's init.
    pub(crate) container: BorrowedFd<'a>,
    /// The child's end of the channel to its parent.
    pub(crate) channel: OwnedFd,
}

/// Runs the child's half. Never returns.
pub(crate) fn main(joining: &Joining<'_>, explain_pipe: Option<BorrowedFd<'_>>) -> ! {
    let channel = &joining.channel;
    let explain_pipe = explain_pipe.and_then(|pipe| fcntl_dupfd_cloexec(pipe, 3).ok());
    let mut keep = vec![channel.as_raw_fd(), joining.container.as_raw_fd()];
    keep.extend(explain_pipe.iter().map(AsRawFd::as_raw_fd));
    if let Err(failure) = detach_from_parent(&keep) {
        end(channel, &Report::SetUp(failure));
    }
    let mut explain = explainer(explain_pipe.as_ref());
    let prepared = prepare(joining, &mut explain);
    become_program(channel, joining.process, prepared, &mut explain)
}

fn prepare(joining: &Joining<'_>, explain: &mut Explainer) -> Result<Prepared, Failure> {
    let process = joining.process;
    settings::oom_score(process)?;
    cgroups::enter(&joining.channel, explain)?;
    let namespaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::CONTROL_GROUP;
    explain
        .step(
            "enter the container",
            "the namespaces that its first process was made with",
            || "nsenter --mount --uts --ipc --net --cgroup".to_owned(),
            || move_into_thread_name_spaces(joining.container.as_fd(), namespaces),
        )
        .step(|| "enter the container's namespaces".to_owned())?;
    let console = match process.terminal {
        true => Some(terminal::open_joined(process)?),
        false => None,
    };
    limit(
        &joining.channel,
        process,
        joining.is_filtered,
        console,
        explain,
    )
}
