//! `diff`.

use lamina_layer::ChangeKind;

use crate::app::App;
use crate::args::DiffArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

impl Verb for DiffArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        let id = find(&engine, &self.container)?;
        let mut text = String::new();
        for change in engine.diff(&id).map_err(Failure::from)? {
            let letter = match change.kind {
                ChangeKind::Added => 'A',
                ChangeKind::Modified => 'C',
                ChangeKind::Deleted => 'D',
            };
            let path = change.path.to_string_lossy();
            text += &format!("{letter} /{}\n", ui::escape(path.trim_start_matches('/')));
        }
        ui::out(&text)?;
        Ok(exit_codes::SUCCESS)
    }
}
