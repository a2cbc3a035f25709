//! `create`: a spec becomes a process that has everything but the program.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, ErrorKind, Rootfs};
use oci_spec::runtime::{LinuxSeccomp, Spec};
use rustix::io::Errno;
use rustix::process::Pid;
use serde_json::value::RawValue;

use crate::ahead::{Ahead, Expected};
use crate::begun::Begun;
use crate::cgroup::hierarchy::{Hierarchies, Version};
use crate::cgroup::{self, Cgroup, CgroupError, CgroupPlan};
use crate::init::orders::{Order, Outfit};
use crate::init::report::Failure;
use crate::placement::Placed;
use crate::plan::{Plan, PlanError};
use crate::seccomp::Program;
use crate::seccomp::compile::compile;
use crate::spawn::{self, Decided};

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

impl Stdio {
    pub(crate) fn into_descriptors(self) -> Option<[OwnedFd; 3]> {
        match self {
            Self::Fds {
                stdin,
                stdout,
                stderr,
            } => Some([stdin, stdout, stderr]),
            Self::Terminal => None,
        }
    }
}

/// Who lets the program be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// [`start`](crate::start()), perhaps from another process: a FIFO is made in the bundle.
    Fifo,
    /// [`Begun::start`], by the caller, who need not wait until all is set up.
    Ordered,
}

/// What [`create`] makes a container from.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// The container's id.
    pub id: &'a ContainerId,
    /// The OCI spec, as read from the bundle.
    pub spec: &'a Spec,
    /// Its `linux.seccomp`, if that was left out of the spec to be read while init works.
    pub filter: Option<&'a RawValue>,
    /// How its root filesystem is mounted.
    pub rootfs: &'a Rootfs,
    /// The bundle: a directory of ours, where the start FIFO is made.
    pub bundle: &'a Path,
    /// The standard streams.
    pub stdio: Stdio,
    /// Who lets the program be executed.
    pub start: Start,
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

pub(crate) fn failed(act: impl Into<String>) -> impl FnOnce(Errno) -> CreateError {
    move |errno| CreateError::Io {
        act: act.into(),
        source: errno.into(),
    }
}

/// Makes the container's cgroups, namespaces and file systems, up to the point where only the
/// program is missing; the init process then waits for [`start`](crate::start()).
///
/// The caller must have one thread and is the parent of the init process: it reaps it. On failure
/// nothing is left: the process is killed and reaped, the cgroups are removed.
pub fn create(request: CreateRequest<'_>) -> Result<Created, CreateError> {
    let CreateRequest { explain, .. } = request;
    let ahead = Ahead::prepare(Expected::default(), explain)?;
    let request = CreateRequest {
        explain: &mut *explain,
        ..request
    };
    begin(request, ahead)?.ready(explain)
}

/// The first half of [`create`]: returns when the init process exists and has all it needs to set
/// itself up, which it does meanwhile.
pub fn begin(request: CreateRequest<'_>, ahead: Ahead) -> Result<Begun, CreateError> {
    let CreateRequest { spec, explain, .. } = request;
    let mut plan = explain.step(
        "plan",
        "everything that will be done is decided before anything is done",
        String::new,
        || Plan::new(spec, request.rootfs),
    )?;
    let linux = spec.linux().as_ref();
    let filter = Filter {
        spec: linux.and_then(|linux| linux.seccomp().as_ref()),
        text: request.filter,
    };
    plan.is_filtered = filter.is_some();
    if plan.process.terminal != matches!(request.stdio, Stdio::Terminal) {
        return Err(CreateError::Terminal);
    }
    let groups = Groups::plan(&ahead.hierarchies, spec, request.id)?;
    let outfit = Outfit {
        fifo: match request.start {
            Start::Fifo => Some(spawn::make_fifo(request.bundle)?),
            Start::Ordered => None,
        },
        streams: request.stdio.into_descriptors(),
        reaper: request.init_reaper,
    };
    let newborn = ahead.newborn;
    let fitting = newborn.and_then(|newborn| newborn.fitting(&plan.namespaces));
    let (mut begun, placed) = match fitting {
        Some(fitting) => fitting,
        None => {
            if groups.are_born_into() {
                groups.make(explain)?;
            }
            let decided = Decided {
                plan: &plan,
                bundle: request.bundle,
                explain_pipe: request.explain_pipe,
                cgroup: groups.cgroup(),
                network: ahead.network,
            };
            let begun = spawn::init(decided, explain).inspect_err(|_| {
                // The first failure is what is told; a cgroup that stays is found by its lease.
                let _ = groups.cgroup().map(Cgroup::remove);
            })?;
            let placed = ahead.idle_cpu.and_then(|cpu| Placed::on(cpu, begun.pid));
            (begun, placed)
        }
    };
    begun.cgroup = groups.cgroup().cloned();
    let supplied = supply(&begun, &groups, &filter, explain)
        .and_then(|()| begun.order(&Order::Outfit(outfit)));
    drop(placed);
    match supplied {
        Ok(()) => Ok(begun),
        Err(error) => {
            begun.abandon();
            Err(error)
        }
    }
}

