//! `export`.

use std::io::BufWriter;

use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::ExportArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::commands::save::{Output, path_failure, stdout};
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

impl Verb for ExportArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let (file, output) = match &self.output {
            Some(path) => {
                let output = Output::create(&app.working_directory()?.join(path))?;
                (output.file().map_err(path_failure)?, Some(output))
            }
            None if ui::out_is_terminal() => {
                return Err(Failure::said(
                    ErrorKind::InvalidArgument,
                    "cowardly refusing to save to a terminal",
                )
                .hint("lamina export -o FILE CONTAINER, or lamina export CONTAINER > FILE"));
            }
            None => (stdout()?, None),
        };
        let engine = app.engine()?;
        let id = find(&engine, &self.container)?;
        let out = BufWriter::with_capacity(1 << 18, &file);
        engine.export(&id, out).map_err(Failure::from)?;
        if let Some(output) = output {
            output.finish(&file).map_err(path_failure)?;
        }
        Ok(exit_codes::SUCCESS)
    }
}
