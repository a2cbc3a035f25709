//! From a bundle to a container whose init waits, with everything a supervisor holds.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use lamina_fs::{Dir, Lock, LockError, PathError, Rank};
use lamina_types::ErrorKind;
use lamina_types::explain::Explainer;
use serde::Deserialize;

use super::client::{Client, Role};
use super::container::{self, Container, Documents};
use super::supervise::Supervisor;
use super::{cgroup, stdio::Ours};
use crate::config::{MONITOR_JSON, MonitorConfig};
use crate::log::LogWriter;
use crate::protocol::Failure;
use crate::protocol::socket::listen_in;
use crate::record::{Identity, IdentityError, MONITOR_LOCK, State, Status};
use crate::time::Time;

/// How long a monitor that is about to end is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest of a bundle's documents that is read.
const LIMIT: u64 = 16 << 20;

/// Why a monitor cannot begin.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("take the lock of the container's monitor")]
    Lock(#[from] LockError),
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
}

impl SetupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            // A monitor lives: the container runs.
            Self::Lock(LockError::Held { .. }) => ErrorKind::FailedPrecondition,
            Self::Lock(error) => error.kind(),
            Self::Parse { .. } => ErrorKind::DataLoss,
            Self::Version { .. } => ErrorKind::Unsupported,
            Self::Socket(errno) => ErrorKind::of_io(&(*errno).into()),
            Self::Identity(error) => error.kind(),
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
    bundle: &Path,
    spawner: OwnedFd,
    explain: &mut Explainer,
    pipe: Option<&OwnedFd>,
) -> Result<Supervisor, Failure> {
    let bundle = Dir::open(bundle).map_err(SetupError::from)?;
    let documents = explain.step(
        "read the bundle",
        "what the container is to be: an OCI spec, its root filesystem, and what the monitor does",
        || {
            format!(
                "cd {}; cat config.json rootfs.json monitor.json",
                bundle.path().display()
            )
        },
        || read_documents(&bundle),
    )?;
    let state_dir = Dir::open(&documents.config.state_dir).map_err(SetupError::from)?;
    let lock = explain
        .step(
            "lock the container",
            "held for the monitor's life: a free lock says that nobody supervises",
            || format!("flock {}", state_dir.path().join(MONITOR_LOCK).display()),
            || Lock::exclusive_within(&state_dir, MONITOR_LOCK, Rank::Container, PATIENCE),
        )
        .map_err(SetupError::from)?;
    cgroup::leave_callers(explain);
    let listener = listen_in(&bundle).map_err(SetupError::Socket)?;
    let pipe = pipe.map(AsFd::as_fd);
    let (container, ours) = container::create(&bundle, &documents, explain, pipe)?;
    let held = Held {
        bundle,
        state_dir,
        lock,
        listener,
    };
    supervisor(held, documents.config, container, ours, spawner)
}

struct Held {
    bundle: Dir,
    state_dir: Dir,
    lock: Lock,
    listener: OwnedFd,
}

fn supervisor(
    held: Held,
    config: MonitorConfig,
    container: Container,
    ours: Ours,
    spawner: OwnedFd,
) -> Result<Supervisor, Failure> {
    let init = Identity::of(container.pid, container.pidfd.as_fd()).map_err(SetupError::from)?;
    let state = State {
        version: State::VERSION,
        status: Status::Created,
        init,
        monitor_pid: std::process::id(),
        created_at: Time::now(),
        started_at: None,
    };
    let log_dir = held.state_dir.try_clone().map_err(SetupError::from)?;
    let mut supervisor = Supervisor {
        log: LogWriter::new(log_dir, config.log.clone()),
        config,
        bundle: held.bundle,
        state_dir: held.state_dir,
        lock: Some(held.lock),
        listener: Some(held.listener),
        clients: Vec::new(),
        container,
        state,
        is_starting: false,
        is_taken: false,
        stdin: ours.stdin,
        outputs: ours.outputs,
        failure: None,
        lease: None,
        buffer: Vec::new(),
    };
    // A container whose process later commands could not find must not come to be: leaving drops
    // the channel, and init, which is not started yet, ends with it.
    supervisor.publish_state().map_err(SetupError::from)?;
    let mut client = Client::new(spawner, Role::Foreground);
    supervisor.greet(&mut client);
    supervisor.clients.push(client);
    Ok(supervisor)
}

fn read_documents(bundle: &Dir) -> Result<Documents, SetupError> {
    let config: MonitorConfig = read(bundle, MONITOR_JSON)?;
    if config.version > MonitorConfig::VERSION {
        return Err(SetupError::Version {
            path: shown(bundle, MONITOR_JSON),
            version: config.version,
        });
    }
    Ok(Documents {
        config,
        spec: read(bundle, "config.json")?,
        rootfs: read(bundle, "rootfs.json")?,
    })
}

fn read<T: for<'de> Deserialize<'de>>(bundle: &Dir, name: &str) -> Result<T, SetupError> {
    let bytes = bundle.read(name, LIMIT)?;
    serde_json::from_slice(&bytes).map_err(|source| SetupError::Parse {
        path: shown(bundle, name),
        source,
    })
}

fn shown(bundle: &Dir, name: &str) -> String {
    bundle.path().join(name).display().to_string()
}
