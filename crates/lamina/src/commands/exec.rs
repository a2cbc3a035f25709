//! `exec`.

use lamina_engine::{ExecError, ExecRequest, Executing, RelayError};
use lamina_monitor::{Relayed, SessionError};
use lamina_types::Signal;
use lamina_types::explain::Explainer;
use rustix::io::Errno;

use crate::app::App;
use crate::args::ExecArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::commands::foreground::{Foreground, ForwardedSignals};
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::request;

impl Verb for ExecArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let [container, args @ ..] = self.words.as_slice() else {
            return Err(Failure::usage("no container"));
        };
        if container.starts_with('-') {
            // A flag that is not known is taken for the container; no name begins like that.
            return Err(Failure::usage(format!("unknown flag: {container}")));
        }
        let request = ExecRequest {
            args: args.to_vec(),
            env: self.variables(app)?,
            workdir: self.workdir.clone(),
            user: request::user(self.user.as_deref())?,
            tty: self.tty,
            stdin: self.interactive,
            privileged: self.privileged,
            bound: false,
        };
        let foreground = match self.detach {
            true => None,
            false => Some(Foreground::new(
                self.interactive,
                self.tty,
                &self.detach_keys,
                true,
            )?),
        };
        let engine = app.engine()?;
        let id = find(&engine, container)?;
        let signals = foreground
            .as_ref()
            .map(Foreground::take_signals)
            .transpose()?;
        let executing = engine
            .exec(&id, &request, &mut Explainer::off())
            .map_err(|error| failed(error, container))?;
        match foreground {
            Some(foreground) => attached(executing, &foreground, signals.as_ref()),
            None => {
                // One that has ended already was left to its supervisor just the same.
                let _ = executing.session.detach();
                Ok(exit_codes::SUCCESS)
            }
        }
    }
}

impl ExecArgs {
    /// Reads the variables; a file that cannot be read is no mistake in the flags.
    fn variables(&self, app: &App) -> Outcome<Vec<String>> {
        let none: [&str; 0] = [];
        let mut variables = request::variables(&[], &self.env_file, &app.environment)
            .map_err(|failure| failure.exits(exit_codes::FAILED))?;
        variables.extend(request::variables(&self.env, &none, &app.environment)?);
        Ok(variables)
    }
}

/// Stays until the program ends or the user leaves; the exit code is the program's.
fn attached(
    mut executing: Executing,
    foreground: &Foreground,
    signals: Option<&ForwardedSignals>,
) -> Outcome<u8> {
    match foreground.relay(signals, |stdio| executing.foreground(stdio))? {
        Ok(Relayed::Exit(exit)) => Ok(exit.code),
        Ok(Relayed::Detached) => Ok(exit_codes::SUCCESS),
        Err(RelayError::Session(SessionError::Stdio {
            source: Errno::PIPE,
            ..
        })) => {
            // Whoever read the output has had enough. A program on the host would be ended by
            // SIGPIPE; if its supervisor is gone, it has ended.
            let _ = executing.session.signal(Signal::KILL);
            Err(Failure::printed().exits(exit_codes::BROKEN_PIPE))
        }
        Err(error) => {
            let code = error.exit_code();
            Err(Failure::from(error).exits(code))
        }
    }
}

fn failed(error: ExecError, name: &str) -> Failure {
    let hint = match &error {
        ExecError::NotRunning(_) => Some(format!("lamina start {name}")),
        ExecError::Paused(_) => Some(format!("lamina unpause {name}")),
        _ => None,
    };
    let code = error.exit_code();
    let failure = Failure::from(error).exits(code);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
