//! From a bundle to a container whose init waits, with everything a supervisor holds.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use lamina_fs::{Dir, Durability, Lock, LockError, PathError, Rank};
use lamina_runtime::{Bundle, BundleError};
use lamina_types::ErrorKind;
use lamina_types::explain::Explainer;

use super::Told;
use super::client::{Client, Role};
use super::container::{self, Begun, Container, Documents, Wanted};
use super::stdio::Ours;
use super::supervise::Supervisor;
use crate::config::{MONITOR_JSON, MonitorConfig};
use crate::log::LogWriter;
use crate::protocol::Failure;
use crate::protocol::socket::listen_in;
use crate::record::{
    Identity, IdentityError, MONITOR_LOCK, RecordError, STATE_JSON, State, Status,
};
use crate::time::Time;

/// How long a monitor that is about to end is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest of a bundle's documents that is read.
const LIMIT: u64 = 16 << 20;

/// Why a monitor cannot begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("take the lock of the container's monitor")]
    Lock(#[from] LockError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("parse {path}")]
    Parse {
        path: String,
        source: serde_json::Error,
    },
    #[error("{path} has format version {version}, newer than this program")]
    Version { path: String, version: u32 },
    #[error("make the monitor's socket")]
    Socket(#[source] rustix::io::Errno),
    #[error("identify the container's init")]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl SetupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            // A monitor lives: the container runs.
            Self::Lock(LockError::Held { .. }) => ErrorKind::FailedPrecondition,
            Self::Lock(error) => error.kind(),
            Self::Bundle(error) => error.kind(),
            Self::Parse { .. } => ErrorKind::DataLoss,
            Self::Version { .. } => ErrorKind::Unsupported,
            Self::Socket(errno) => ErrorKind::of_io(&(*errno).into()),
            Self::Identity(error) => error.kind(),
            Self::Record(error) => error.kind(),
        }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::new(125, error.kind(), &error)
    }
}

/// Makes the container and everything to supervise it with, and tells the spawner.
pub(super) fn setup(
    told: Told<'_>,
    spawner: OwnedFd,
    explain: &mut Explainer,
) -> Result<Supervisor, Failure> {
    let Told {
        start,
        pipe,
        streams,
        ..
    } = told;
    let ahead = told.ahead.map_err(|error| container::failed(&error))?;
    let bundle = Dir::open(told.bundle).map_err(SetupError::from)?;
    let documents = read_documents(&bundle, explain)?;
    let state_dir = Dir::open(&documents.config.state_dir).map_err(SetupError::from)?;
    let lock = explain
        .step(
            "lock the container",
            "held for the monitor's life: a free lock says that nobody supervises",
            || format!("flock {}", state_dir.path().join(MONITOR_LOCK).display()),
            || Lock::exclusive_within(&state_dir, MONITOR_LOCK, Rank::Container, PATIENCE),
        )
        .map_err(SetupError::from)?;
    let listener = listen_in(&bundle).map_err(SetupError::Socket)?;
    let wanted = Wanted {
        start,
        streams: streams.as_ref(),
        pipe: pipe.as_ref().map(AsFd::as_fd),
        ahead,
    };
    let made = make(&bundle, &state_dir, &documents, wanted, explain)?;
    let mut supervisor = Held {
        config: documents.config,
        bundle,
        state_dir,
        lock,
        listener,
    }
    .supervisor(made)?;
    supervisor.is_starting = start;
    supervisor.streams = streams;
    supervisor.welcome(Client::new(spawner, Role::Foreground));
    Ok(supervisor)
}

/// What a supervisor has before its container.
pub(super) struct Held {
    pub(super) config: MonitorConfig,
    pub(super) bundle: Dir,
    pub(super) state_dir: Dir,
    pub(super) lock: Lock,
    pub(super) listener: OwnedFd,
}

