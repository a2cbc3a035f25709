//! A monitor for a container whose own was killed.
//!
//! ```text
//! command ─ finds init alive and no lock held ─► __monitor BUNDLE adopt
//!                 lock, init by its identity, socket, FIFOs by name ─► supervise, as any other
//! ```
//! What went with the former monitor does not come back: the terminal, the way to the program's
//! stdin, what it had read and not yet written to the log. Everything else goes on.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use lamina_fs::{Dir, Lock, Rank};

use super::client::{Client, Role};
use super::container::Container;
use super::setup::{self, Held, Made, SetupError};
use super::stdio::{self, Ours};
use super::supervise::Supervisor;
use crate::liveness::is_locked;
use crate::protocol::Failure;
use crate::protocol::socket::listen_in;
use crate::record::{MONITOR_LOCK, State, Status, read_state};

/// Takes over the container of a bundle; `None` where there is nothing to take over: another
/// monitor has it, or its program has ended.
pub(super) fn adopt(bundle: &Path, spawner: OwnedFd) -> Result<Option<Supervisor>, Failure> {
    let bundle = match Dir::open(bundle) {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other.map_err(SetupError::from)?,
    };
    let documents = setup::next_documents(&bundle)?;
    let state_dir = Dir::open(&documents.config.state_dir).map_err(SetupError::from)?;
    let Some(lock) = take(&state_dir)? else {
        return Ok(None);
    };
    let Some((state, pidfd)) = running(&state_dir)? else {
        return Ok(None);
    };
    let Some(init) = state.init.pid() else {
        return Ok(None);
    };
    let container = Container::adopted(&documents, init, pidfd);
    let listener = listen_in(&bundle).map_err(SetupError::Socket)?;
    let outputs = stdio::reopen(&bundle);
    let made = Made {
        container,
        ours: Ours {
            stdin: None,
            outputs,
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
    supervisor.resume_checks();
    // If the disk refuses it, the record names the former monitor, which nothing depends on.
    let _ = supervisor.publish_state();
    supervisor.welcome(Client::new(spawner, Role::Watching));
    Ok(Some(supervisor))
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

/// Returns the state of a run whose program was started and lives, as this monitor's.
fn running(state_dir: &Dir) -> Result<Option<(State, OwnedFd)>, SetupError> {
    let Some(state) = read_state(state_dir)? else {
        return Ok(None);
    };
    // What was not started yet belongs to the command that makes it, which ends it.
    if state.status != Status::Running {
        return Ok(None);
    }
    let pidfd = state.init.find()?;
    Ok(pidfd.map(|pidfd| {
        let state = State {
            monitor_pid: std::process::id(),
            ..state
        };
        (state, pidfd)
    }))
}
