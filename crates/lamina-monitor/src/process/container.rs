//! The one place where the monitor calls the runtime.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_fs::{Dir, PathError};
use lamina_runtime::{
    Ahead, Bundle, Cgroup, CgroupError, CreateError, CreateRequest, JoinRequest, Start, Stdio,
    start_outcome,
};
use lamina_types::ErrorKind;
use lamina_types::explain::Explainer;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::end::{self, End};
use super::stdio::{self, Ours, Output, Streams, Theirs};
use crate::config::{LogDriver, MonitorConfig};
use crate::log::Stream;
use crate::protocol::Failure;
use crate::record::Identity;

/// A container's init and what came with it.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) pidfd: OwnedFd,
    /// Readable when init has executed the program or failed to; `None` once that is known.
    pub(super) errors: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    /// The mount namespace of a container that goes with its end. The last to let go of it waits
    /// for its unmounting, several tenths of a millisecond: init would, before its end is told.
    mounts: Option<OwnedFd>,
    /// Whether the end of init leaves other processes alive: its pid namespace is not its own.
    has_survivors: bool,
    /// Whether this process made it, and so is the one that reaps it.
    is_child: bool,
}

/// The documents of a bundle.
#[derive(Debug)]
pub(super) struct Documents {
    pub(super) config: MonitorConfig,
    pub(super) bundle: Bundle,
}

/// A container whose init sets itself up.
#[derive(Debug)]
pub(super) struct Begun {
    container: lamina_runtime::Begun,
    ours: Ours,
}

/// How a container is made.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Whether init becomes the program when [`Begun::start`] is called, otherwise when [`start`]
    /// is.
    pub(super) start: bool,
    /// What the program writes to where its output passes through.
    pub(super) streams: Option<&'a Streams>,
    /// Where init writes its steps to.
    pub(super) pipe: Option<BorrowedFd<'a>>,
    pub(super) ahead: Ahead,
}

/// Makes the container's init.
pub(super) fn begin(
    dir: &Dir,
    documents: &Documents,
    wanted: Wanted<'_>,
    explain: &mut Explainer,
) -> Result<Begun, Failure> {
    let Documents { config, bundle } = documents;
    let (stdio, ours) = if config.tty {
        (Stdio::Terminal, Ours::default())
    } else {
        let (theirs, ours) = streams(dir, documents, wanted.streams, explain)
            .map_err(|e| Failure::new(125, e.kind(), &e))?;
        let stdio = Stdio::Fds {
            stdin: theirs.stdin,
            stdout: theirs.stdout,
            stderr: theirs.stderr,
        };
        (stdio, ours)
    };
    if let Some(init) = &config.joins {
        let container = join(init, documents, stdio, &wanted, explain)?;
        return Ok(Begun { container, ours });
    }
    let request = CreateRequest {
        id: &config.id,
        spec: &bundle.spec,
        filter: bundle.filter.as_deref(),
        rootfs: bundle.rootfs().map_err(|e| failed(&e.into()))?,
        bundle: dir.path(),
        stdio,
        start: match wanted.start {
            true => Start::Ordered,
            false => Start::Fifo,
        },
        explain,
        explain_pipe: wanted.pipe,
        init_reaper: config.init_reaper,
    };
    let container = lamina_runtime::begin(request, wanted.ahead).map_err(|e| failed(&e))?;
    Ok(Begun { container, ours })
}

/// Makes what the program reads from and writes to.
fn streams(
    dir: &Dir,
    Documents { config, bundle }: &Documents,
    passed: Option<&Streams>,
    explain: &mut Explainer,
) -> Result<(Theirs, Ours), PathError> {
    let owner = owner(&bundle.spec);
    if config.log.driver == LogDriver::Passthrough {
        return stdio::passed(dir, owner, config.stdin_open, passed);
    }
    explain.step(
        "make pipes",
        "output goes through named pipes that survive this monitor",
        || "mkfifo stdout stderr".to_owned(),
        || stdio::pipes(dir, owner, config.stdin_open),
    )
}

/// Makes a further process of a container that runs.
fn join(
    init: &Identity,
    documents: &Documents,
    stdio: Stdio,
    wanted: &Wanted<'_>,
    explain: &mut Explainer,
) -> Result<lamina_runtime::Begun, Failure> {
    let gone = || {
        let message = format!("container {} is not running", documents.config.id);
        Failure::text(125, ErrorKind::FailedPrecondition, message)
    };
    let found = init.find().map_err(|e| Failure::new(125, e.kind(), &e))?;
    let container = found.ok_or_else(gone)?;
    let request = JoinRequest {
        spec: &documents.bundle.spec,
        filter: documents.bundle.filter.as_deref(),
        init: init.pid().ok_or_else(gone)?,
        container: container.as_fd(),
        stdio,
        explain,
        explain_pipe: wanted.pipe,
    };
    lamina_runtime::join(request).map_err(|e| failed(&e))
}

pub(super) fn failed(error: &CreateError) -> Failure {
    Failure::new(125, error.kind(), error)
}

impl Begun {
    pub(super) fn pid(&self) -> Pid {
        self.container.pid()
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.container.pidfd()
    }

    /// Lets init execute the program once all is set up.
    pub(super) fn start(&self) -> Result<(), Failure> {
        self.container.start().map_err(|e| failed(&e))
    }

