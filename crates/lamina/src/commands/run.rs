//! `run` and `create`.

use std::io;

use lamina_engine::{Connected, StartError, StartOptions};
use lamina_engine::{CreateError, CreateRequest, Engine, Finished, RunError, Running};
use lamina_monitor::SessionError;
use lamina_types::explain::Explainer;
use lamina_types::{ErrorKind, Signal};
use rustix::io::Errno;

use crate::app::{App, Pulling};
use crate::args::{ContainerArgs, CreateArgs, RunArgs, Stream};
use crate::cli::Verb;
use crate::commands::containers::ended;
use crate::commands::foreground::{self, Foreground, ForwardedSignals};
use crate::config::Config;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::request::{self, Context};
use crate::ui::{self, ExplainPrinter, Progress};

impl Verb for CreateArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let config = app.config()?;
        let request = meant(&self.container, app, &config)?;
        let image = request.image.familiar();
        let progress = progress(&self.container, app);
        let engine = app.engine_with(&config, pulling(&self.container, None))?;
        let id = engine
            .create(&request, &progress, &mut Explainer::off())
            .map_err(|error| create_failed(error, &image))?;
        drop(progress);
        ui::out(&format!("{id}\n"))?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Verb for RunArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        if self.detach && !self.container.attach.is_empty() {
            let text = "conflicting options: cannot specify both --attach and --detach";
            return Err(Failure::said(ErrorKind::InvalidArgument, text));
        }
        let config = app.config()?;
        let mut request = meant(&self.container, app, &config)
            .map_err(|failure| failure.exits(exit_codes::ENGINE))?;
        if self.detach {
            request.process.attached = Connected::NONE;
        }
        let foreground = match self.detach {
            true => None,
            false => Some(self.foreground()?),
        };
        let explain = self
            .explain
            .map(ExplainPrinter::start)
            .transpose()
            .map_err(explain_failed)?;
        // From here on signals are for the program, except while an image is being fetched.
        let signals = foreground
            .as_ref()
            .map(Foreground::take_signals)
            .transpose()?;
        let engine = app.engine_with(&config, pulling(&self.container, signals.clone()))?;
        let mut explainer = match &explain {
            Some(printer) => printer.explainer().map_err(explain_failed)?,
            None => Explainer::off(),
        };
        let outcome = self.start(app, &engine, &request, explain.as_ref(), &mut explainer);
        let id = outcome.as_ref().ok().map(|running| running.id.clone());
        let outcome = outcome.and_then(|running| match foreground {
            None => detached(running),
            Some(foreground) => {
                if let Some(signals) = &signals {
                    signals.take()?;
                }
                attached(
                    &engine,
                    running,
                    &foreground,
                    signals.as_ref(),
                    &mut explainer,
                )
            }
        });
        drop(explainer);
        if let Some(id) = id.filter(|_| !self.shows_output()) {
            ui::out(&format!("{id}\n"))?;
        }
        if let Some(printer) = explain {
            printer.finish();
        }
        outcome
    }
}

impl RunArgs {
    /// Returns what is connected to the terminal, and checks that it can be.
    fn foreground(&self) -> Outcome<Foreground> {
        let wanted =
            |stream| self.container.attach.is_empty() || self.container.attach.contains(&stream);
        let stdin = self.container.interactive && wanted(Stream::Stdin);
        foreground::keys(&self.detach_keys).map_err(|failure| failure.exits(exit_codes::ENGINE))?;
        Foreground::new(stdin, self.container.tty, &self.detach_keys, self.sig_proxy)
            .map(|f| f.with_output(wanted(Stream::Stdout), wanted(Stream::Stderr)))
    }

    /// Returns whether what the container prints is seen here; else its id is, as `-d` shows it.
    fn shows_output(&self) -> bool {
        let outputs = [Stream::Stdout, Stream::Stderr];
        self.detach
            || self.container.attach.is_empty()
            || outputs
                .iter()
                .any(|one| self.container.attach.contains(one))
    }

