//! `exec`: a further process in a container that runs, with a supervisor of its own.
//!
//! ```text
//! $RUN/containers/<id>/exec/<eid>/   config.json, monitor.json    whom it is, what it may do
//!                                    state.json, exit.json, …     written by its supervisor
//! ```
//! It lives in the container's bundle, because it ends with the container's run. Its supervisor is
//! not the container's: whatever a client of the one does never holds up the other.

use std::path::PathBuf;

use lamina_fs::{Dir, PathError, Root};
use lamina_monitor::record::Identity;
use lamina_monitor::{
    Ahead, Begin, EventsConfig, Liveness, LivenessError, LogConfig, LogDriver, MONITOR_JSON,
    MonitorConfig, SessionError, SpawnError, Status, liveness, read_state,
};
use lamina_runtime::CONFIG_JSON;
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, ErrorKind, RestartPolicy, UserSpec};
use oci_spec::runtime::Spec;
use rustix::io::Errno;

use crate::container::bundle::{labels, write_json};
use crate::container::create::{CreateError, random_id};
use crate::container::executing::Executing;
use crate::container::executions;
use crate::container::find::{Container, FindError};
use crate::events::container_event;
use crate::files::EtcFiles;
use crate::process::{self, ProcessError};
use crate::record::Record;
use crate::request::CreateRequest;
use crate::selinux::LabelError;
use crate::spec::{self, SpecError};
use crate::users::{self, UserError};
use crate::{Engine, accounts, host, rootfs};

/// Where the processes of a container are, in its bundle.
pub(crate) const EXEC: &str = "exec";

/// What is executed in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Environment variables beside the container's own.
    pub env: Vec<String>,
    /// The working directory; `None` is the container's.
    pub workdir: Option<PathBuf>,
    /// The user; `None` is the container's.
    pub user: Option<UserSpec>,
    /// Whether there is a terminal.
    pub tty: bool,
    /// Whether stdin is kept open.
    pub stdin: bool,
    /// `--privileged`: all capabilities and no system call filter.
    pub privileged: bool,
    /// Whether it is killed when the client goes away.
    pub bound: bool,
}

/// Why nothing can be executed in a container.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// It is about to be started again.
    #[error("container {0} is restarting, wait until the container is running")]
    Restarting(ContainerId),
    /// It is paused: a process in it would not run either.
    #[error("container {0} is paused, unpause the container before exec")]
    Paused(ContainerId),
    /// The request makes no process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// There is no id for it.
    #[error(transparent)]
    Id(Box<CreateError>),
    /// The container's root cannot be looked into.
    #[error("open the root directory of container {id}")]
    Root {
        /// Which container.
        id: ContainerId,
        /// Why not.
        source: Errno,
    },
    /// The user is not known in the container.
    #[error(transparent)]
    User(#[from] UserError),
    /// A label cannot be set.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The request breaks a rule.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The supervisor cannot be executed.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The process could not be made or its program not executed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl ExecError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::NotRunning(_) | Self::Restarting(_) | Self::Paused(_) => {
                ErrorKind::FailedPrecondition
            }
            Self::Process(error) => error.kind(),
            Self::Id(error) => error.kind(),
            Self::Root { source, .. } => ErrorKind::of_io(&(*source).into()),
            Self::User(error) => error.kind(),
            Self::Label(error) => error.kind(),
            Self::Spec(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Spawn(error) => error.kind(),
            Self::Session(error) => error.kind(),
        }
    }

    /// Returns the exit code of the command: 126 or 127 where the program, its user or its
    /// directory is to blame, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Session(SessionError::Failed(failure)) => failure.code,
            Self::User(_) | Self::Process(_) => 126,
            _ => 1,
        }
    }
}

impl Engine {
    /// Executes a program in a running container; returns when it runs.
    ///
    /// Takes no lock: where the container ends meanwhile, so does the program.
    pub fn exec(
        &self,
        id: &ContainerId,
        request: &ExecRequest,
        explain: &mut Explainer,
    ) -> Result<Executing, ExecError> {
        let container = self.load_supervised(id)?;
        let (state, pidfd) = match liveness(&container.dir)? {
            Liveness::Supervised { state, pidfd } | Liveness::Orphaned { state, pidfd } => {
                (state, pidfd)
            }
            Liveness::Restarting { .. } => return Err(ExecError::Restarting(id.clone())),
            _ => return Err(ExecError::NotRunning(id.clone())),
        };
        if state.status != Status::Running {
            return Err(ExecError::NotRunning(id.clone()));
        }
        if self.is_paused(&container.record) {
            return Err(ExecError::Paused(id.clone()));
        }
        let eid = random_id().map_err(|error| ExecError::Id(Box::new(error)))?;
        let path = self.bundle(id).join(EXEC).join(eid.as_str());
        let supervisor =
            lamina_monitor::spawn(&path, &self.config.binary, explain, Ahead::default())?;
        let root = rootfs::of_process(&pidfd).map_err(|source| ExecError::Root {
            id: id.clone(),
            source,
        })?;
        let spec = self.plan_exec(&container, request, &root)?;
        let parent = executions_of(&Dir::open(self.bundle(id))?)?;
        executions::let_go_of_ended(&parent);
        let dir = parent.mkdir(eid.as_str(), 0o700)?;
        let begin = Begin {
            start: true,
            lease: None,
            streams: None,
        };
        let events = self.exec_events(&container.record, &eid, &request.args);
        let config = config(&dir, id, request, &state.init, events);
        let executed = write_documents(&dir, &spec, &config).and_then(|()| {
            let mut session = supervisor.begin(begin)?;
            match session.start() {
                // Its supervisor was killed before it could say so: whoever waits makes another.
                Err(SessionError::Gone) if runs(&dir) => {}
                other => other?,
            }
            Ok(session)
        });
        let session = executed.inspect_err(|_| {
            // What stays goes with the container's bundle.
            let _ = parent.remove_tree(eid.as_str());
        })?;
        Ok(Executing {
            id: eid,
            session,
            parent,
            binary: self.config.binary.clone(),
            has_terminal: request.tty,
        })
    }

