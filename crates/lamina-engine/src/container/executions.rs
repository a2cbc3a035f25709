//! The executions of a container's present run: those that go on, and the last that have ended.

use lamina_fs::Dir;
use lamina_monitor::{ExitRecord, Liveness, liveness};
use lamina_types::ContainerId;

use crate::Engine;
use crate::container::exec::{EXEC, ExecError};

/// How many executions that have ended are known.
const MOST_ENDED: usize = 16;

/// An execution that is known: one that runs, or a detached one that has ended.
#[derive(Debug)]
pub struct Execution {
    /// Its id.
    pub id: ContainerId,
    /// How it ended; `None` while it runs.
    pub exit: Option<ExitRecord>,
}

impl Engine {
    /// Lists the executions of a container's present run.
    pub fn executions(&self, id: &ContainerId) -> Result<Vec<Execution>, ExecError> {
        let parent = match Dir::open(self.bundle(id).join(EXEC)) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            other => other?,
        };
        let mut executions = Vec::new();
        for entry in parent.entries()? {
            let Some(id) = entry.name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Ok(dir) = parent.open_at(&entry.name) else {
                continue;
            };
            let exit = match liveness(&dir)? {
                Liveness::Exited(exit) => Some(exit),
                living if living.is_alive() => None,
                // Nobody knows how it ended, or it is being made.
                _ => continue,
            };
            executions.push(Execution { id, exit });
        }
        Ok(executions)
    }
}

/// Removes the records of executions that have ended but the last ones: of those whose client went
/// away nobody else does. Best effort: what stays goes with the container's bundle.
pub(crate) fn let_go_of_ended(parent: &Dir) {
    let Ok(entries) = parent.entries() else {
        return;
    };
    if entries.len() <= MOST_ENDED {
        return;
    }
    let ended = entries.iter().filter_map(|entry| {
        let dir = parent.open_at(&entry.name).ok()?;
        match liveness(&dir).ok()? {
            Liveness::Exited(exit) => Some((exit.finished_at, &entry.name)),
            _ => None,
        }
    });
    let mut ended: Vec<_> = ended.collect();
    ended.sort();
    let goes = ended.len().saturating_sub(MOST_ENDED);
    for (_, name) in ended.into_iter().take(goes) {
        // Another one may be doing the same.
        let _ = parent.remove_tree(name);
    }
}
