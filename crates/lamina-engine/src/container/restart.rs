//! `restart`: stop, then start; and the starts that a restart policy asks for.
//!
//! The monitor of a container decides when, see `lamina-monitor`; it executes `container start
//! --again`, which is [`Engine::start_due`]. Whoever stops a container leaves a mark first, which
//! the monitor and a start that is due look for; a start by hand takes it away.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use lamina_fs::{Durability, Lock, PathError, Rank};
use lamina_monitor::record::STOPPED;
use lamina_monitor::{Begin, ConnectError, Failure, Liveness, SessionError, connect, liveness};
use lamina_store::{Line, Operation};
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, ErrorKind, RestartPolicy};
use rustix::fs::FileType;

use crate::Engine;
use crate::container::bundle::{present_config, write_documents};
use crate::container::cleanup::{self, CleanupFailure};
use crate::container::find::Container;
use crate::container::kill::KillError;
use crate::container::list::{ListError, state_of};
use crate::container::start::{Running, StartError, StartOptions, Streams, passed};
use crate::container::state::{ContainerState, ContainerStatus};
use crate::container::stop::{self, StopError};
use crate::record::Record;

/// Why a container cannot be restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// It cannot be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// It cannot be started again.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl RestartError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Stop(error) => error.kind(),
            Self::Start(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Stops a container as [`Engine::stop`] does, if it runs, and starts it. One with `--rm` is
    /// not removed in between.
    pub fn restart(
        &self,
        id: &ContainerId,
        timeout: Option<Duration>,
        streams: Option<Streams>,
    ) -> Result<Running, RestartError> {
        let container = self.load(id).map_err(StartError::from)?;
        let _held = match container.record.request.remove {
            true => {
                let held = Lock::exclusive(&container.dir, cleanup::RESTART, Rank::Container);
                Some(held.map_err(StartError::from)?)
            }
            false => None,
        };
        self.stop(id, timeout)?;
        let options = StartOptions {
            restarts: true,
            streams,
            ..StartOptions::default()
        };
        Ok(self.start(id, &options, &mut Explainer::off())?)
    }
}

impl Engine {
    /// Starts a container whose restart is due; `None` if it is not any more.
    pub fn start_due(&self, id: &ContainerId) -> Result<Option<Running>, StartError> {
        let container = self.load(id)?;
        let _lock = cleanup::lock(&container)?;
        let container = self.load(id)?;
        let Liveness::Restarting { exit, .. } = liveness(&container.dir)? else {
            return Ok(None);
        };
        if is_stopped(&container)? {
            return Ok(None);
        }
        self.start_again(container, exit.restarts, None).map(Some)
    }

    /// Starts a container whose monitor waits for that; under its lock.
    pub(crate) fn start_again(
        &self,
        container: Container,
        restarts: u32,
        streams: Option<Streams>,
    ) -> Result<Running, StartError> {
        let streams = passed(&container.record, streams)?;
        let id = container.record.id.clone();
        let mut waiting = connect(&self.bundle(&id))?;
        let (operation, start) = match self.next_run(&container, restarts) {
            Ok(prepared) => prepared,
            Err(error) => {
                // One that was killed meanwhile needs no answer.
                let _ = waiting.give_up(&Failure::new(125, error.kind(), &error));
                return Err(error);
            }
        };
        let begin = Begin {
            start,
            lease: Some(operation.as_fd()),
            streams,
        };
        let session = waiting.begin(begin)?;
        let explain = &mut Explainer::off();
        let session = self.begun(&id, session, start, &operation, explain)?;
        operation.finish()?;
        Ok(Running {
            id,
            session,
            container,
        })
    }

