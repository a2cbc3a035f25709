//! `create`: a spec becomes a process that has everything but the program.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use lamina_sys::clone::{CloneRequest, Cloned, clone3};
use lamina_sys::signals;
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, ErrorKind, Rootfs};
use oci_spec::runtime::Spec;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cgroup::hierarchy::{Hierarchies, Version};
use crate::cgroup::{Cgroup, CgroupError};
use crate::init;
use crate::init::report::{self, Failure, Report};
use crate::plan::{Plan, PlanError};

/// What becomes the program's stdin, stdout and stderr.
#[derive(Debug)]
pub enum Stdio {
    /// These descriptors; create closes them in the caller.
    Fds {
        /// Read by the program.
        stdin: OwnedFd,
        /// Written by the program.
        stdout: OwnedFd,
        /// Written by the program.
        stderr: OwnedFd,
    },
    /// A pty of the container's own devpts; the spec's `process.terminal` must say so too. Its
    /// master comes back as [`Created::terminal`].
    Terminal,
}

/// What [`create`] makes a container from.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// The container's id.
    pub id: &'a ContainerId,
    /// The OCI spec, as read from the bundle.
    pub spec: &'a Spec,
    /// How its root filesystem is mounted.
    pub rootfs: &'a Rootfs,
    /// The bundle: a directory of ours, where the start FIFO is made.
    pub bundle: &'a Path,
    /// The standard streams.
    pub stdio: Stdio,
    /// Where the caller's own steps are told.
    pub explain: &'a mut Explainer,
    /// The pipe the init process writes its step records to, as JSON lines.
    pub explain_pipe: Option<BorrowedFd<'a>>,
    /// Whether a reaper is pid 1 and the program its child (`--init`).
    pub init_reaper: bool,
}

/// A container that waits to be started.
#[derive(Debug)]
pub struct Created {
    /// The init process, in the caller's pid namespace; a child of the caller.
    pub pid: Pid,
    /// The same process, safe against reuse of its number.
    pub pidfd: OwnedFd,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// The channel on which a failure to execute arrives ([`start_outcome`](crate::start_outcome)); the end of file
    /// means that the program runs. Readable when there is news.
    pub errors: OwnedFd,
    /// Its cgroup; `None` where this machine has none mounted.
    pub cgroup: Option<Cgroup>,
}

/// Why a container could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The spec cannot be run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A cgroup or a limit.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A system call of the parent's.
    #[error("{act}")]
    Io {
        /// What was being done, with the path.
        act: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The init process could not set the container up.
    #[error("set up the container: {}", .0.message)]
    Init(Failure),
    /// The init process was gone before it could say why: killed, as a rule.
    #[error("set up the container: the init process ended without a word")]
    InitGone,
    /// The standard streams and the spec disagree about a terminal.
    #[error("the spec and the standard streams disagree about a terminal")]
    Terminal,
}

impl CreateError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Plan(error) => error.kind(),
            Self::Cgroup(error) => error.kind(),
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Init(failure) => failure.kind(),
            Self::InitGone => ErrorKind::Internal,
            Self::Terminal => ErrorKind::InvalidArgument,
        }
    }
}

fn failed(act: impl Into<String>) -> impl FnOnce(Errno) -> CreateError {
    move |errno| CreateError::Io {
        act: act.into(),
        source: errno.into(),
    }
}

/// The name of the FIFO in a bundle whose first byte starts the program.
pub(crate) const START_FIFO: &str = "start.fifo";

/// Where a container's cgroup is when its spec names none.
fn cgroup_path(request: &CreateRequest<'_>) -> PathBuf {
    let named = request
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.cgroups_path().clone());
    named.unwrap_or_else(|| PathBuf::from(format!("/lamina/lamina-{}", request.id)))
}

