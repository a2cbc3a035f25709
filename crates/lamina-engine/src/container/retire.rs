//! The end of a foreground run: out of sight at once, unlinked by the monitor.
//!
//! A program that ran for a millisecond leaves some thirty files, folders and control groups.
//! Whoever waits for the command needs its name to be free and the container to be gone from every
//! list, which takes renames; the monitor, which is about to leave anyway, does the rest:
//!
//! ```text
//! client   remove ─ name, snapshot and record go ─► dispose(trees, operation) ─► exits
//! monitor  control groups ─ waits ────────────────► trees ─ the operation's entry ─► exits
//! ```
//! The operation names everything from before the first step, and its lock travels along: killed
//! anywhere, either leaves to the next command what it has not done.

use std::os::fd::AsFd;
use std::path::PathBuf;

use lamina_monitor::{Rest, Session};
use lamina_store::Area;

use crate::Engine;
use crate::container::cleanup::{self, CleanupError, CleanupFailure};
use crate::container::find::Container;

impl Engine {
    /// Removes what the run of a container left whose end the caller has been told by its
    /// monitor, and with `--rm` the container itself.
    pub(crate) fn cleanup_ended(
        &self,
        container: &Container,
        session: &Session,
    ) -> Result<(), CleanupError> {
        let Some(_lock) = cleanup::lock(container)? else {
            return Ok(());
        };
        let record = &container.record;
        if record.request.remove {
            return cleanup::finish(&record.id, self.retire(container, session));
        }
        // One that stays may have been started again by somebody else.
        if cleanup::is_alive(container)? {
            return Ok(());
        }
        cleanup::finish(&record.id, self.remove_run(record))
    }

    fn retire(&self, container: &Container, session: &Session) -> Vec<CleanupFailure> {
        let operation = match self.begin_removal(container, true) {
            Ok(operation) => operation,
            Err(error) => return vec![error],
        };
        let trees = match self.hide(container) {
            Ok(trees) => trees,
            // Dropped, the operation is undone, which tries everything once more.
            Err(error) => return vec![error],
        };
        let entry = operation.entry();
        match session.dispose(&Rest { trees, entry }, operation.as_fd()) {
            Ok(true) => {
                operation.leave();
                Vec::new()
            }
            // The monitor was killed.
            Ok(false) | Err(_) => {
                let errors = operation.undo().into_iter();
                let failures = errors.map(CleanupFailure::from).collect();
                let _ = self.store.empty_trash();
                self.note_container(&container.record, "destroy", &[]);
                failures
            }
        }
    }

    /// Takes a container out of every list, and returns what is left to be unlinked.
    fn hide(&self, container: &Container) -> Result<Vec<PathBuf>, CleanupFailure> {
        let record = &container.record;
        let mut trees = vec![self.bundle(&record.id)];
        self.remove_own_volumes(record)?;
        trees.extend(self.snapshotter()?.retire(&(&record.id).into())?);
        self.remove_name(container)?;
        let containers = self.store.dir(Area::Containers)?;
        if let Some(name) = self.store.trash(containers, record.id.as_str())? {
            trees.push(self.store.path(Area::Trash).join(name));
        }
        Ok(trees)
    }
}
