//! A container whose monitor was killed gets another: whoever touches it next sees to that.
//!
//! ```text
//! verb ─► load_supervised ─ monitor.lock is held ──────────────────────────────► goes on
//!                         └ free, init lives ─► the container's lock ─► __monitor … adopt
//!                                                 └ again: is it still so?
//! ```
//! So does one whose init ended while nobody watched, or that waited for its next start: the monitor
//! records the end, tells of it, and does what the restart policy says.
//!
//! Best effort: where there can be no monitor, the verb does what can be done without. `ps` and
//! `inspect` tell the truth and change nothing.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lamina_monitor::{
    ConnectError, Liveness, MONITOR_JSON, Session, SessionError, Status, adopt, connect, liveness,
};
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::cleanup;
use crate::container::find::{Container, FindError};
use crate::container::{restart, stop};

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
        let bundle = self.bundle(&container.record.id);
        if !is_orphan(container, &bundle) {
            return None;
        }
        // One of many commands does it. Without the lock, a start or a removal is on its way.
        let _lock = cleanup::lock(container).ok()??;
        for _ in 0..TRIES {
            if !is_orphan(container, &bundle) {
                return None;
            }
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

    /// Returns a conversation with a monitor of a container whose own was killed; `None` where there
    /// is nothing left to be watched. Others may bring and kill monitors meanwhile.
    pub(crate) fn find_again(&self, container: &Container) -> Option<Session> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let found = self.bring_back(container);
            let found = found.or_else(|| self.reach(container).ok());
            if found.is_some() || !is_alive(container) {
                return found;
            }
            thread::sleep(Duration::from_millis(1));
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

/// Returns whether processes of a container live, or will before long; what cannot be asked does not.
pub(crate) fn is_alive(container: &Container) -> bool {
    liveness(&container.dir).is_ok_and(|liveness| liveness.is_alive())
}

/// Returns whether nobody watches over the program of a container that runs, has ended unseen, or
/// is to be started again.
fn is_orphan(container: &Container, bundle: &Path) -> bool {
    // The lock alone says so of every other.
    if stop::is_supervised(container) {
        return false;
    }
    // What it takes to see to the end goes with the bundle.
    let has_bundle = || bundle.join(MONITOR_JSON).exists();
    match liveness(&container.dir) {
        Ok(Liveness::Orphaned { state, .. }) => state.status == Status::Running,
        // After a reboot nobody saw anything end, and what is started again is another's to say.
        Ok(Liveness::Lost(state)) => {
            state.status == Status::Running && state.init.is_of_this_boot() && has_bundle()
        }
        Ok(Liveness::Exited(exit)) => {
            let is_due = exit.next_start.is_some() && exit.init.is_of_this_boot();
            // A mark that cannot be looked for is not there.
            is_due && has_bundle() && !restart::is_stopped(container).unwrap_or(false)
        }
        _ => false,
    }
}
