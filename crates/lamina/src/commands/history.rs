//! `history`.

use jiff::Timestamp;
use lamina_image::Step;
use lamina_types::quantity::human_size;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::args::HistoryArgs;
use crate::cli::Verb;
use crate::commands::format::bad_format;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui::{self, Column, Format};

/// Docker cuts an instruction at this many characters.
const INSTRUCTION: usize = 45;

const COLUMNS: [Column; 6] = [
    Column {
        field: "ID",
        header: "IMAGE",
    },
    Column {
        field: "CreatedSince",
        header: "CREATED",
    },
    Column {
        field: "CreatedAt",
        header: "CREATED AT",
    },
    Column {
        field: "CreatedBy",
        header: "CREATED BY",
    },
    Column {
        field: "Size",
        header: "SIZE",
    },
    Column {
        field: "Comment",
        header: "COMMENT",
    },
];
const TABLE: [&str; 5] = ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"];
const EXACT: [&str; 5] = ["ID", "CreatedAt", "CreatedBy", "Size", "Comment"];

impl Verb for HistoryArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let columns = if self.human { &TABLE } else { &EXACT };
        let format = match (self.quiet, self.format.as_deref()) {
            (true, None) => Some("{{.ID}}"),
            (_, format) => format,
        };
        let format = Format::parse(format, columns).map_err(bad_format)?;
        let engine = app.engine()?;
        let images = engine.images();
        let steps = images
            .find(&self.image)
            .and_then(|image| images.history(&image))
            .map_err(|error| with_hints(Failure::from(error), About::Image))?;
        let now = Timestamp::now();
        let rows: Vec<Map<String, Value>> = steps.iter().map(|step| self.row(step, now)).collect();
        ui::out(&format.render(&COLUMNS, &rows).map_err(bad_format)?)?;
        Ok(exit_codes::SUCCESS)
    }
}

impl HistoryArgs {
    fn row(&self, step: &Step, now: Timestamp) -> Map<String, Value> {
        let id = match &step.image {
            None => "<missing>".to_owned(),
            Some(id) if self.no_trunc => id.to_string(),
            Some(id) => id.0.short().to_owned(),
        };
        let created = step.created.as_deref();
        let created = created.and_then(|text| text.parse::<Timestamp>().ok());
        let unknown = || "N/A".to_owned();
        let instruction = step.created_by.replace(['\t', '\n'], " ");
        let row = json!({
            "ID": id,
            "CreatedSince": created.map_or_else(unknown, |created| ui::ago(created, now)),
            "CreatedAt": created.map_or_else(unknown, |created| {
                created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
            }),
            "CreatedBy": if self.no_trunc { instruction } else { shortened(&instruction) },
            "Size": if self.human { human_size(step.size) } else { step.size.to_string() },
            "Comment": step.comment,
            "Layer": step.layer,
        });
        match row {
            Value::Object(row) => row,
            _ => Map::new(),
        }
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= INSTRUCTION {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(INSTRUCTION - 1).collect();
    short.push('…');
    short
}