    /// Returns what the supervisor of an execution tells, in Docker's words.
    fn exec_events(&self, record: &Record, eid: &ContainerId, args: &[String]) -> EventsConfig {
        // With a space after a program that has no arguments, as Docker writes it.
        let line = match args.split_first() {
            Some((program, rest)) => format!("{program} {}", rest.join(" ")),
            None => String::new(),
        };
        let mut events = self.run_events(record, Vec::new());
        let id = eid.to_string();
        events.attributes.insert("execID".to_owned(), id.clone());
        let create = container_event(record, &format!("exec_create: {line}"));
        events.before.push(create.with("execID", id));
        events.start = vec![format!("exec_start: {line}")];
        "exec_die".clone_into(&mut events.end);
        events
    }

    fn plan_exec(
        &self,
        container: &Container,
        request: &ExecRequest,
        root: &Root,
    ) -> Result<Spec, ExecError> {
        let mut record = container.record.clone();
        apply(request, &mut record.request);
        let process = process::plan(&record.request, &record.image_config, &record.id)?;
        let accounts = accounts::read_mounted(root)?;
        let user = users::resolve(process.user.as_ref(), &process.group_add, &accounts)?;
        let labels = labels(&record)?;
        Ok(spec::build_joining(&spec::Input {
            record: &record,
            process: &process,
            user: &user,
            volumes: &[],
            etc: &EtcFiles::in_dir(container.dir.path()),
            devices: &[],
            capabilities: &host::capabilities(&record.request.isolation),
            cgroup_parent: &self.cgroup_parent,
            cpus: host::cpus(),
            labels: labels.as_ref(),
        })?)
    }
}

/// Returns whether it is recorded that the program of an execution runs.
fn runs(dir: &Dir) -> bool {
    read_state(dir).is_ok_and(|state| state.is_some_and(|s| s.status == Status::Running))
}

/// Opens the folder of a bundle's executions, making it where it is missing; the bundle itself is
/// not made: if it goes, the container has ended.
fn executions_of(bundle: &Dir) -> Result<Dir, PathError> {
    match bundle.mkdir(EXEC, 0o700) {
        Err(error) if error.is_already_exists() => bundle.open_at(EXEC),
        other => other,
    }
}

/// Changes what a container was made from into what this process is made from: the rest, such as
/// capabilities, filter and limits, is the container's.
fn apply(request: &ExecRequest, of_container: &mut CreateRequest) {
    let process = &mut of_container.process;
    process.entrypoint = Some(Vec::new());
    process.args.clone_from(&request.args);
    process.env.extend_from_slice(&request.env);
    process.tty = request.tty;
    process.stdin = request.stdin;
    if let Some(workdir) = &request.workdir {
        process.workdir = Some(workdir.clone());
    }
    if let Some(user) = &request.user {
        process.user = Some(user.clone());
    }
    of_container.isolation.privileged |= request.privileged;
}

fn write_documents(dir: &Dir, spec: &Spec, config: &MonitorConfig) -> Result<(), ExecError> {
    write_json(dir, CONFIG_JSON, spec)?;
    Ok(write_json(dir, MONITOR_JSON, config)?)
}

fn config(
    dir: &Dir,
    id: &ContainerId,
    request: &ExecRequest,
    init: &Identity,
    events: EventsConfig,
) -> MonitorConfig {
    MonitorConfig {
        version: MonitorConfig::VERSION,
        id: id.clone(),
        state_dir: dir.path().to_owned(),
        tty: request.tty,
        stdin_open: request.stdin,
        stdin_once: request.stdin,
        log: LogConfig {
            driver: LogDriver::None,
            ..LogConfig::default()
        },
        cleanup_argv: Vec::new(),
        init_reaper: false,
        remove: false,
        joins: Some(init.clone()),
        events: Some(events),
        restart: RestartPolicy::No,
        restart_argv: Vec::new(),
        restarts: 0,
        health: None,
        bound: request.bound,
    }
}
