//! `attach`.

use lamina_engine::{AttachError, Engine, LogsError, LogsOptions};
use lamina_monitor::{Relayed, SessionError, Time};
use lamina_types::ContainerId;
use rustix::io::Errno;

use crate::app::App;
use crate::args::AttachArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::commands::foreground::Foreground;
use crate::commands::logs;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::out_is_terminal;

/// How many lines of what was printed before are shown on a terminal.
const ON_A_TERMINAL: u64 = 10;

impl Verb for AttachArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        let id = find(&engine, &self.container)?;
        let mut attached = engine
            .attach(&id)
            .map_err(|error| failed(error, &self.container))?;
        let stdin = attached.has_stdin && !self.no_stdin;
        let foreground = Foreground::new(
            stdin,
            attached.has_terminal,
            &self.detach_keys,
            self.sig_proxy,
        )?;
        let signals = foreground.take_signals()?;
        self.show_earlier(&engine, &id)?;
        let relayed =
            foreground.relay(Some(&signals), |stdio| engine.relay(&mut attached, stdio))?;
        match relayed {
            Ok(Relayed::Exit(exit)) => Ok(exit.code),
            Ok(Relayed::Detached) => {
                engine.note_on(&id, "detach");
                Ok(exit_codes::SUCCESS)
            }
            // Whoever read the output has had enough; the container goes on.
            Err(AttachError::Session(SessionError::Stdio {
                source: Errno::PIPE,
                ..
            })) => Err(Failure::printed().exits(exit_codes::BROKEN_PIPE)),
            Err(error) => Err(Failure::from(error)),
        }
    }
}

impl AttachArgs {
    /// Shows the end of what was printed before: who comes late would look at nothing until more
    /// is printed. What comes in the moment between both may be shown twice, and is never lost.
    fn show_earlier(&self, engine: &Engine, id: &ContainerId) -> Outcome {
        let tail = match &self.tail {
            Some(text) => logs::tail(text),
            None if out_is_terminal() => Some(ON_A_TERMINAL),
            None => return Ok(()),
        };
        let options = LogsOptions {
            tail,
            until: Some(Time::now()),
            ..LogsOptions::default()
        };
        let entries = match engine.logs(id, options) {
            Err(LogsError::Unreadable) if self.tail.is_none() => return Ok(()),
            other => other.map_err(Failure::from)?,
        };
        for entry in entries {
            let entry = entry.map_err(Failure::from)?;
            logs::write(entry.stream, &entry.content)?;
        }
        Ok(())
    }
}

fn failed(error: AttachError, name: &str) -> Failure {
    let hint = match &error {
        AttachError::NotRunning(_) => Some(format!("lamina start {name}")),
        AttachError::Paused(_) => Some(format!("lamina unpause {name}")),
        _ => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
