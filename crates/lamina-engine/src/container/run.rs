//! `run`: create and start as one operation, and the end of a foreground run.

use lamina_image::Progress;
use lamina_monitor::{
    ExitRecord, ForegroundStdio, Liveness, Relayed, Session, SessionError, liveness,
};
use lamina_store::Line;
use lamina_types::ErrorKind;
use lamina_types::explain::Explainer;

use crate::Engine;
use crate::container::cleanup::CleanupError;
use crate::container::create::{self, CreateError, Made};
use crate::container::find::Container;
use crate::container::start::{Launch, Running, StartError, StartOptions};
use crate::events;
use crate::request::CreateRequest;

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The container could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// It was made but could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl RunError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Create(error) => error.kind(),
            Self::Start(error) => error.kind(),
        }
    }

    /// Returns the exit code of the command: 126 or 127 where the program is to blame, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Create(_) => 125,
            Self::Start(error) => error.exit_code(),
        }
    }
}

/// How a foreground run ended.
#[derive(Debug)]
pub enum Finished {
    /// The program ended, and what its run left is removed, or the reason why not is told.
    Exit {
        /// Its code, signal and times.
        exit: Box<ExitRecord>,
        /// What could not be removed; the next command tries again.
        cleanup: Option<CleanupError>,
    },
    /// The user detached: the container goes on.
    Detached,
}

impl Engine {
    /// Makes and starts a container under one operation.
    ///
    /// Killed while the container is made, nothing is left; killed later, its monitor starts it
    /// all the same, and without `--rm` it stays, whatever else is killed.
    pub fn run(
        &self,
        request: &CreateRequest,
        mut options: StartOptions,
        progress: &dyn Progress,
        explain: &mut Explainer,
    ) -> Result<Running, RunError> {
        let early = options.early.take();
        let early = early.and_then(|early| early.for_run(&self.config.run));
        // First of all: it takes longest to come to life. If there is no image, it ends.
        let (id, monitor) = match early {
            Some(early) => early,
            None => {
                let id = create::random_id()?;
                let monitor = self.spawn_monitor(&id, request, &options, explain);
                (id, monitor.map_err(StartError::from)?)
            }
        };
        let Made {
            operation,
            record,
            dir,
            rootfs,
        } = self.make(request, &id, progress, explain)?;
        let container = Container {
            dir,
            record,
            damaged: false,
        };
        if !container.record.request.remove {
            // What the program writes is the user's.
            operation
                .lease(&[Line::Published])
                .map_err(StartError::from)?;
        }
        let mut before = vec![events::created(&container.record)];
        before.extend(options.events_before(&container.record));
        let launch = Launch {
            rootfs: &rootfs,
            operation: &operation,
            before: before.clone(),
            restarts: false,
            streams: options.streams,
        };
        match self.launch(&container, launch, monitor, explain) {
            Ok(session) => {
                operation.finish().map_err(StartError::from)?;
                Ok(Running {
                    id,
                    session,
                    container,
                })
            }
            Err(error) if container.record.request.remove => {
                // What is left of the container is named in the operation.
                drop(self.remove_run(&container.record));
                drop(operation.undo());
                let _ = self.store.empty_trash();
                self.note_failed_start(&container.record, before, &error);
                self.note_container(&container.record, "destroy", &[]);
                Err(error.into())
            }
            Err(error) => {
                // As in Docker the container stays, for a look at it or another start.
                drop(self.remove_run(&container.record));
                operation.finish().map_err(StartError::from)?;
                self.note_failed_start(&container.record, before, &error);
                Err(error.into())
            }
        }
    }

    /// Relays until the container ends or the user detaches, then cleans up after the run.
    ///
    /// After an error the container may still run; its monitor cleans up after the end.
    pub fn foreground(
        &self,
        running: Running,
        stdio: &ForegroundStdio<'_>,
        explain: &mut Explainer,
    ) -> Result<Finished, SessionError> {
        let Running {
            container,
            mut session,
            ..
        } = running;
        let mut is_left_to_monitor = false;
        let mut relayed = session.relay(stdio);
        if let Err(SessionError::Gone) = relayed {
            // A monitor that was killed after it had recorded the end has said all that matters.
            is_left_to_monitor = recorded(&container).is_none();
            relayed = self.go_on(&container, &mut session, stdio);
        }
        let exit = match relayed? {
            Relayed::Detached => {
                self.note_container(&container.record, "detach", &[]);
                return Ok(Finished::Detached);
            }
            // Nobody saw how it ended: the command has no code for that but its own.
            Relayed::Exit(exit) if exit.unknown => return Err(SessionError::Gone),
            Relayed::Exit(exit) => exit,
        };
        let cleanup = match is_left_to_monitor {
            // Whom it does not know as the one that cleans up.
            true => None,
            false => self.after_exit(&container, &session, explain),
        };
        Ok(Finished::Exit {
            exit: Box::new(exit),
            cleanup,
        })
    }

    /// Goes on with a container whose monitor was killed, as a client of another one, however often
    /// that happens.
    pub(crate) fn go_on(
        &self,
        container: &Container,
        session: &mut Session,
        stdio: &ForegroundStdio<'_>,
    ) -> Result<Relayed, SessionError> {
        loop {
            if let Some(exit) = recorded(container) {
                return Ok(Relayed::Exit(exit));
            }
            let Some(found) = self.find_again(container) else {
                let exit = recorded(container).map(Relayed::Exit);
                return exit.ok_or(SessionError::Gone);
            };
            *session = found;
            session.attach()?;
            match session.relay(stdio) {
                Err(SessionError::Gone) => {}
                other => return other,
            }
        }
    }

    fn after_exit(
        &self,
        container: &Container,
        session: &Session,
        explain: &mut Explainer,
    ) -> Option<CleanupError> {
        explain
            .step(
                "clean up",
                "the control groups and the bundle go, and with --rm the container and its \
                 writable layer; nothing was mounted on the host, so nothing is unmounted",
                || format!("rm -rf {}", self.bundle(&container.record.id).display()),
                || self.cleanup_ended(container, session),
            )
            .err()
    }
}

/// Returns the recorded end of the container's last run.
fn recorded(container: &Container) -> Option<ExitRecord> {
    match liveness(&container.dir).ok()? {
        Liveness::Exited(exit) | Liveness::Restarting { exit, .. } => Some(exit),
        _ => None,
    }
}
