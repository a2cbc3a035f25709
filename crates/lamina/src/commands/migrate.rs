//! `system migrate`.

use crate::app::App;
use crate::args::MigrateArgs;
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui;

impl Verb for MigrateArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine_configured()?;
        let migrated = engine
            .images()
            .migrate()
            .map_err(|error| with_hints(Failure::from(error), About::Store))?;
        let lines = migrated.converted.iter();
        let text: String = lines.map(|id| format!("Converted: {}\n", id.0)).collect();
        ui::out(&text)?;
        let count = migrated.converted.len();
        ui::out(&format!("{count} layers converted\n"))?;
        let trees = migrated.trees.len();
        if trees > 0 {
            ui::out(&format!(
                "{trees} trees let go, their files are in the pool\n"
            ))?;
        }
        app.tidy(&engine);
        if migrated.failed.is_empty() {
            return Ok(exit_codes::SUCCESS);
        }
        for (_, error) in migrated.failed {
            ui::err(&Failure::from(error).render());
        }
        Err(Failure::printed())
    }
}
