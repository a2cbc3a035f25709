//! `image blobs`.

use lamina_types::quantity::human_size;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::args::BlobsArgs;
use crate::cli::Verb;
use crate::commands::format::bad_format;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui::{self, Column, Format};

const COLUMNS: [Column; 5] = [
    Column {
        field: "Blob",
        header: "BLOB",
    },
    Column {
        field: "Size",
        header: "SIZE",
    },
    Column {
        field: "Here",
        header: "HERE",
    },
    Column {
        field: "MediaType",
        header: "MEDIA TYPE",
    },
    Column {
        field: "Layer",
        header: "LAYER",
    },
];
const TABLE: [&str; 4] = ["Blob", "Size", "Here", "MediaType"];

impl Verb for BlobsArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let format = Format::parse(self.format.as_deref(), &TABLE).map_err(bad_format)?;
        let engine = app.engine()?;
        let images = engine.images();
        let image = match self.rebuild {
            true => images.rebuild_blobs(&self.image).map_err(Failure::from),
            false => images.find(&self.image).map_err(Failure::from),
        };
        let image = image.map_err(|failure| with_hints(failure, About::Image))?;
        let places = images.blobs(&image).map_err(Failure::from)?;
        let row = |place: &lamina_image::BlobPlace| -> Map<String, Value> {
            let row = json!({
                "Blob": place.blob.digest.to_string(),
                "Size": human_size(place.blob.size),
                "Here": place.here,
                "MediaType": place.blob.media_type,
                "Layer": place.diff_id.0.to_string(),
            });
            match row {
                Value::Object(row) => row,
                _ => Map::new(),
            }
        };
        let rows: Vec<Map<String, Value>> = places.iter().map(row).collect();
        ui::out(&format.render(&COLUMNS, &rows).map_err(bad_format)?)?;
        Ok(exit_codes::SUCCESS)
    }
}
