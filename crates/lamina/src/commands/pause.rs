//! `pause` and `unpause`.

use crate::app::App;
use crate::args::{PauseArgs, UnpauseArgs};
use crate::cli::Verb;
use crate::commands::containers::each;
use crate::failure::{Failure, Outcome};

impl Verb for PauseArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        each(app, &self.containers, |engine, id| {
            engine.pause(id).map_err(Failure::from)?;
            Ok(None)
        })
    }
}

impl Verb for UnpauseArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        each(app, &self.containers, |engine, id| {
            engine.unpause(id).map_err(Failure::from)?;
            Ok(None)
        })
    }
}