/// Makes the container's cgroups, namespaces and file systems, up to the point where only the
/// program is missing; the init process then waits for [`start`](crate::start()).
///
/// The caller must have one thread and is the parent of the init process: it reaps it. On failure
/// nothing is left: the process is killed and reaped, the cgroups are removed.
pub fn create(request: CreateRequest<'_>) -> Result<Created, CreateError> {
    let plan = request.explain.step(
        "plan",
        "everything that will be done is decided before anything is done",
        String::new,
        || Plan::new(request.spec, request.rootfs),
    )?;
    if plan.process.terminal != matches!(request.stdio, Stdio::Terminal) {
        return Err(CreateError::Terminal);
    }
    let fifo = make_fifo(request.bundle)?;
    let hierarchies = Hierarchies::discover()?;
    let resources = request
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref());
    let path = cgroup_path(&request);
    let cgroup = match hierarchies.version {
        Version::None => None,
        _ => Some(request.explain.step(
            "cgroups",
            "limits and accounts for all processes of the container together",
            || hierarchies.command(&path),
            || Cgroup::create(&hierarchies, &path, resources),
        )?),
    };
    let made = spawn(request, &plan, cgroup.as_ref(), fifo);
    match made {
        Ok(spawned) => Ok(Created {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            terminal: spawned.terminal,
            errors: spawned.channel,
            cgroup,
        }),
        Err(error) => {
            // The first failure is what is told; a cgroup that stays is found by its lease.
            let _ = cgroup.map(|cgroup| cgroup.remove());
            Err(error)
        }
    }
}

/// Makes the FIFO and opens its reading end, which also holds it open for the writer.
fn make_fifo(bundle: &Path) -> Result<OwnedFd, CreateError> {
    let path = bundle.join(START_FIFO);
    let shown = || format!("make {}", path.display());
    match mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(shown())(errno)),
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(CWD, &path, flags, Mode::empty()).map_err(failed(shown()))
}

struct Spawned {
    pid: Pid,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
    channel: OwnedFd,
}

fn spawn(
    request: CreateRequest<'_>,
    plan: &Plan,
    cgroup: Option<&Cgroup>,
    fifo: OwnedFd,
) -> Result<Spawned, CreateError> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed("make the channel to the init process"))?;
    let stdio = match request.stdio {
        Stdio::Fds {
            stdin,
            stdout,
            stderr,
        } => Some([stdin, stdout, stderr]),
        Stdio::Terminal => None,
    };
    let copy = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 3);
    let explain_pipe = request.explain_pipe.map(copy).transpose();
    let context = init::Context {
        plan,
        cgroup,
        bundle: request.bundle,
        channel: theirs,
        fifo: Cell::new(Some(fifo)),
        stdio,
        explain: explain_pipe.map_err(failed("keep the pipe for steps"))?,
        reaper: request.init_reaper,
    };
    let directory = match cgroup {
        Some(cgroup) if cgroup.is_unified() => Some(cgroup.directory()?),
        _ => None,
    };
    let begun = Instant::now();
    let cloned = clone(plan, directory.as_ref())?;
    match cloned {
        Cloned::Child => init::main(&context),
        Cloned::Parent { pid, pidfd } => {
            drop(context);
            if request.explain.is_on() {
                let why = "a new process in namespaces of its own";
                let command = plan.namespaces.as_unshare();
                request
                    .explain
                    .report("clone", why, command, begun.elapsed());
            }
            let readied = ready(&ours, request.explain);
            readied
                .map(|terminal| Spawned {
                    pid,
                    terminal,
                    channel: ours,
                    pidfd: rustix::io::fcntl_dupfd_cloexec(&pidfd, 3).unwrap_or(pidfd),
                })
                .inspect_err(|_| {
                    // 9 is SIGKILL. It may be gone already; then there is only the reaping to do.
                    let _ = signals::kill(pid, 9);
                    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
                })
        }
    }
}

/// Clones, inside a joined pid namespace if there is one: only children are born into it, so the
/// caller enters it for its children's sake and goes back.
fn clone(plan: &Plan, directory: Option<&OwnedFd>) -> Result<Cloned, CreateError> {
    let request = CloneRequest {
        namespaces: u64::from(plan.namespaces.create.bits()),
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

/// Waits until the child is set up, or says why not.
fn ready(channel: &OwnedFd, explain: &mut Explainer) -> Result<Option<OwnedFd>, CreateError> {
    let received = explain.step(
        "wait for init",
        "it mounts, masks and limits meanwhile",
        String::new,
        || report::receive(channel.as_fd()),
    );
    match received.map_err(failed("hear from the init process"))? {
        Some((Report::Ready, terminal)) => Ok(terminal),
        Some((Report::SetUp(failure) | Report::Start(failure), _)) => {
            Err(CreateError::Init(failure))
        }
        None => Err(CreateError::InitGone),
    }
}
