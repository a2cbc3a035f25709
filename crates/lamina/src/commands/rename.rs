//! `rename`.

use lamina_types::{ContainerName, ErrorKind};

use crate::app::App;
use crate::args::RenameArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};

impl Verb for RenameArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        // Docker's API writes names with a slash before them.
        let name = self.name.strip_prefix('/').unwrap_or(&self.name);
        let name: ContainerName = name
            .parse()
            .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))?;
        let engine = app.engine()?;
        let id = find(&engine, &self.container)?;
        engine
            .rename(&id, &name)
            .map_err(|error| with_hints(Failure::from(error), About::Container(&self.container)))?;
        Ok(exit_codes::SUCCESS)
    }
}
