//! `restart`.

use crate::app::{App, Pulling};
use crate::args::RestartArgs;
use crate::cli::Verb;
use crate::commands::containers::{each_of, patience, signal};
use crate::failure::{Failure, Outcome};
use crate::ui;

impl Verb for RestartArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let signal = self.signal.as_deref().map(signal).transpose()?;
        let timeout = self.timeout.map(patience).transpose()?;
        let config = app.config()?;
        let engine = app.engine_with(&config, Pulling::default())?;
        each_of(&engine, &self.containers, |engine, id| {
            if let Some(signal) = signal {
                // One that does not run has nothing to be told.
                let _ = engine.kill(id, signal);
            }
            let timeout = match timeout {
                Some(timeout) => timeout,
                None => engine.stop_timeout(id).map_err(Failure::from)?,
            };
            let running = engine
                .restart(id, timeout, Some(ui::streams()))
                .map_err(Failure::from)?;
            // One that has ended already was left to its monitor just the same.
            let _ = running.session.detach();
            Ok(None)
        })
    }
}
