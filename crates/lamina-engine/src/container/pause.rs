//! `pause` and `unpause`: the processes of a container are stopped and go on, by its freezer.

use lamina_monitor::{Liveness, LivenessError, liveness};
use lamina_runtime::{Cgroup, CgroupError};
use lamina_store::Line;
use lamina_types::{ContainerId, ErrorKind};

use crate::Engine;
use crate::container::find::{Container, FindError};
use crate::container::list::{ListError, state_of};
use crate::container::state::{ContainerState, ContainerStatus};
use crate::record::Record;
use crate::spec::isolation;

/// Why a container cannot be paused, or made to go on.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// It is about to be started again.
    #[error("container {0} is restarting, wait until the container is running")]
    Restarting(ContainerId),
    /// It is paused.
    #[error("container {0} is already paused")]
    AlreadyPaused(ContainerId),
    /// It is not paused.
    #[error("container {0} is not paused")]
    NotPaused(ContainerId),
    /// Its control group does not do it.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl PauseError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::NotRunning(_)
            | Self::Restarting(_)
            | Self::AlreadyPaused(_)
            | Self::NotPaused(_) => ErrorKind::FailedPrecondition,
            Self::Cgroup(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Stops every process of a running container until [`Engine::unpause`]. Returns when all are
    /// stopped, within two seconds; one that the kernel keeps busy is an error, and all go on.
    pub fn pause(&self, id: &ContainerId) -> Result<(), PauseError> {
        let container = self.load_supervised(id)?;
        let cgroup = self.running_cgroup(&container)?;
        if cgroup.is_frozen() {
            return Err(PauseError::AlreadyPaused(id.clone()));
        }
        cgroup.freeze()?;
        self.note_container(&container.record, "pause", &[]);
        Ok(())
    }

    /// Lets the processes of a paused container go on.
    pub fn unpause(&self, id: &ContainerId) -> Result<(), PauseError> {
        let container = self.load_supervised(id)?;
        let cgroup = self.running_cgroup(&container)?;
        if !cgroup.is_frozen() {
            return Err(PauseError::NotPaused(id.clone()));
        }
        cgroup.thaw()?;
        self.note_container(&container.record, "unpause", &[]);
        Ok(())
    }

    /// Returns the control group of a container that runs.
    pub(crate) fn running_cgroup(&self, container: &Container) -> Result<Cgroup, PauseError> {
        let not_running = || PauseError::NotRunning(container.record.id.clone());
        match liveness(&container.dir)? {
            Liveness::Supervised { .. } | Liveness::Orphaned { .. } => {}
            Liveness::Restarting { .. } => {
                return Err(PauseError::Restarting(container.record.id.clone()));
            }
            _ => return Err(not_running()),
        }
        self.cgroup_of(&container.record)?.ok_or_else(not_running)
    }

    /// Returns the control group of a container, if it has one now.
    pub(crate) fn cgroup_of(&self, record: &Record) -> Result<Option<Cgroup>, CgroupError> {
        let asked = record.request.cgroup_parent.as_deref();
        let parent = asked.unwrap_or(&self.cgroup_parent);
        match isolation::cgroup(parent, &record.id) {
            Ok(path) => Cgroup::find(&path),
            // A path that breaks the rules was refused before any start.
            Err(_) => Ok(None),
        }
    }

    /// Returns whether a container is paused; one whose control group cannot be asked is not.
    pub(crate) fn is_paused(&self, record: &Record) -> bool {
        let cgroup = self.cgroup_of(record).ok().flatten();
        cgroup.is_some_and(|cgroup| cgroup.is_frozen())
    }

    /// Lets a container go on that is about to end, if it is paused; best effort.
    pub(crate) fn let_go(&self, record: &Record) {
        if let Ok(Some(cgroup)) = self.cgroup_of(record)
            && cgroup.is_freezing()
        {
            let _ = cgroup.thaw();
        }
    }

    /// Holds the processes of a container still until the value is dropped; `None` if somebody has
    /// paused it before. If this process is killed, the next command lets them go on.
    pub(crate) fn hold_still(
        &self,
        container: &Container,
        operation: &lamina_store::Operation,
    ) -> Result<Option<Held>, PauseError> {
        let cgroup = self.running_cgroup(container)?;
        if cgroup.is_frozen() {
            return Ok(None);
        }
        let freezer = cgroup.freezer().map(ToOwned::to_owned);
        // Where it cannot be noted, it is still held and let go by this process.
        let _ = operation.lease(&freezer.map(Line::Frozen).into_iter().collect::<Vec<_>>());
        cgroup.freeze()?;
        Ok(Some(Held(cgroup)))
    }

    /// Returns what a container is doing, and whether it is paused.
    pub(crate) fn observe(&self, container: &Container) -> Result<ContainerState, ListError> {
        let mut state = state_of(container)?;
        if state.status == ContainerStatus::Running && self.is_paused(&container.record) {
            state.status = ContainerStatus::Paused;
        }
        Ok(state)
    }
}

/// A container whose processes are held still; they go on when it is dropped.
#[derive(Debug)]
pub(crate) struct Held(Cgroup);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.thaw();
    }
}
