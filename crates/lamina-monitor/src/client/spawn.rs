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
use rustix::thread::sched_getcpu;

use super::{Session, SessionError};
use crate::door::{self, Door};
use crate::process::ADOPT;
use crate::protocol::{Kind, socket};

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

/// What a monitor is told at its birth, before there is a bundle.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ahead<'a> {
    /// The pipe that the monitor and init write their steps to.
    pub explain_pipe: Option<BorrowedFd<'a>>,
    /// Whether the container will have a network namespace of its own.
    pub network: bool,
    /// Whether it will have all other namespaces of its own.
    pub namespaces: bool,
}

/// What a monitor begins with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begin<'a> {
    /// Whether the program is executed as soon as all is set up. Otherwise [`Session::start`] says
    /// when, after whatever needs the container's namespaces.
    pub start: bool,
    /// The locked file of the operation that starts the container. The monitor holds it until the
    /// program runs or everything has ended, so that nobody undoes the operation of a killed
    /// spawner while its monitor is still making what is to be undone.
    pub lease: Option<BorrowedFd<'a>>,
    /// What the program writes to, stdout and stderr, where nothing is to stand between (driver
    /// `passthrough`). Without them that is `/dev/null`, or what an earlier run was given.
    pub streams: Option<[BorrowedFd<'a>; 2]>,
}

impl<'a> Begin<'a> {
    /// Returns what goes with the word to begin, as [`crate::process`] takes it apart.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'a>> {
        let streams = self.streams.into_iter().flatten();
        self.lease.into_iter().chain(streams).collect()
    }
}

/// A monitor that waits for its bundle to be written. Dropped, it ends without having done anything.
#[derive(Debug)]
pub struct Spawned {
    socket: OwnedFd,
}

impl Spawned {
    /// Has the monitor read the bundle and make the container.
    ///
    /// The session returned is the foreground client's; dropping it before the start ends the
    /// container.
    pub fn begin(self, begin: Begin<'_>) -> Result<Session, SessionError> {
        let [low, high] = u16::try_from(sched_getcpu())
            .unwrap_or(u16::MAX)
            .to_le_bytes();
        let payload = [u8::from(begin.start), low, high];
        match socket::send_some(self.socket.as_fd(), Kind::Begin, &payload, &begin.fds()) {
            // The monitor was killed: the session says so.
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            // A frame this small is taken whole by an empty socket.
            other => drop(other.map_err(SessionError::Socket)?),
        }
        Ok(Session::foreground(self.socket, begin.start))
    }
}

/// Starts the monitor of a bundle: `binary` executed again, in its own session, as nobody's child,
/// through a read-only door. The bundle need not exist yet: `ahead` is what can be done without it.
pub fn spawn(
    bundle: &Path,
    binary: &Path,
    explain: &mut Explainer,
    ahead: Ahead<'_>,
) -> Result<Spawned, SpawnError> {
    let path = bundle.as_os_str().as_bytes();
    let path = CString::new(path).map_err(|_| SpawnError::Bundle(bundle.to_owned()))?;
    let (program, how) = open_door(binary, explain)?;
    let (ours, theirs) = socket::pair().map_err(SpawnError::Socket)?;
    execute(&program, how, &path, &theirs, explain, ahead).map_err(|source| {
        SpawnError::Execute {
            path: binary.to_owned(),
            source,
        }
    })?;
    Ok(Spawned { socket: ours })
}

/// Starts another monitor for the container of a bundle whose own was killed.
///
/// The session returned watches. If there was nothing to take over (another monitor lives, or the
/// program has ended), [`Session::created`] says [`SessionError::Gone`]; when it returns, the
/// monitor can be connected to.
pub fn adopt(bundle: &Path, binary: &Path) -> Result<Session, SpawnError> {
    let path = bundle.as_os_str().as_bytes();
    let path = CString::new(path).map_err(|_| SpawnError::Bundle(bundle.to_owned()))?;
    let program = door::open(binary)?.0;
    let (ours, theirs) = socket::pair().map_err(SpawnError::Socket)?;
    let [entry, adopt] = [crate::ENTRY, ADOPT].map(|word| CString::new(word).unwrap_or_default());
    let spawned = spawn_detached(&Detached {
        program: program.as_fd(),
        argv: &[c"lamina", &entry, &path, &adopt],
        environment: &[],
        descriptors: &[theirs.as_fd(), program.as_fd()],
    });
    spawned.map_err(|source| SpawnError::Execute {
        path: binary.to_owned(),
        source,
    })?;
    Ok(Session::watching(ours))
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
    ahead: Ahead<'_>,
) -> Result<(), Errno> {
    let entry = CString::new(crate::ENTRY).unwrap_or_default();
    // The monitor keeps the door open: whoever closes a detached mount last waits until every CPU
    // has let go of it, a third of a millisecond and more.
    let mut descriptors = vec![socket.as_fd(), program.as_fd()];
    let mut arguments = vec![c"lamina", entry.as_c_str(), bundle.as_c_str()];
    if let Some(pipe) = ahead.explain_pipe {
        descriptors.push(pipe);
        arguments.push(c"explain");
    }
    if ahead.network {
        arguments.push(c"network");
    }
    if ahead.namespaces {
        arguments.push(c"namespaces");
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
