//! A monitor that comes to life before it is known what it will supervise.
//!
//! It takes longer to be executed and to make a process in new namespaces than a command takes to read its
//! arguments, find the image and write the bundle. Begun first of all, it is never waited for.

use std::path::{Path, PathBuf};

use lamina_monitor::{Ahead, Spawned};
use lamina_types::ContainerId;
use lamina_types::explain::Explainer;

use super::create::random_id;

/// The monitor of a container whose id is all that is known. Dropped, it ends.
#[derive(Debug)]
pub struct Early {
    id: ContainerId,
    bundle: PathBuf,
    monitor: Spawned,
}

impl Early {
    /// Starts a monitor for an engine whose run directory is `run`; `is_isolated` says whether
    /// its container will probably have every namespace of its own.
    ///
    /// `None` where that fails: the run will try again, and say why.
    pub fn spawn(run: &Path, binary: &Path, is_isolated: bool) -> Option<Self> {
        let id = random_id().ok()?;
        let bundle = bundle(run, &id);
        let ahead = Ahead {
            explain_pipe: None,
            network: is_isolated,
            namespaces: is_isolated,
        };
        let monitor = lamina_monitor::spawn(&bundle, binary, &mut Explainer::off(), ahead).ok()?;
        Some(Self {
            id,
            bundle,
            monitor,
        })
    }

    /// Returns the id and the monitor, if they are for an engine with this run directory.
    pub(crate) fn for_run(self, run: &Path) -> Option<(ContainerId, Spawned)> {
        (self.bundle == bundle(run, &self.id)).then_some((self.id, self.monitor))
    }
}

/// Returns where the bundle of a container is.
pub(crate) fn bundle(run: &Path, id: &ContainerId) -> PathBuf {
    run.join("containers").join(id.as_str())
}
