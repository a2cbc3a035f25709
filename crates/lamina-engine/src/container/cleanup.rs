//! `cleanup`: what a run leaves is removed, and with `--rm` the container.
//!
//! Called by whoever sees a container end: the foreground client, else its monitor through the
//! command it was given. Where both were killed, `ps`, `rm` and `start` find the container by its
//! record: `--rm`, no monitor, no init. All of them may race; the container's lock decides.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use lamina_fs::{Lock, LockError, PathError, Rank, RemoveError};
use lamina_monitor::{Liveness, LivenessError, liveness};
use lamina_store::{Area, Line, OpError, Operation, RemovalError, UndoError};
use lamina_types::{ContainerId, ErrorKind};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::Engine;
use crate::container::find::{Container, FindError};
use crate::container::state::{ContainerState, ContainerStatus};
use crate::record::Record;
use crate::request::CreateRequest;
use crate::rootfs::RootfsError;
use crate::spec::isolation;
use crate::volumes::VolumeError;

/// The lock that serialises start, cleanup and removal of one container.
pub(crate) const LOCK: &str = "lock";

/// The lock that holds a container with `--rm` over a restart: while somebody has it, the end of a
/// run does not remove the container. Taken before [`LOCK`].
pub(crate) const RESTART: &str = "again";

