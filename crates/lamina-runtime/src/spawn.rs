//! The clone, and what goes along with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use lamina_sys::clone::{CloneRequest, Cloned, clone3};
use lamina_types::explain::Explainer;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, openat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::begun::Begun;
use crate::cgroup::Cgroup;
use crate::channel;
use crate::create::{CreateError, failed};
use crate::init::{self, Network};
use crate::plan::Plan;
use crate::plan::namespaces::as_unshare;

/// The name of the FIFO in a bundle whose first byte starts the program.
pub(crate) const START_FIFO: &str = "start.fifo";

/// Makes the FIFO and opens its reading end, which also holds it open for the writer.
pub(crate) fn make_fifo(bundle: &Path) -> Result<OwnedFd, CreateError> {
    let path = bundle.join(START_FIFO);
    let shown = || format!("make {}", path.display());
    match mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(shown())(errno)),
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(CWD, &path, flags, Mode::empty()).map_err(failed(shown()))
}

/// What has been decided and made before the clone.
pub(crate) struct Decided<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) bundle: &'a Path,
    /// The pipe the init process writes its step records to.
    pub(crate) explain_pipe: Option<BorrowedFd<'a>>,
    pub(crate) cgroup: Option<&'a Cgroup>,
    /// A network namespace that is made already; one that is not planned goes.
    pub(crate) network: Option<OwnedFd>,
}

/// Clones the init process, which sets itself up from then on.
pub(crate) fn init(decided: Decided<'_>, explain: &mut Explainer) -> Result<Begun, CreateError> {
    let Decided {
        plan,
        bundle,
        explain_pipe,
        cgroup,
        network,
    } = decided;
    let mut namespaces = plan.namespaces.create;
    let network = network.filter(|_| namespaces.contains(UnshareFlags::NEWNET));
    if network.is_some() {
        namespaces -= UnshareFlags::NEWNET;
    }
    let (ours, theirs) = channel::pair().map_err(failed("make the channel to the init process"))?;
    let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let explain_pipe = explain_pipe.map(copy).transpose();
    let explain_pipe = explain_pipe.map_err(failed("keep the pipe for steps"))?;
    let context = init::Context {
        plan,
        network: network.map_or(Network::Planned, Network::Made),
        bundle,
        channel: theirs,
    };
    let directory = match cgroup {
        Some(cgroup) if cgroup.is_unified() => Some(cgroup.directory()?),
        _ => None,
    };
    let begun = Instant::now();
    match clone(plan, namespaces, directory.as_ref())? {
        Cloned::Child => init::main(&context, explain_pipe.as_ref()),
        Cloned::Parent { pid, pidfd } => {
            drop(context);
            if explain.is_on() {
                let why = "a new process in namespaces of its own";
                explain.report("clone", why, as_unshare(namespaces), begun.elapsed());
            }
            Ok(Begun {
                pid,
                pidfd: rustix::io::fcntl_dupfd_cloexec(&pidfd, 3).unwrap_or(pidfd),
                channel: ours,
                cgroup: None,
            })
        }
    }
}

/// Clones, inside a joined pid namespace if there is one: only children are born into it, so the
/// caller enters it for its children's sake and goes back.
fn clone(
    plan: &Plan,
    namespaces: UnshareFlags,
    directory: Option<&OwnedFd>,
) -> Result<Cloned, CreateError> {
    let request = CloneRequest {
        namespaces: u64::from(namespaces.bits()),
        cgroup: directory.map(AsFd::as_fd),
        sibling: false,
    };
    let Some(path) = &plan.namespaces.join_pid else {
        return clone3(&request).map_err(failed("clone the init process"));
    };
    let open = |path: &Path| openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let enter =
        |fd: &OwnedFd| move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::ProcessID));
    let act = || format!("join the pid namespace {}", path.display());
    let own = open(Path::new("/proc/self/ns/pid")).map_err(failed(act()))?;
    let theirs = open(path).map_err(failed(act()))?;
    enter(&theirs).map_err(failed(act()))?;
    let cloned = clone3(&request).map_err(failed("clone the init process"));
    if !matches!(cloned, Ok(Cloned::Child)) {
        enter(&own).map_err(failed("return to the pid namespace"))?;
    }
    cloned
}
