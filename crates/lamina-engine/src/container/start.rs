//! `start`: a container's record becomes a bundle, a monitor and a process.
//!
//! The specification is built anew from the record every time, so a start after a reboot, on
//! another kernel or after an update of this program is no special case.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use lamina_fs::{LockError, PathError};
use lamina_monitor::events::Event;
use lamina_monitor::{
    Ahead, Begin, ConnectError, Liveness, LivenessError, Session, SessionError, SpawnError,
    Spawned, liveness,
};
use lamina_runtime::CONFIG_JSON;
use lamina_store::{Line, OpError, Operation};
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, ErrorKind, Rootfs};
use rustix::termios::isatty;

use crate::Engine;
use crate::container::cleanup::{self, CleanupError};
use crate::container::early::Early;
use crate::container::find::{Container, FindError};
use crate::container::{restart, stop};
use crate::devices::DeviceError;
use crate::events::container_event;
use crate::logging::{LogRequestError, PASSTHROUGH};
use crate::process::{self, ProcessError, ProcessPlan};
use crate::record::Record;
use crate::request::{CreateRequest, NamespaceMode, NetworkMode};
use crate::rootfs::RootfsError;
use crate::selinux::LabelError;
use crate::spec::SpecError;
use crate::users::UserError;
use crate::volumes::VolumeError;

/// How a container is started.
#[derive(Debug, Default)]
pub struct StartOptions {
    /// The pipe that the monitor and init write their steps to (`--explain`).
    pub explain_pipe: Option<OwnedFd>,
    /// A monitor that lives already; a run uses it instead of one of its own.
    pub early: Option<Early>,
    /// Whether the caller is attached to the container from the start.
    pub attached: bool,
    /// Whether this is the second half of a restart that somebody asked for.
    pub restarts: bool,
    /// What the caller writes to, for a program whose output passes through.
    pub streams: Option<Streams>,
}

/// A process's stdout and stderr.
pub type Streams = [BorrowedFd<'static>; 2];

impl StartOptions {
    /// Returns what is told of with the start of a container that was there.
    pub(crate) fn events_before(&self, record: &Record) -> Vec<Event> {
        let attach = self.attached.then(|| container_event(record, "attach"));
        attach.into_iter().collect()
    }
}

/// What a start is made of, beside the container.
pub(crate) struct Launch<'a> {
    pub rootfs: &'a Rootfs,
    /// Names the bundle already; the caller finishes it, or drops it to undo.
    pub operation: &'a Operation,
    /// What is told of with the start.
    pub before: Vec<Event>,
    /// Whether a restart is told of, too.
    pub restarts: bool,
    /// See [`StartOptions::streams`].
    pub streams: Option<Streams>,
}

