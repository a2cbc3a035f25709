//! Making a monitor, or connecting to one that lives.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, PathError};
use lamina_sys::detached::{Detached, spawn as spawn_detached};
use lamina_types::ErrorKind;
use lamina_types::explain::Explainer;
use rustix::io::Errno;

use super::Session;
use crate::door::{self, Door};
use crate::protocol::socket;

/// Why no monitor could be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The program could not be opened.
    #[error(transparent)]
    Program(#[from] PathError),
    /// The bundle's path cannot be an argument.
    #[error("bundle path {0:?} holds a NUL byte")]
    Bundle(PathBuf),
    /// No socket pair could be made.
    #[error("make the socket of the monitor")]
    Socket(#[source] Errno),
    /// The program could not be executed.
    #[error("execute {} as the monitor", path.display())]
    Execute {
        /// The program.
        path: PathBuf,
        /// Why not.
        source: Errno,
    },
}

impl SpawnError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Program(error) => error.kind(),
            Self::Bundle(_) => ErrorKind::InvalidArgument,
            Self::Socket(source) | Self::Execute { source, .. } => {
                ErrorKind::of_io(&(*source).into())
            }
        }
    }
}

/// What a monitor inherits beside its socket.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inherited<'a> {
    /// The pipe that the monitor and init write their steps to.
    pub explain_pipe: Option<BorrowedFd<'a>>,
    /// The locked file of the operation that starts the container. The monitor holds it until the
    /// program runs or everything has ended, so that nobody undoes the operation of a killed
    /// spawner while its monitor is still making what is to be undone.
    pub lease: Option<BorrowedFd<'a>>,
}

/// Starts the monitor of a bundle: `binary` executed again, in its own session, as nobody's child,
/// through a read-only door.
///
/// The session returned is the foreground client's; dropping it before the start ends the
/// container.
pub fn spawn(
    bundle: &Path,
    binary: &Path,
    explain: &mut Explainer,
    inherited: Inherited<'_>,
) -> Result<Session, SpawnError> {
    let path = bundle.as_os_str().as_bytes();
    let path = CString::new(path).map_err(|_| SpawnError::Bundle(bundle.to_owned()))?;
    let (program, how) = open_door(binary, explain)?;
    let (ours, theirs) = socket::pair().map_err(SpawnError::Socket)?;
    execute(&program, how, &path, &theirs, explain, inherited).map_err(|source| {
        SpawnError::Execute {
            path: binary.to_owned(),
            source,
        }
    })?;
    Ok(Session::foreground(ours))
}

fn open_door(binary: &Path, explain: &mut Explainer) -> Result<(OwnedFd, Door), PathError> {
    explain.step(
        "open this program read-only",
        "a container reaches the file its first process came from as /proc/self/exe; through a \
         detached read-only mount it can never overwrite it (CVE-2019-5736)",
        || {
            let path = binary.display();
            format!("mount --bind -o ro {path} MONITOR")
        },
        || door::open(binary),
    )
}

fn execute(
    program: &OwnedFd,
    how: Door,
    bundle: &CString,
    socket: &OwnedFd,
    explain: &mut Explainer,
    inherited: Inherited<'_>,
) -> Result<(), Errno> {
    let entry = CString::new(crate::ENTRY).unwrap_or_default();
    let mut descriptors = vec![socket.as_fd()];
    let mut arguments = vec![c"lamina", entry.as_c_str(), bundle.as_c_str()];
    let optional = [
        (inherited.explain_pipe, c"explain"),
        (inherited.lease, c"lease"),
    ];
    for (descriptor, word) in optional {
        if let Some(descriptor) = descriptor {
            descriptors.push(descriptor);
            arguments.push(word);
        }
    }
    explain.step(
        "execute the monitor",
        "one small process per container outlives this command: it keeps the output, waits for the \
         program and records its exit",
        || {
            let door = match how {
                Door::MountClone => "MONITOR",
                Door::SealedCopy => "SEALED-COPY",
            };
            format!(
                "setsid --fork {door} {} {}",
                crate::ENTRY,
                bundle.to_string_lossy()
            )
        },
        || {
            spawn_detached(&Detached {
                program: program.as_fd(),
                argv: &arguments,
                environment: &[],
                descriptors: &descriptors,
            })
        },
    )
}

/// Why no living monitor could be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no such bundle: the container is not running.
    #[error(transparent)]
    Bundle(#[from] PathError),
    /// Nobody listens there.
    #[error("connect to the monitor of {}", bundle.display())]
    Connect {
        /// The bundle.
        bundle: PathBuf,
        /// Why not; `ENOENT` and `ECONNREFUSED` say that no monitor lives.
        source: Errno,
    },
}

impl ConnectError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Bundle(error) => error.kind(),
            Self::Connect { source, .. } => match *source {
                Errno::NOENT | Errno::CONNREFUSED => ErrorKind::NotFound,
                other => ErrorKind::of_io(&other.into()),
            },
        }
    }
}

/// Connects to the living monitor of a bundle.
///
/// Such a session watches: it gets the exit, may signal and resize, and gets output after
/// [`Session::attach`]. Dropping it has no effect on the container.
pub fn connect(bundle: &Path) -> Result<Session, ConnectError> {
    let dir = Dir::open(bundle)?;
    let socket = socket::connect_in(&dir).map_err(|source| ConnectError::Connect {
        bundle: bundle.to_owned(),
        source,
    })?;
    Ok(Session::watching(socket))
}