impl Held {
    pub(super) fn supervisor(self, made: Made) -> Result<Supervisor, SetupError> {
        let log_dir = self.state_dir.try_clone()?;
        Ok(Supervisor {
            log: LogWriter::new(log_dir, self.config.log.clone()),
            packer: None,
            is_loss_tried: false,
            config: self.config,
            bundle: self.bundle,
            state_dir: self.state_dir,
            lock: Some(self.lock),
            listener: Some(self.listener),
            clients: Vec::new(),
            container: made.container,
            state: made.state,
            is_starting: false,
            is_taken: false,
            rest: None,
            stdin: made.ours.stdin,
            outputs: made.ours.outputs,
            streams: None,
            delay: Duration::ZERO,
            failure: None,
            lease: None,
            buffer: Vec::new(),
            checking: None,
            kill_at: None,
            is_to_restart: false,
        })
    }
}

/// A container that is set up, and recorded.
pub(super) struct Made {
    pub(super) container: Container,
    pub(super) ours: Ours,
    pub(super) state: State,
}

/// Makes the container of a bundle.
pub(super) fn make(
    bundle: &Dir,
    state_dir: &Dir,
    documents: &Documents,
    wanted: Wanted<'_>,
    explain: &mut Explainer,
) -> Result<Made, Failure> {
    let start = wanted.start;
    let begun = container::begin(bundle, documents, wanted, explain)?;
    let (state, former) = record(&begun, state_dir, documents.config.restarts)?;
    if start {
        begun.start()?;
    }
    let ready = begun.ready(documents, explain);
    let (container, ours) = ready.inspect_err(|_| forget(state_dir, former.as_deref()))?;
    Ok(Made {
        container,
        ours,
        state,
    })
}

/// Writes which process init is, before it can become the program: a container whose process later
/// commands could not find must not come to be. Returns what was written, and what stood there.
///
/// Where this fails, leaving drops the channel, and init ends with it.
fn record(
    begun: &Begun,
    state_dir: &Dir,
    restarts: u32,
) -> Result<(State, Option<Vec<u8>>), SetupError> {
    let state = State {
        version: State::VERSION,
        status: Status::Created,
        init: Identity::of(begun.pid(), begun.pidfd())?,
        monitor_pid: std::process::id(),
        created_at: Time::now(),
        started_at: None,
        restarts,
        log_bytes_lost: 0,
    };
    let former = match state_dir.read(STATE_JSON, LIMIT) {
        Err(error) if error.is_not_found() => None,
        other => Some(other?),
    };
    state.write(state_dir)?;
    Ok((state, former))
}

/// Takes back the record of a container that did not come to be. If the disk refuses, the record
/// names a dead process, which later commands say.
fn forget(state_dir: &Dir, former: Option<&[u8]>) {
    let _ = match former {
        None => state_dir.unlink(STATE_JSON),
        Some(bytes) => state_dir.replace(STATE_JSON, bytes, 0o600, Durability::Volatile),
    };
}

fn read_documents(bundle: &Dir, explain: &mut Explainer) -> Result<Documents, SetupError> {
    let dir = bundle.path().display();
    explain.step(
        "read the bundle",
        "what the container is to be: an OCI spec, its root filesystem, and what the monitor does",
        || format!("cd {dir}; cat config.json rootfs.json monitor.json"),
        || parse_documents(bundle),
    )
}

/// Reads the documents of a run that another monitor has begun, or of the next.
pub(super) fn next_documents(bundle: &Dir) -> Result<Documents, Failure> {
    Ok(parse_documents(bundle)?)
}

fn parse_documents(bundle: &Dir) -> Result<Documents, SetupError> {
    Ok(Documents {
        config: read_config(bundle)?,
        bundle: Bundle::read(bundle)?,
    })
}

/// Reads what the engine wants of the monitor as it is now, if that can be read.
pub(super) fn present_config(bundle: &Dir) -> Option<MonitorConfig> {
    read_config(bundle).ok()
}

fn read_config(bundle: &Dir) -> Result<MonitorConfig, SetupError> {
    let path = || shown(bundle, MONITOR_JSON);
    let text = bundle.read(MONITOR_JSON, LIMIT)?;
    let config: MonitorConfig =
        serde_json::from_slice(&text).map_err(|source| SetupError::Parse {
            path: path(),
            source,
        })?;
    if config.version > MonitorConfig::VERSION {
        return Err(SetupError::Version {
            path: path(),
            version: config.version,
        });
    }
    Ok(config)
}

fn shown(bundle: &Dir, name: &str) -> String {
    bundle.path().join(name).display().to_string()
}
