//! `inspect`, of containers, images and volumes alike.

use clap::Args;
use lamina_engine::Engine;
use lamina_types::ErrorKind;
use serde_json::Value;

use crate::app::App;
use crate::args::InspectArgs;
use crate::cli::Verb;
use crate::commands::format::{indented, render_one, template};
use crate::commands::volume_ls;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// `lamina container inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectContainer {
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    /// Containers by name or id
    #[arg(value_name = "CONTAINER", required = true)]
    names: Vec<String>,
}

/// `lamina image inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectImage {
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Images by name or id
    #[arg(value_name = "IMAGE", required = true)]
    names: Vec<String>,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    Image,
    Volume,
    Either,
}

impl Verb for InspectArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let kind = match self.kind.as_deref() {
            None | Some("") => Kind::Either,
            Some("container") => Kind::Container,
            Some("image") => Kind::Image,
            Some("volume") => Kind::Volume,
            Some(other) => {
                let text = format!("{other:?} is not a valid value for --type");
                let failure = Failure::said(ErrorKind::InvalidArgument, text);
                return Err(failure.hint("known are container, image, volume"));
            }
        };
        inspect(app, kind, self.size, self.format.as_deref(), &self.names)
    }
}

impl Verb for InspectContainer {
    fn run(self, app: &App) -> Outcome<u8> {
        inspect(
            app,
            Kind::Container,
            self.size,
            self.format.as_deref(),
            &self.names,
        )
    }
}

impl Verb for InspectImage {
    fn run(self, app: &App) -> Outcome<u8> {
        inspect(app, Kind::Image, false, self.format.as_deref(), &self.names)
    }
}

/// Shows what was found, and says for each name that was not what is wrong.
pub(super) fn inspect(
    app: &App,
    kind: Kind,
    size: bool,
    format: Option<&str>,
    names: &[String],
) -> Outcome<u8> {
    let engine = app.engine()?;
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match document(&engine, kind, size, name) {
            Ok(document) => documents.push(document),
            Err(failure) => failures.push(failure),
        }
    }
    let text = match format {
        None | Some("") => indented(&documents),
        Some("json") => serde_json::to_string(&documents).unwrap_or_default() + "\n",
        Some(format) => {
            let mut text = String::new();
            for document in &documents {
                match render_one(format, document) {
                    Ok(line) => text += &line,
                    // As Docker does it, what was shown before stays shown.
                    Err(failure) => {
                        ui::out(&text)?;
                        return Err(failure);
                    }
                }
            }
            // Docker ends what it shows with a line, even where that is nothing.
            if documents.is_empty() {
                template(format)?;
                text.push('\n');
            }
            text
        }
    };
    ui::out(&text)?;
    if failures.is_empty() {
        return Ok(exit_codes::SUCCESS);
    }
    for failure in failures {
        ui::err(&failure.render());
    }
    Err(Failure::printed())
}

fn document(engine: &Engine, kind: Kind, size: bool, name: &str) -> Outcome<Value> {
    if kind == Kind::Volume {
        return volume_ls::document(engine, name);
    }
    if kind != Kind::Image {
        let found = engine.find(name).map_err(Failure::from);
        match found {
            Ok(id) => {
                let inspect = engine.inspect(&id).map_err(Failure::from)?;
                let mut document = serde_json::to_value(inspect).unwrap_or_default();
                if size {
                    let size = engine.size(&id).map_err(Failure::from)?;
                    document["SizeRw"] = size.written.into();
                    document["SizeRootFs"] = (size.written + size.image).into();
                }
                return Ok(document);
            }
            Err(failure) if kind == Kind::Either && failure.kind() == ErrorKind::NotFound => {}
            Err(failure) => return Err(failure.hint("lamina ps -a shows all containers")),
        }
    }
    let images = engine.images();
    match images.find(name).map_err(Failure::from) {
        Ok(image) => images.inspect(&image).map_err(Failure::from),
        Err(failure) if kind == Kind::Either && failure.kind() == ErrorKind::NotFound => {
            volume_ls::document(engine, name).map_err(|_| {
            Failure::said(ErrorKind::NotFound, format!("no such object: {name}"))
                .hint("lamina ps -a shows all containers, lamina images all images, lamina volume ls all volumes")
            })
        }
        Err(failure) => Err(failure.hint("lamina images shows all images")),
    }
}
