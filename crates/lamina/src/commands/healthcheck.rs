//! `healthcheck run`, and the check that a monitor has done.

use lamina_monitor::{Report, Reporter};
use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::HealthcheckArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

impl Verb for HealthcheckArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let reporter = match self.due {
            true => Some(Reporter::inherited().map_err(|error| {
                let kind = ErrorKind::of_io(&error);
                Failure::new(error, kind)
            })?),
            false => None,
        };
        let engine = app.engine()?;
        let id = find(&engine, &self.container)?;
        let report = engine.check_health(&id).map_err(Failure::from)?;
        if let Some(reporter) = reporter {
            reporter.tell(&report);
            return Ok(exit_codes::SUCCESS);
        }
        match report {
            Report::Done(result) if result.exit_code == 0 => Ok(exit_codes::SUCCESS),
            // Podman's word, and its exit code.
            Report::Done(_) => {
                ui::out("unhealthy\n")?;
                Ok(exit_codes::FAILED)
            }
            Report::Skipped => Err(Failure::said(
                ErrorKind::FailedPrecondition,
                format!("container {id} is not running, or is paused"),
            )),
        }
    }
}
