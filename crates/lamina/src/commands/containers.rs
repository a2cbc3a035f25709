//! `start`, `stop`, `kill`, `rm`, `cleanup`: one verb, several containers, an answer each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lamina_engine::{Engine, RemoveOptions, StartError, StartOptions};
use lamina_store::Removal;
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, ErrorKind, Signal};

use crate::app::{App, Pulling};
use crate::args::{CleanupArgs, KillArgs, RmArgs, StartArgs, StopArgs};
use crate::cli::Verb;
use crate::commands::foreground::Foreground;
use crate::commands::prune;
use crate::commands::run::{attached, start_failed};
use crate::commands::undo::tell;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui;

/// Finds a container by what was typed.
pub(crate) fn find(engine: &Engine, name: &str) -> Outcome<ContainerId> {
    engine
        .find(name)
        .map_err(|error| with_hints(Failure::from(error), About::Container(name)))
}

/// Does something to each container; says its name when it is done, an error when not, and goes on.
pub(crate) fn each(
    app: &App,
    names: &[String],
    act: impl Fn(&Engine, &ContainerId) -> Outcome<Option<String>>,
) -> Outcome<u8> {
    each_of(&app.engine()?, names, act)
}

/// The same with an engine that is open.
pub(crate) fn each_of(
    engine: &Engine,
    names: &[String],
    act: impl Fn(&Engine, &ContainerId) -> Outcome<Option<String>>,
) -> Outcome<u8> {
    let mut failed = false;
    for name in names {
        let done = find(engine, name).and_then(|id| act(engine, &id));
        match done {
            Ok(answer) => ui::out(&format!("{}\n", answer.as_deref().unwrap_or(name)))?,
            Err(failure) => {
                ui::err(&failure.render());
                failed = true;
            }
        }
    }
    all_done(failed)
}

/// Returns how a command on several things ended, when each failure was printed already.
fn all_done(failed: bool) -> Outcome<u8> {
    if failed {
        return Err(Failure::printed());
    }
    Ok(exit_codes::SUCCESS)
}

impl Verb for StartArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        if self.attach || self.interactive {
            return self.attach(app);
        }
        let config = app.config()?;
        let engine = app.engine_with(&config, Pulling::default())?;
        let mut names = self.containers;
        if self.all_restart {
            let found = engine.to_start_at_boot().map_err(Failure::from)?;
            names.extend(found.into_iter().map(|record| record.name.to_string()));
        }
        let mut failed = false;
        for name in &names {
            let started = find(&engine, name).and_then(|id| {
                let started = match self.again {
                    true => engine.start_due(&id),
                    false => {
                        let options = StartOptions {
                            streams: Some(ui::streams()),
                            ..StartOptions::default()
                        };
                        engine.start(&id, &options, &mut Explainer::off()).map(Some)
                    }
                };
                match started {
                    // What runs needs no start; what is paused is not started by this.
                    Err(StartError::Running(_)) if !is_paused(&engine, &id) => Ok(None),
                    other => other.map_err(start_failed),
                }
            });
            match started {
                Ok(running) => {
                    // One that has ended already was left to its monitor just the same.
                    drop(running.map(|running| running.session.detach()));
                    ui::out(&format!("{name}\n"))?;
                }
                Err(failure) => {
                    ui::err(&failure.render());
                    failed = true;
                }
            }
        }
        all_done(failed)
    }
}

fn is_paused(engine: &Engine, id: &ContainerId) -> bool {
    let inspect = engine.inspect(id);
    inspect.is_ok_and(|inspect| inspect.state["Paused"] == true)
}

impl StartArgs {
    fn attach(&self, app: &App) -> Outcome<u8> {
        let [name] = &self.containers[..] else {
            return Err(Failure::said(
                ErrorKind::InvalidArgument,
                "you cannot start and attach multiple containers at once",
            ));
        };
        let config = app.config()?;
        let engine = app.engine_with(&config, Pulling::default())?;
        let id = find(&engine, name)?;
        let inspect = engine.inspect(&id).map_err(Failure::from)?;
        let document = serde_json::to_value(&inspect).unwrap_or_default();
        let flag = |name: &str| document["Config"][name].as_bool().unwrap_or(false);
        let stdin = self.interactive && flag("OpenStdin");
        let foreground = Foreground::new(stdin, flag("Tty"), &self.detach_keys, self.sig_proxy)?;
        let signals = foreground.take_signals()?;
        let mut explainer = Explainer::off();
        let options = StartOptions {
            attached: true,
            streams: Some(ui::streams()),
            ..StartOptions::default()
        };
        let running = engine
            .start(&id, &options, &mut explainer)
            .map_err(start_failed)?;
        attached(
            &engine,
            running,
            &foreground,
            Some(&signals),
            &mut explainer,
        )
    }
}