    fn start(
        &self,
        app: &App,
        engine: &Engine,
        request: &CreateRequest,
        explain: Option<&ExplainPrinter>,
        explainer: &mut Explainer,
    ) -> Outcome<Running> {
        let image = request.image.familiar();
        let pipe = explain.map(|printer| printer.pipe().try_clone_to_owned());
        let options = StartOptions {
            explain_pipe: pipe.transpose().map_err(explain_failed)?,
            early: app.early.take(),
            attached: !self.detach,
            restarts: false,
            streams: Some(ui::streams()),
        };
        let progress = progress(&self.container, app);
        engine
            .run(request, options, &progress, explainer)
            .map_err(|error| run_failed(error, &image))
    }
}

/// Leaves the container to its monitor and prints its id.
fn detached(running: Running) -> Outcome<u8> {
    let id = running.id.clone();
    // A container that has ended already was left to its monitor just the same.
    let _ = running.session.detach();
    ui::out(&format!("{id}\n"))?;
    Ok(exit_codes::SUCCESS)
}

/// Stays with the container until it ends or the user leaves; the exit code is the program's.
pub(crate) fn attached(
    engine: &Engine,
    running: Running,
    foreground: &Foreground,
    signals: Option<&ForwardedSignals>,
    explainer: &mut Explainer,
) -> Outcome<u8> {
    let id = running.id.clone();
    let finished = foreground.relay(signals, |stdio| {
        engine.foreground(running, stdio, explainer)
    })?;
    match finished {
        Ok(Finished::Exit { exit, cleanup }) => {
            if let Some(error) = cleanup {
                ui::err(&Failure::from(error).render());
            }
            Ok(exit.code)
        }
        Ok(Finished::Detached) => Ok(exit_codes::SUCCESS),
        Err(SessionError::Stdio {
            source: Errno::PIPE,
            ..
        }) => {
            // Whoever read the output has had enough. A program on the host would be ended by
            // SIGPIPE; the monitor cleans up after this one.
            if engine.kill(&id, Signal::KILL).is_ok() {
                ended(engine, &id);
            }
            Err(Failure::printed().exits(exit_codes::BROKEN_PIPE))
        }
        Err(error) => Err(Failure::from(error).exits(exit_codes::ENGINE)),
    }
}

fn meant(args: &ContainerArgs, app: &App, config: &Config) -> Outcome<CreateRequest> {
    let cwd = app.working_directory()?;
    let context = Context {
        environment: &app.environment,
        cwd: &cwd,
        hardened: config.hardened.unwrap_or(false),
    };
    request::create_request(args, &context)
}

fn progress(args: &ContainerArgs, app: &App) -> Progress {
    let wanted = args.image.progress.unless(args.image.quiet);
    Progress::new(wanted, app.environment.fancy())
}

fn pulling(args: &ContainerArgs, signals: Option<ForwardedSignals>) -> Pulling {
    Pulling {
        tls_verify: args.image.registry.tls_verify,
        signals,
    }
}

fn explain_failed(error: io::Error) -> Failure {
    let kind = ErrorKind::of_io(&error);
    Failure::new(error, kind).exits(exit_codes::ENGINE)
}

/// Returns the failure of a run: the program's fault is 126 or 127, anything else 125.
fn run_failed(error: RunError, image: &str) -> Failure {
    let code = error.exit_code();
    match error {
        RunError::Create(error) => create_failed(error, image).exits(code),
        RunError::Start(error) => start_failed(error).exits(code),
    }
}

/// Returns the failure of a start, with what to do about it.
pub(crate) fn start_failed(error: StartError) -> Failure {
    let missing = match &error {
        StartError::BindSource(path) => Some(path.clone()),
        _ => None,
    };
    let failure = Failure::from(error);
    match missing {
        Some(path) => failure.hint(format!("mkdir -p {}", path.display())),
        None => with_hints(failure, About::Store),
    }
}

fn create_failed(error: CreateError, image: &str) -> Failure {
    let hint = match &error {
        CreateError::BindSource(path) => Some(format!("mkdir -p {}", path.display())),
        CreateError::NameTaken { name, .. } => {
            Some(format!("lamina rm {name}, or lamina start {name}"))
        }
        CreateError::CidFile(path) => Some(format!("rm {}", path.display())),
        _ => None,
    };
    let mounted = matches!(error, CreateError::Mounted(_));
    let about_image = matches!(error, CreateError::Image(_));
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None if about_image => with_hints(failure, About::Registry(image)),
        None if mounted => with_hints(failure, About::Image),
        None => with_hints(failure, About::Store),
    }
}
