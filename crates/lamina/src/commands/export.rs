//! `export`.

use std::io::BufWriter;

use crate::app::App;
use crate::args::ExportArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::commands::output::Output;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};

impl Verb for ExportArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let hint = "lamina export -o FILE CONTAINER, or lamina export CONTAINER > FILE";
        let output = Output::open(app, self.output.as_deref(), hint)?;
        let engine = app.engine()?;
        let id = find(&engine, &self.container)?;
        let out = BufWriter::with_capacity(1 << 18, output.file());
        engine.export(&id, out).map_err(Failure::from)?;
        output.finish()?;
        Ok(exit_codes::SUCCESS)
    }
}
