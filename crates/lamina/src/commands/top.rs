//! `top`.

use crate::app::App;
use crate::args::TopArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// The least width of a column, with the blanks after it, as Docker's.
const WIDTH: usize = 20;
/// How many blanks follow the widest cell.
const PADDING: usize = 3;

impl Verb for TopArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let (name, options) = self.words.split_first().unwrap_or((&self.words[0], &[]));
        let engine = app.engine()?;
        let id = find(&engine, name)?;
        let top = engine.top(&id, options).map_err(Failure::from)?;
        let rows: Vec<&Vec<String>> = [&top.titles].into_iter().chain(&top.processes).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            (cells.max().unwrap_or(0) + PADDING).max(WIDTH)
        };
        let last = top.titles.len() - 1;
        let widths: Vec<usize> = (0..last).map(width).collect();
        let mut text = String::new();
        for row in rows {
            for (cell, width) in row.iter().zip(&widths) {
                text += &format!("{:<width$}", ui::escape(cell));
            }
            text += &format!("{}\n", ui::escape(&row[last]));
        }
        ui::out(&text)?;
        Ok(exit_codes::SUCCESS)
    }
}