/// Why a container cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Somebody else holds the container for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// It runs already.
    #[error("container {0} is already running")]
    Running(ContainerId),
    /// What a former run left is in the way.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    /// Image and request do not make a process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The user is not known in the image.
    #[error(transparent)]
    User(#[from] UserError),
    /// A device cannot be given.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A label cannot be set.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A volume is not there.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The request breaks a rule.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A file of the host's that is to be mounted does not exist any more.
    #[error("bind source path does not exist: {path}", path = .0.display())]
    BindSource(PathBuf),
    /// Its output would pass through to a terminal.
    #[error(transparent)]
    Log(#[from] LogRequestError),
    /// The root filesystem is not there.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The operation cannot be noted.
    #[error("note the operation")]
    Op(#[from] OpError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The monitor cannot be executed.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The monitor that is to start it again does not answer.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The container could not be made or its program not executed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl StartError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::Running(_) => ErrorKind::FailedPrecondition,
            Self::Cleanup(error) => error.kind(),
            Self::Process(error) => error.kind(),
            Self::User(error) => error.kind(),
            Self::Device(error) => error.kind(),
            Self::Label(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Spec(error) => error.kind(),
            Self::BindSource(_) => ErrorKind::InvalidArgument,
            Self::Log(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
            Self::Op(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Spawn(error) => error.kind(),
            Self::Connect(error) => error.kind(),
            Self::Session(error) => error.kind(),
        }
    }

    /// Returns the exit code of the command: 126 or 127 where the program is to blame, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Session(SessionError::Failed(failure)) => failure.code,
            _ => 125,
        }
    }
}

/// A container whose program is being executed, and the conversation with its monitor.
///
/// Dropped without its session being detached, it leaves the container to its monitor all the same,
/// which then cleans up after the end.
#[derive(Debug)]
pub struct Running {
    /// The container.
    pub id: ContainerId,
    /// The conversation: relay, wait, signal.
    pub session: Session,
    pub(crate) container: Container,
}

impl Engine {
    /// Starts a container that exists and does not run.
    pub fn start(
        &self,
        id: &ContainerId,
        options: &StartOptions,
        explain: &mut Explainer,
    ) -> Result<Running, StartError> {
        let container = self.load(id)?;
        // Whoever starts what has ended needs nobody to see to the end.
        if let Liveness::Orphaned { .. } = liveness(&container.dir)? {
            drop(self.bring_back(&container));
        }
        let _lock = cleanup::lock(&container)?;
        // Whoever had the lock before may have removed or started it.
        let container = self.load(id)?;
        if let Liveness::Restarting { .. } = liveness(&container.dir)? {
            restart::forget_stopped(&container)?;
            return self.start_again(container, 0, options.streams);
        }
        if cleanup::is_alive(&container)? {
            return Err(StartError::Running(id.clone()));
        }
        restart::forget_stopped(&container)?;
        cleanup::finish(id, self.remove_run(&container.record))?;
        let monitor = self.spawn_monitor(id, &container.record.request, options, explain)?;
        let rootfs = self.existing_rootfs(id)?;
        let lines = self.run_lines(id, &container.record.request)?;
        let operation = self.store.ops().begin("start", &lines)?;
        let before = options.events_before(&container.record);
        let launch = Launch {
            rootfs: &rootfs,
            operation: &operation,
            before: before.clone(),
            restarts: options.restarts,
            streams: options.streams,
        };
        let session = self
            .launch(&container, launch, monitor, explain)
            .inspect_err(|error| self.note_failed_start(&container.record, before, error))?;
        operation.finish()?;
        Ok(Running {
            id: id.clone(),
            session,
            container,
        })
    }

    /// Starts the monitor of a container that is about to be made, or to be started: it comes to
    /// life while its bundle is written.
    pub(crate) fn spawn_monitor(
        &self,
        id: &ContainerId,
        request: &CreateRequest,
        options: &StartOptions,
        explain: &mut Explainer,
    ) -> Result<Spawned, SpawnError> {
        let isolation = &request.isolation;
        let shared = [isolation.pid, isolation.ipc, isolation.uts];
        let ahead = Ahead {
            explain_pipe: options.explain_pipe.as_ref().map(AsFd::as_fd),
            network: isolation.network != NetworkMode::Host,
            namespaces: !shared.contains(&NamespaceMode::Host),
        };
        lamina_monitor::spawn(&self.bundle(id), &self.config.binary, explain, ahead)
    }

    /// Builds the bundle, and has the monitor make and start the container.
    ///
    /// The operation names the bundle already; the caller finishes it, or drops it to undo. After
    /// an error nothing of the run is alive and nobody writes into the container's directory.
    pub(crate) fn launch(
        &self,
        container: &Container,
        launch: Launch<'_>,
        monitor: Spawned,
        explain: &mut Explainer,
    ) -> Result<Session, StartError> {
        let launched = self.try_launch(container, launch, monitor, explain);
        if launched.is_err() {
            drop(self.remove_cgroups(&container.record));
            // The monitor records the end after it has told of it: what is removed under its
            // hands is found not empty.
            drop(stop::settle(container));
        }
        launched
    }

    fn try_launch(
        &self,
        container: &Container,
        launch: Launch<'_>,
        monitor: Spawned,
        explain: &mut Explainer,
    ) -> Result<Session, StartError> {
        let Launch {
            rootfs,
            operation,
            before,
            restarts,
            streams,
        } = launch;
        let record = &container.record;
        let streams = passed(record, streams)?;
        let spec = explain.step(
            "plan the container",
            "the record and the image become one document: namespaces, mounts, user, capabilities, \
             limits (the OCI runtime specification)",
            || {
                format!(
                    "cat {}",
                    self.bundle(&record.id).join(CONFIG_JSON).display()
                )
            },
            || self.plan(container, rootfs),
        )?;
        let mut events = self.run_events(record, before);
        if restarts {
            events.start.push("restart".to_owned());
        }
        let monitor_config = self.monitor_config(container, events);
        self.write_bundle(container, &spec, rootfs, &monitor_config, explain)?;
        // All processes of the container are found by its control groups, which the operation
        // names. Where there are none, its first process is noted before it may go on.
        let groups = self.cgroup_directories(&record.id, &record.request)?;
        let start = !groups.is_empty();
        let lease = Some(operation.as_fd());
        let session = monitor.begin(Begin {
            start,
            lease,
            streams,
        })?;
        self.begun(&record.id, session, start, operation, explain)
    }

    /// Waits until the program of a container runs whose monitor has its bundle.
    pub(crate) fn begun(
        &self,
        id: &ContainerId,
        mut session: Session,
        start: bool,
        operation: &Operation,
        explain: &mut Explainer,
    ) -> Result<Session, StartError> {
        let created = explain.step(
            "wait for the container's first process",
            "the monitor makes it, and it makes its own root filesystem from inside its namespaces",
            String::new,
            || session.created().map(|created| created.state.init.clone()),
        )?;
        if let (false, Ok(pid)) = (start, i32::try_from(created.pid)) {
            operation.lease(&[Line::Process {
                pid,
                start_time: created.start_time,
                boot_id: created.boot_id,
            }])?;
        }
        explain.step(
            "start the program",
            "the first process drops what it no longer needs and becomes the program",
            || format!("echo > {}/start", self.bundle(id).display()),
            || session.start(),
        )?;
        Ok(session)
    }
}

/// Returns what a program is handed whose output passes through; nothing for any other.
pub(crate) fn passed(
    record: &Record,
    streams: Option<Streams>,
) -> Result<Option<Streams>, StartError> {
    if record.request.log.driver() != PASSTHROUGH {
        return Ok(None);
    }
    // Whoever has a terminal open can put input into it.
    let terminal = streams.iter().flatten().any(isatty);
    match terminal {
        true => Err(LogRequestError::Terminal.into()),
        false => Ok(streams),
    }
}

/// Returns the program as `ps` shows it.
pub(crate) fn command(record: &Record) -> Vec<String> {
    let plan = process::plan(&record.request, &record.image_config, &record.id);
    plan.map(|ProcessPlan { argv, .. }| argv)
        .unwrap_or_default()
}
