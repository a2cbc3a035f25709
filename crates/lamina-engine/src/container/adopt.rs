//! A container whose monitor was killed gets another: whoever touches it next sees to that.
//!
//! ```text
//! verb ─► load_supervised ─ monitor.lock is held ──────────────────────────────► goes on
//!                         └ free, init lives ─► the container's lock ─► __monitor … adopt
//!                                                 └ again: is it still so?
//! ```
//! Best effort: where there can be no monitor, the verb does what can be done without. `ps` and
//! `inspect` tell the truth and change nothing.

use std::thread;
use std::time::{Duration, Instant};

use lamina_monitor::{
    ConnectError, Liveness, Session, SessionError, Status, adopt, connect, liveness,
};
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::cleanup;
use crate::container::find::{Container, FindError};
use crate::container::stop;

/// How often a monitor is given to a container that loses it at once.
const TRIES: u32 = 3;
/// How long a monitor may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Gives a running container whose monitor was killed another one, if it can be had.
    pub fn supervise(&self, id: &ContainerId) -> Result<(), FindError> {
        self.load_supervised(id).map(drop)
    }

    /// Opens a container that is about to be touched, see [`Engine::supervise`].
    pub(crate) fn load_supervised(&self, id: &ContainerId) -> Result<Container, FindError> {
        let container = self.load(id)?;
        drop(self.bring_back(&container));
        Ok(container)
    }

    /// Gives an orphan another monitor; when this returns, that can be connected to. Returns the
    /// conversation with it, if it was this call that brought it. Not under the container's lock.
    pub(crate) fn bring_back(&self, container: &Container) -> Option<Session> {
        if !is_orphan(container) {
            return None;
        }
        // One of many commands does it. Without the lock, a start or a removal is on its way.
        let _lock = cleanup::lock(container).ok()??;
        for _ in 0..TRIES {
            if !is_orphan(container) {
                return None;
            }
            let bundle = self.bundle(&container.record.id);
            let mut session = adopt(&bundle, &self.config.binary).ok()?;
            match session.created() {
                Ok(_) => return Some(session),
                // One that another command began, and was killed over, was first; or it ended.
                Err(SessionError::Gone) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Connects to the monitor of a container, which may just be coming to life.
    pub(crate) fn reach(&self, container: &Container) -> Result<Session, ConnectError> {
        let begun = Instant::now();
        let bundle = self.bundle(&container.record.id);
        loop {
            match connect(&bundle) {
                Err(error)
                    if error.kind() == ErrorKind::NotFound
                        && begun.elapsed() < PATIENCE
                        && stop::is_supervised(container) =>
                {
                    thread::sleep(Duration::from_millis(1));
                }
                other => return other,
            }
        }
    }
}

/// Returns whether the program of a container runs and nobody watches over it.
fn is_orphan(container: &Container) -> bool {
    // The lock alone says so of every other.
    if stop::is_supervised(container) {
        return false;
    }
    matches!(
        liveness(&container.dir),
        Ok(Liveness::Orphaned { state, .. }) if state.status == Status::Running
    )
}
