//! `commit`.

use lamina_engine::CommitRequest;

use crate::app::App;
use crate::args::CommitArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::commands::pull::reference;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui;

impl Verb for CommitArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let request = CommitRequest {
            name: self.image.as_deref().map(reference).transpose()?,
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes: self.change,
            pause: self.pause,
        };
        let engine = app.engine_configured()?;
        let id = find(&engine, &self.container)?;
        let image = engine
            .commit(&id, &request)
            .map_err(|error| with_hints(Failure::from(error), About::Container(&self.container)))?;
        ui::out(&format!("{image}\n"))?;
        app.tidy(&engine);
        Ok(exit_codes::SUCCESS)
    }
}