impl Verb for StopArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let signal = self.signal.as_deref().map(signal).transpose()?;
        let timeout = self.timeout.map(patience).transpose()?;
        each(app, &self.containers, |engine, id| {
            if let Some(signal) = signal {
                engine.kill(id, signal).map_err(Failure::from)?;
            }
            let timeout = match timeout {
                Some(timeout) => timeout,
                None => engine.stop_timeout(id).map_err(Failure::from)?,
            };
            engine.stop(id, timeout).map_err(Failure::from)?;
            Ok(None)
        })
    }
}

/// Reads the seconds of `--timeout`; -1 is for ever.
pub(crate) fn patience(seconds: i64) -> Outcome<Option<Duration>> {
    if seconds == -1 {
        return Ok(None);
    }
    let seconds = u64::try_from(seconds).map_err(|_| {
        Failure::usage("invalid argument for --timeout: expected seconds, or -1 to wait for ever")
    })?;
    Ok(Some(Duration::from_secs(seconds)))
}

impl Verb for KillArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let signal = signal(&self.signal)?;
        each(app, &self.containers, |engine, id| {
            engine.kill(id, signal).map_err(Failure::from)?;
            // As Docker's, it returns when the container has ended, not when it is about to.
            if signal == Signal::KILL {
                ended(engine, id);
            }
            Ok(None)
        })
    }
}

/// Waits a bounded time for a container that was killed to have ended.
pub(crate) fn ended(engine: &Engine, id: &ContainerId) {
    /// A process that the kernel keeps longer than this is not waited for.
    const PATIENCE: Duration = Duration::from_secs(10);
    const INTERVAL: Duration = Duration::from_millis(5);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        // One that cannot be found has been removed.
        match engine.inspect(id) {
            Ok(inspect) if inspect.state["Running"] == true => {
                std::thread::sleep(INTERVAL);
            }
            _ => return,
        }
    }
}

pub(crate) fn signal(text: &str) -> Outcome<Signal> {
    text.parse()
        .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))
}

impl Verb for RmArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let options = RemoveOptions {
            force: self.force,
            volumes: self.volumes,
        };
        let engine = app.engine_configured()?;
        if self.plan {
            return self.show_plan(&engine, options);
        }
        let mut removal = engine.removal(self.now);
        let mut failed = false;
        for name in &self.containers {
            match remove(&engine, &mut removal, name, options) {
                Ok(()) => ui::out(&format!("{name}\n"))?,
                // With --force one that is not there is as good as removed, but worth a word.
                Err(failure) => {
                    ui::err(&failure.render());
                    failed |= !(self.force && failure.kind() == ErrorKind::NotFound);
                }
            }
        }
        tell(&removal.finish()?);
        app.tidy(&engine);
        all_done(failed)
    }
}

impl RmArgs {
    /// Shows what goes with those that would be removed, and says what keeps the others.
    fn show_plan(&self, engine: &Engine, options: RemoveOptions) -> Outcome<u8> {
        let format = prune::plan_format(self.format.as_deref())?;
        let mut ids = BTreeSet::new();
        let mut failed = false;
        for name in &self.containers {
            let found = find(engine, name).and_then(|id| {
                let may = engine.may_remove(&id, options);
                may.map(|()| id).map_err(|error| kept(name, error))
            });
            match found {
                Ok(id) => drop(ids.insert(id)),
                Err(failure) => {
                    ui::err(&failure.render());
                    failed |= !(self.force && failure.kind() == ErrorKind::NotFound);
                }
            }
        }
        prune::show(&engine.plan_removal(&ids, options)?, &format)?;
        all_done(failed)
    }
}

fn remove(engine: &Engine, removal: &mut Removal, name: &str, options: RemoveOptions) -> Outcome {
    let id = find(engine, name)?;
    let removed = engine.remove_into(removal, &id, options);
    removed.map_err(|error| kept(name, error))
}

/// Says why a container is still there, and what helps.
fn kept(name: &str, error: lamina_engine::RemoveError) -> Failure {
    let failure = Failure::from(error);
    match failure.kind() {
        ErrorKind::FailedPrecondition => {
            failure.hint(format!("lamina stop {name}, or lamina rm -f {name}"))
        }
        _ => with_hints(failure, About::Container(name)),
    }
}

impl Verb for CleanupArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let id = self
            .container
            .parse::<ContainerId>()
            .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))?;
        app.engine()?.cleanup(&id).map_err(Failure::from)?;
        Ok(exit_codes::SUCCESS)
    }
}
