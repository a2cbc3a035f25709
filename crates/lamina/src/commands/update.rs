//! `update`.

use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::{UpdateArgs, UpdateLimitArgs};
use crate::cli::Verb;
use crate::commands::containers::each;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::request::{resources, restart_policy};

impl Verb for UpdateArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        if self.limits == UpdateLimitArgs::default() && self.restart.is_none() {
            return Err(Failure::said(
                ErrorKind::InvalidArgument,
                "you must provide one or more flags when using this command",
            ));
        }
        let limits = resources(&self.limits)?;
        let restart = self.restart.as_deref().map(restart_policy).transpose();
        // A policy is judged when it is applied, not when it is typed.
        let restart = restart.map_err(|failure| failure.exits(exit_codes::FAILED))?;
        each(app, &self.containers, |engine, id| {
            engine.update(id, &limits, restart).map_err(Failure::from)?;
            Ok(None)
        })
    }
}