/// How long the record of an end is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// One part of a container that could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanupFailure {
    /// A file or directory.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A tree.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// The writable layer.
    #[error("remove the writable layer")]
    Snapshot(#[from] lamina_snapshot::RemoveError),
    /// No storage mode works here any more.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A volume.
    #[error("remove an anonymous volume")]
    Volume(#[from] VolumeError),
    /// A control group, or what is in it.
    #[error("remove the control group")]
    Cgroup(#[from] UndoError),
    /// What can be brought back could not be moved.
    #[error("move the container away")]
    Removal(#[from] RemovalError),
    /// The operation could not be noted.
    #[error("note the operation")]
    Op(#[from] OpError),
}

/// Why a container cannot be cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Somebody else holds the container for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// It runs.
    #[error("container {0} is running")]
    Running(ContainerId),
    /// Parts of it could not be removed; the next command tries again.
    #[error("clean up container {id}: {}", join(failures))]
    Parts {
        /// Which container.
        id: ContainerId,
        /// Everything that failed.
        failures: Vec<CleanupFailure>,
    },
}

fn join(failures: &[CleanupFailure]) -> String {
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl CleanupError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::Running(_) => ErrorKind::FailedPrecondition,
            Self::Parts { .. } => ErrorKind::Internal,
        }
    }
}

impl Engine {
    /// Removes what the ended run of a container left, and with `--rm` the container itself.
    ///
    /// Idempotent: a container that is gone is clean.
    pub fn cleanup(&self, id: &ContainerId) -> Result<(), CleanupError> {
        let container = match self.load(id) {
            Err(FindError::NotFound(_)) => return Ok(()),
            other => other?,
        };
        let Some(_lock) = lock(&container)? else {
            return Ok(());
        };
        // Whoever had the lock before may have removed it.
        match self.load(id) {
            Err(FindError::NotFound(_)) => return Ok(()),
            other => other?,
        };
        if is_alive(&container)? {
            return Err(CleanupError::Running(id.clone()));
        }
        self.remove_ended(&container)
    }

    fn remove_ended(&self, container: &Container) -> Result<(), CleanupError> {
        let goes = container.record.request.remove && !is_being_restarted(container)?;
        let failures = if goes {
            self.remove_all(container, true)
        } else {
            self.remove_run(&container.record)
        };
        finish(&container.record.id, failures)?;
        if goes {
            self.note_container(&container.record, "destroy", &[]);
        }
        Ok(())
    }

    /// Cleans up after every run that is over and whose processes were killed first; best effort.
    pub fn reconcile(&self) {
        for id in self.container_ids().unwrap_or_default() {
            if let Ok(Some(container)) = self.listed(&id)
                && let Ok(state) = container.state()
                && self.is_left_over(&container, &state)
            {
                // It stays listed, and the next command tries again.
                let _ = self.cleanup(&container.record.id);
            }
        }
    }

    /// Returns whether a run is over and what it made, with `--rm` the container itself, was left
    /// by killed processes.
    ///
    /// A container that was never started belongs to whoever is about to start it.
    pub(crate) fn is_left_over(&self, container: &Container, state: &ContainerState) -> bool {
        let is_over = match state.status {
            ContainerStatus::Running | ContainerStatus::Paused | ContainerStatus::Restarting => {
                false
            }
            ContainerStatus::Exited | ContainerStatus::Dead => true,
            ContainerStatus::Created => state.finished_at.is_some(),
        };
        let bundle = || access(self.bundle(&container.record.id), Access::EXISTS).is_ok();
        is_over && (container.record.request.remove || bundle())
    }

    /// Removes the bundle and the control groups of an ended run.
    pub(crate) fn remove_run(&self, record: &Record) -> Vec<CleanupFailure> {
        let mut failures = self.remove_cgroups(record);
        failures.extend(self.remove_bundle(record).err());
        failures
    }

    fn remove_bundle(&self, record: &Record) -> Result<(), CleanupFailure> {
        Ok(self.run_dir()?.remove_tree(record.id.as_str())?)
    }

    /// Removes the control groups of an ended run, with everything that may still be in them.
    pub(crate) fn remove_cgroups(&self, record: &Record) -> Vec<CleanupFailure> {
        self.try_remove_cgroups(record)
            .unwrap_or_else(|error| vec![error])
    }

    fn try_remove_cgroups(&self, record: &Record) -> Result<Vec<CleanupFailure>, CleanupFailure> {
        let mut left = self.cgroup_directories(&record.id, &record.request)?;
        // An empty group goes at once; what is still in use takes killing and patience.
        left.retain(|dir| !matches!(rustix::fs::rmdir(dir), Ok(()) | Err(Errno::NOENT)));
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let lines: Vec<Line> = left.into_iter().map(Line::Cgroup).collect();
        let operation = self.store.ops().begin("remove control groups", &lines)?;
        Ok(operation
            .undo()
            .into_iter()
            .map(CleanupFailure::from)
            .collect())
    }

    /// Returns the directories that a container's control groups may have.
    pub(crate) fn cgroup_directories(
        &self,
        id: &ContainerId,
        request: &CreateRequest,
    ) -> Result<Vec<PathBuf>, PathError> {
        let asked = request.cgroup_parent.as_deref();
        let parent = asked.unwrap_or(&self.cgroup_parent);
        // A path that breaks the rules was refused before any start: it has none.
        match isolation::cgroup(parent, id) {
            Ok(path) => Ok(self.hierarchies()?.directories(&path)),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Returns what an operation leases that is about to make, or to remove, all that a run has.
    pub(crate) fn run_lines(
        &self,
        id: &ContainerId,
        request: &CreateRequest,
    ) -> Result<Vec<Line>, PathError> {
        let mut lines = vec![Line::RunDir(self.bundle(id))];
        let directories = self.cgroup_directories(id, request)?;
        lines.extend(directories.into_iter().map(Line::Cgroup));
        Ok(lines)
    }

    /// Notes that a container goes, with everything that was made for it, before anything does: a
    /// kill in the middle leaves the rest to the next open.
    pub(crate) fn begin_removal(
        &self,
        container: &Container,
        volumes: bool,
    ) -> Result<Operation, CleanupFailure> {
        let record = &container.record;
        let id = &record.id;
        let mut lines = self.run_lines(id, &record.request)?;
        lines.extend([
            Line::Name {
                name: record.name.clone(),
                container: id.clone(),
            },
            Line::Container(id.clone()),
            Line::Snapshot(id.into()),
        ]);
        if volumes {
            lines.extend(self.own_volumes(record)?.into_iter().map(Line::Volume));
        }
        Ok(self.store.ops().begin("remove", &lines)?)
    }

    /// Removes a container that does not run, and everything that was made for it.
    pub(crate) fn remove_all(&self, container: &Container, volumes: bool) -> Vec<CleanupFailure> {
        let record = &container.record;
        let id = &record.id;
        let operation = match self.begin_removal(container, volumes) {
            Ok(operation) => operation,
            Err(error) => return vec![error],
        };
        // Ends what may still run and write.
        let mut failures = self.remove_cgroups(record);
        failures.extend(self.remove_bundle(record).err());
        if volumes {
            let removed = self.remove_own_volumes(record);
            failures.extend(removed.err().map(CleanupFailure::from));
        }
        let snapshot = self.snapshotter().map_err(CleanupFailure::from);
        let snapshot = snapshot.and_then(|snapshots| Ok(snapshots.remove(&id.into())?));
        failures.extend(snapshot.err());
        failures.extend(self.remove_name(container).err());
        failures.extend(self.remove_directory(id).err());
        if failures.is_empty() {
            failures.extend(operation.finish().err().map(CleanupFailure::from));
        }
        // Otherwise the operation is undone as it is dropped, which tries everything once more.
        failures
    }

    /// Renames the directory away at once, so that nobody finds half of it.
    ///
    /// Another process may just be taking the lock in it, in vain; whatever that leaves in the
    /// trash goes with the rest of the trash.
    fn remove_directory(&self, id: &ContainerId) -> Result<(), CleanupFailure> {
        let containers = self.store.dir(Area::Containers)?;
        if let Some(name) = self.store.trash(containers, id.as_str())? {
            let _ = self.store.dir(Area::Trash)?.remove_tree(&name);
        }
        Ok(())
    }

    pub(crate) fn remove_name(&self, container: &Container) -> Result<(), CleanupFailure> {
        let record = &container.record;
        if self.named(&record.name)?.as_ref() == Some(&record.id) {
            match self.store.dir(Area::Names)?.unlink(record.name.as_str()) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Takes the lock of a container; `None` if its directory was removed meanwhile.
pub(crate) fn lock(container: &Container) -> Result<Option<Lock>, LockError> {
    match Lock::exclusive(&container.dir, LOCK, Rank::Container) {
        Err(LockError::Path(error)) if error.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

/// Returns whether somebody stops a container to start it again. One that is killed over that lets
/// the container go.
fn is_being_restarted(container: &Container) -> Result<bool, LockError> {
    // Taking the lock would make its file, for every `--rm`.
    if matches!(container.dir.stat(RESTART), Err(error) if error.is_not_found()) {
        return Ok(false);
    }
    let held = Lock::try_exclusive(&container.dir, RESTART, Rank::Container)?;
    Ok(held.is_none())
}

/// Returns whether processes of a container live, or will before long.
pub(crate) fn is_alive(container: &Container) -> Result<bool, LivenessError> {
    let begun = Instant::now();
    let mut found = liveness(&container.dir)?;
    // Whether it is started again shows in the record, which its monitor is about to write.
    while matches!(found, Liveness::Exiting(_)) && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
        found = liveness(&container.dir)?;
    }
    Ok(match found {
        // A monitor that has recorded the end and is about to leave does nothing more to the
        // container but run the cleanup that this may be.
        Liveness::Exiting(_) | Liveness::Exited(_) | Liveness::Never | Liveness::Lost(_) => false,
        Liveness::Starting
        | Liveness::Supervised { .. }
        | Liveness::Orphaned { .. }
        | Liveness::Restarting { .. } => true,
    })
}

/// Turns the list into a result.
pub(crate) fn finish(id: &ContainerId, failures: Vec<CleanupFailure>) -> Result<(), CleanupError> {
    if failures.is_empty() {
        Ok(())
    } else {
        Err(CleanupError::Parts {
            id: id.clone(),
            failures,
        })
    }
}