    /// Waits until init is set up.
    pub(super) fn ready(
        self,
        documents: &Documents,
        explain: &mut Explainer,
    ) -> Result<(Container, Ours), Failure> {
        let mut ours = self.ours;
        let created = self.container.ready(explain).map_err(|e| failed(&e))?;
        if let Some(terminal) = created.terminal {
            ours = of_terminal(terminal, documents.config.stdin_open)?;
        }
        let container = Container {
            mounts: mounts_of(created.pid, &documents.config),
            pidfd: created.pidfd,
            errors: Some(created.errors),
            cgroup: created.cgroup,
            has_survivors: has_survivors(documents),
            is_child: true,
        };
        Ok((container, ours))
    }
}

/// Opens the mount namespace of a container that goes with its end.
fn mounts_of(init: Pid, config: &MonitorConfig) -> Option<OwnedFd> {
    if !config.remove {
        return None;
    }
    let path = format!("/proc/{}/ns/mnt", init.as_raw_pid());
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn has_survivors(documents: &Documents) -> bool {
    documents.config.joins.is_none() && !has_own_pids(&documents.bundle.spec)
}

/// Finds the cgroup of a container that another monitor has made; one that a process joins is none
/// of its supervisor's. Without it the container is supervised all the same; whoever cleans up looks
/// for it again.
fn cgroup_of(Documents { config, bundle }: &Documents) -> Option<Cgroup> {
    if config.joins.is_some() {
        return None;
    }
    Cgroup::of_container(&bundle.spec, &config.id).ok()?
}

/// The user the program runs as, who owns its pipes.
fn owner(spec: &Spec) -> (u32, u32) {
    let user = spec.process().as_ref().map(|process| process.user());
    user.map_or((0, 0), |user| (user.uid(), user.gid()))
}

fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
    namespaces
        .into_iter()
        .flatten()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Pid && namespace.path().is_none())
}

/// A terminal is one descriptor for both directions.
fn of_terminal(terminal: OwnedFd, stdin_open: bool) -> Result<Ours, Failure> {
    let failed = |e: std::io::Error| Failure::new(125, ErrorKind::of_io(&e), &e);
    rustix::io::ioctl_fionbio(&terminal, true).map_err(|e| failed(e.into()))?;
    let stdin = match stdin_open {
        true => Some(terminal.try_clone().map_err(failed)?),
        false => None,
    };
    Ok(Ours {
        stdin,
        outputs: vec![Output {
            fd: terminal,
            stream: Stream::Stdout,
            at_end: false,
        }],
    })
}

/// Lets init execute the program.
pub(super) fn start(bundle: &Dir) -> Result<(), Failure> {
    lamina_runtime::start(bundle.path()).map_err(|e| Failure::new(e.code(), e.kind(), &e))
}

/// Reads what the start came to, when the channel is readable.
pub(super) fn read_start(errors: &OwnedFd) -> Result<(), Failure> {
    start_outcome(errors).map_err(|e| Failure::new(e.code(), e.kind(), &e))
}

impl Container {
    /// Takes over a container that a monitor before this one has made, and whose program runs.
    pub(super) fn adopted(documents: &Documents, init: Pid, pidfd: OwnedFd) -> Self {
        Self {
            mounts: mounts_of(init, &documents.config),
            pidfd,
            errors: None,
            cgroup: cgroup_of(documents),
            has_survivors: has_survivors(documents),
            is_child: false,
        }
    }

    /// Takes over what is left of a container whose init has ended: its end is heard at once.
    pub(super) fn ended(documents: &Documents) -> Result<Self, Errno> {
        // Stands for a pidfd, and is ready as that of a dead process is.
        let (ready, _) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self {
            mounts: None,
            pidfd: ready,
            errors: None,
            cgroup: cgroup_of(documents),
            has_survivors: has_survivors(documents),
            is_child: false,
        })
    }

    /// Says how init has ended, which its pidfd has told.
    pub(super) fn end(&self, init: &Identity) -> Result<End, Errno> {
        match self.is_child {
            true => end::of_child(self.pidfd.as_fd()),
            false => Ok(end::of_stranger(self.pidfd.as_fd(), init)),
        }
    }

    /// Kills what init's end does not: processes that share a pid namespace with others.
    pub(super) fn kill_leftovers(&self) {
        if let (true, Some(cgroup)) = (self.has_survivors, &self.cgroup) {
            // Whoever removes the cgroup kills what is left again, and reports.
            let _ = cgroup.kill_all();
        }
    }

    /// Lets go of its mounts: they are gone when this returns.
    pub(super) fn unmount(&mut self) {
        self.mounts = None;
    }

    /// Removes its control groups, which are empty by now, so that whoever cleans up need not.
    /// Returns whether all are gone.
    pub(super) fn remove_cgroup(&self) -> bool {
        let directories = self.cgroup.iter().flat_map(Cgroup::directories);
        let left = directories.filter(|dir| {
            // Whoever cleans up tries again, and harder.
            !matches!(rustix::fs::rmdir(*dir), Ok(()) | Err(Errno::NOENT))
        });
        left.count() == 0
    }

    /// Removes its control groups with what is left in them; waits for seconds where it must.
    pub(super) fn remove_cgroup_patiently(&self) -> Result<(), CgroupError> {
        self.cgroup.as_ref().map_or(Ok(()), Cgroup::remove)
    }

    /// Returns whether the kernel killed one of its processes for want of memory.
    pub(super) fn was_oom_killed(&self) -> bool {
        self.cgroup
            .as_ref()
            .is_some_and(|cgroup| cgroup.oom_kills() > 0)
    }
}
