//! `attach`.

use lamina_engine::AttachError;
use lamina_monitor::{Relayed, SessionError};
use rustix::io::Errno;

use crate::app::App;
use crate::args::AttachArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::commands::foreground::Foreground;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};

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