    /// Writes the next bundle of a container whose monitor lives. Returns the operation, which does
    /// not name the bundle: the monitor's socket is in it. And whether the start is ordered.
    fn next_run(
        &self,
        container: &Container,
        restarts: u32,
    ) -> Result<(Operation, bool), StartError> {
        let record = &container.record;
        let id = &record.id;
        cleanup::finish(id, self.remove_cgroups(record))?;
        let rootfs = self.existing_rootfs(id)?;
        let groups = self.cgroup_directories(id, &record.request)?;
        let start = !groups.is_empty();
        let lines: Vec<Line> = groups.into_iter().map(Line::Cgroup).collect();
        let operation = self.store.ops().begin("start", &lines)?;
        let spec = self.plan(container, &rootfs)?;
        let bundle = self.run_dir()?.open_at(id.as_str())?;
        let events = self.run_events(record, Vec::new());
        let mut monitor = self.monitor_config(container, events);
        monitor.restarts = restarts;
        // The monitor that executes this has no environment, and so no configuration of a user's.
        if let Some(former) = present_config(&bundle) {
            monitor.log = former.log;
        }
        for entry in bundle.entries()? {
            if entry.kind != FileType::Socket {
                let removed = bundle.remove_tree(&entry.name).err();
                cleanup::finish(id, removed.into_iter().map(CleanupFailure::from).collect())?;
            }
        }
        write_documents(&bundle, &spec, &rootfs, &monitor)?;
        Ok((operation, start))
    }

    /// Lists what a boot starts, the oldest first: what has run before, does not run, and is to by its
    /// policy. What somebody has stopped is left alone unless the policy is `always`.
    pub fn to_start_at_boot(&self) -> Result<Vec<Record>, ListError> {
        let mut found = Vec::new();
        for id in self.container_ids()? {
            let Some(container) = self.listed(&id)? else {
                continue;
            };
            let state = state_of(&container)?;
            if state.status == ContainerStatus::Exited && is_wanted(&container, &state) {
                found.push(container.record);
            }
        }
        found.sort_by(|a, b| a.created.cmp(&b.created));
        Ok(found)
    }

    /// Keeps a container from being started again that is about to be; where it runs already,
    /// nothing happens. When this returns, its monitor has let go of it.
    pub(crate) fn halt(&self, container: &Container) -> Result<(), KillError> {
        // A start that was on its way is over.
        let lock = cleanup::lock(container)?;
        if !matches!(liveness(&container.dir)?, Liveness::Restarting { .. }) {
            return Ok(());
        }
        let halted = match connect(&self.bundle(&container.record.id)) {
            Ok(mut session) => session.halt().map(|()| session),
            // It ends just now.
            Err(ConnectError::Connect { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Its monitor has the container cleaned up, which takes the lock.
        drop(lock);
        match halted?.wait() {
            Ok(_) | Err(SessionError::Gone) => {}
            Err(error) => return Err(error.into()),
        }
        // It has let go of the container, or had begun to start it already.
        while stop::is_supervised(container)
            && matches!(liveness(&container.dir)?, Liveness::Restarting { .. })
        {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

fn is_wanted(container: &Container, state: &ContainerState) -> bool {
    let policy = container.record.request.restart;
    match policy {
        RestartPolicy::Always => true,
        // A mark that cannot be looked for is not there.
        _ if is_stopped(container).unwrap_or(false) => false,
        _ => policy.restarts(state.exit_code, state.restarts),
    }
}

/// Notes that somebody stops a container: what follows does not start it again.
pub(crate) fn note_stopped(container: &Container) -> Result<(), PathError> {
    // Without a policy the mark is for one that is given later.
    let durability = match container.record.request.restart {
        RestartPolicy::No => Durability::Volatile,
        _ => Durability::Durable,
    };
    let noted = container
        .dir
        .create_exclusive(STOPPED, b"", 0o600, durability);
    match noted {
        // Gone with its end.
        Err(error) if error.is_already_exists() || error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Takes the mark away: somebody starts the container.
pub(crate) fn forget_stopped(container: &Container) -> Result<(), PathError> {
    match container.dir.unlink(STOPPED) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Returns whether a container was stopped by hand after it was started last.
pub(crate) fn is_stopped(container: &Container) -> Result<bool, PathError> {
    container.dir.exists(STOPPED)
}