/// Makes what init needs later than at its birth, while it builds its root.
fn supply(
    begun: &Begun,
    groups: &Groups<'_>,
    filter: &Filter<'_>,
    explain: &mut Explainer,
) -> Result<(), CreateError> {
    if !groups.are_born_into() {
        groups.make(explain)?;
    }
    begun.order(&Order::Join(groups.cgroup().cloned()))?;
    filter.supply(begun, explain)
}

/// Where the system call filter is: in the spec, or in a text of its own.
pub(crate) struct Filter<'a> {
    pub(crate) spec: Option<&'a LinuxSeccomp>,
    pub(crate) text: Option<&'a RawValue>,
}

impl Filter<'_> {
    pub(crate) fn is_some(&self) -> bool {
        self.spec.is_some() || self.text.is_some()
    }

    /// Compiles it, if there is one, and sends it to the process that waits for it.
    pub(crate) fn supply(&self, begun: &Begun, explain: &mut Explainer) -> Result<(), CreateError> {
        if !self.is_some() {
            return Ok(());
        }
        let program = explain.step(
            "compile the filter",
            "the allowed system calls become a program for the kernel, while init works",
            String::new,
            || self.compile(),
        )?;
        program.map_or(Ok(()), |program| begun.order(&Order::Filter(program)))
    }

    fn compile(&self) -> Result<Option<Program>, PlanError> {
        if let Some(text) = self.text {
            let seccomp = serde_json::from_str(text.get()).map_err(PlanError::Filter)?;
            return Ok(Some(compile(&seccomp)?));
        }
        Ok(self.spec.map(compile).transpose()?)
    }
}

/// The control groups of a container that is being made.
struct Groups<'a> {
    hierarchies: &'a Hierarchies,
    path: PathBuf,
    /// `None` where this machine has none mounted.
    plan: Option<CgroupPlan<'a>>,
}

impl<'a> Groups<'a> {
    fn plan(
        hierarchies: &'a Hierarchies,
        spec: &'a Spec,
        id: &ContainerId,
    ) -> Result<Self, CreateError> {
        let path = cgroup::path_of(spec, id);
        let linux = spec.linux().as_ref();
        let resources = linux.and_then(|linux| linux.resources().as_ref());
        let plan = match hierarchies.version {
            Version::None => None,
            _ => Some(CgroupPlan::new(hierarchies, &path, resources)?),
        };
        Ok(Self {
            hierarchies,
            path,
            plan,
        })
    }

    fn cgroup(&self) -> Option<&Cgroup> {
        self.plan.as_ref().map(|plan| &plan.cgroup)
    }

    /// A process is born into a cgroup of version 2; into those of version 1 it moves later.
    fn are_born_into(&self) -> bool {
        self.hierarchies.version == Version::V2
    }

    fn make(&self, explain: &mut Explainer) -> Result<(), CgroupError> {
        let Some(plan) = &self.plan else {
            return Ok(());
        };
        explain.step(
            "cgroups",
            "limits and accounts for all processes of the container together",
            || self.hierarchies.command(&self.path),
            || plan.make(self.hierarchies),
        )
    }
}
