//! `diff`.

use lamina_layer::{Change, ChangeKind};
use lamina_types::quantity::human_size;

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
        let text = match self.stat {
            true => with_sizes(&engine.diff_sizes(&id).map_err(Failure::from)?),
            false => {
                let changes = engine.diff(&id).map_err(Failure::from)?;
                changes.iter().map(|change| line(change) + "\n").collect()
            }
        };
        ui::out(&text)?;
        Ok(exit_codes::SUCCESS)
    }
}

fn line(change: &Change) -> String {
    let letter = match change.kind {
        ChangeKind::Added => 'A',
        ChangeKind::Modified => 'C',
        ChangeKind::Deleted => 'D',
    };
    let path = change.path.to_string_lossy();
    format!("{letter} /{}", ui::escape(path.trim_start_matches('/')))
}

/// Shows each change with what it has written, and the sums.
fn with_sizes(changes: &[(Change, u64)]) -> String {
    let mut text = String::new();
    for (change, size) in changes {
        text += &line(change);
        if change.content_below.is_some() {
            text += " (metadata only)";
        } else if *size > 0 {
            text += &format!(" ({})", human_size(*size));
        }
        text.push('\n');
    }
    let count = |kind| changes.iter().filter(|(one, _)| one.kind == kind).count();
    let written = changes.iter().map(|(_, size)| size).sum();
    text + &format!(
        "{} added, {} changed, {} deleted, {} written\n",
        count(ChangeKind::Added),
        count(ChangeKind::Modified),
        count(ChangeKind::Deleted),
        human_size(written)
    )
}
