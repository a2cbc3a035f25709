//! A monitor for a container whose own was killed.
//!
//! ```text
//! command ─ finds init alive and no lock held ─► __monitor BUNDLE adopt
//!                 lock, init by its identity, socket, FIFOs by name ─► supervise, as any other
//! ```
//! Where init has ended as well, the end is recorded as one that nobody saw, told of, and treated by
//! the restart policy as any other; a wait for the next start goes on.
//!
//! What went with the former monitor does not come back: the terminal, the way to the program's
//! stdin, what it had read and not yet written to the log. Everything else goes on.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use lamina_fs::{Dir, Lock, Rank};

use super::client::{Client, Role};
use super::container::{Container, Documents};
use super::setup::{self, Held, Made, SetupError};
use super::stdio::{self, Ours};
use super::supervise::Supervisor;
use crate::liveness::is_locked;
use crate::protocol::Failure;
use crate::protocol::socket::listen_in;
use crate::record::{ExitRecord, MONITOR_LOCK, State, Status, read_exit, read_state};

/// A container that was taken over.
pub(super) struct Adopted {
    pub(super) supervisor: Supervisor,
    /// How its last run ended, where the next is waited for.
    pub(super) waiting: Option<ExitRecord>,
}

/// What there is to take over.
enum Left {
    /// A program that runs.
    Running(OwnedFd),
    /// One that has ended, and nobody saw how.
    Ended,
    /// The wait for the next start.
    Waiting(ExitRecord),
}

/// Takes over the container of a bundle; `None` where there is nothing to take over: another
/// monitor has it, or its program has ended and that is recorded.
pub(super) fn adopt(bundle: &Path, spawner: OwnedFd) -> Result<Option<Adopted>, Failure> {
    let bundle = match Dir::open(bundle) {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other.map_err(SetupError::from)?,
    };
    let documents = setup::next_documents(&bundle)?;
    let state_dir = Dir::open(&documents.config.state_dir).map_err(SetupError::from)?;
    let Some(lock) = take(&state_dir)? else {
        return Ok(None);
    };
    let Some((state, left)) = left(&state_dir)? else {
        return Ok(None);
    };
    let Some(init) = state.init.pid() else {
        return Ok(None);
    };
    let (container, waiting) = match left {
        Left::Running(pidfd) => (Container::adopted(&documents, init, pidfd), None),
        Left::Ended => (ended(&documents)?, None),
        Left::Waiting(exit) => (ended(&documents)?, Some(exit)),
    };
    let state = State {
        status: match waiting {
            Some(_) => Status::Exited,
            None => Status::Running,
        },
        ..state
    };
    let listener = listen_in(&bundle).map_err(SetupError::Socket)?;
    let made = Made {
        container,
        ours: Ours {
            stdin: None,
            outputs: stdio::reopen(&bundle),
        },
        state,
    };
    let held = Held {
        config: documents.config,
        bundle,
        state_dir,
        lock,
        listener,
    };
    let mut supervisor = held.supervisor(made)?;
    supervisor.is_starting = true;
    supervisor.log.resume();
    if waiting.is_none() {
        supervisor.resume_checks();
        // If the disk refuses it, the record names the former monitor, which nothing depends on.
        let _ = supervisor.publish_state();
    }
    let mut client = Client::new(spawner, Role::Watching);
    supervisor.greet(&mut client);
    supervisor.clients.push(client);
    Ok(Some(Adopted {
        supervisor,
        waiting,
    }))
}

fn ended(documents: &Documents) -> Result<Container, SetupError> {
    Container::ended(documents).map_err(SetupError::Socket)
}

/// Takes the lock of the container's monitor; `None` if a monitor has it.
fn take(state_dir: &Dir) -> Result<Option<Lock>, SetupError> {
    loop {
        let taken = Lock::try_exclusive(state_dir, MONITOR_LOCK, Rank::Container)?;
        // Those who only look have it for a moment, too.
        if taken.is_some() || is_locked(state_dir)? {
            return Ok(taken);
        }
        thread::yield_now();
    }
}

/// Returns the state of the last run, as this monitor's, and what is left of it to be seen to.
fn left(state_dir: &Dir) -> Result<Option<(State, Left)>, SetupError> {
    let Some(state) = read_state(state_dir)? else {
        return Ok(None);
    };
    let state = State {
        monitor_pid: std::process::id(),
        ..state
    };
    let exit = read_exit(state_dir)?.filter(|exit| exit.init == state.init);
    let left = match (exit, state.status) {
        (Some(exit), _) if exit.next_start.is_some() => Left::Waiting(exit),
        (Some(_), _) => return Ok(None),
        (None, Status::Running) => match state.init.find()? {
            Some(pidfd) => Left::Running(pidfd),
            None => Left::Ended,
        },
        // What was not started yet belongs to the command that makes it, which ends it.
        (None, _) => return Ok(None),
    };
    Ok(Some((state, left)))
}
