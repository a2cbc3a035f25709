//! `images`.

use jiff::Timestamp;
use lamina_image::Summary;
use lamina_types::quantity::human_size;
use lamina_types::{ErrorKind, Reference};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::args::ImagesArgs;
use crate::cli::Verb;
use crate::commands::format::{bad_format, docker_time, label_list};
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, Column, Format};

/// The fields, with the headers of those that tables are made of.
const COLUMNS: [Column; 7] = [
    Column {
        field: "Repository",
        header: "REPOSITORY",
    },
    Column {
        field: "Tag",
        header: "TAG",
    },
    Column {
        field: "Digest",
        header: "DIGEST",
    },
    Column {
        field: "ID",
        header: "IMAGE ID",
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
        field: "Size",
        header: "SIZE",
    },
];
const TABLE: [&str; 5] = ["Repository", "Tag", "ID", "CreatedSince", "Size"];
const WITH_DIGESTS: [&str; 6] = ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"];

impl Verb for ImagesArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let columns: &[&str] = if self.digests { &WITH_DIGESTS } else { &TABLE };
        let format = match (self.quiet, self.format.as_deref()) {
            (true, None) => Format::parse(Some("{{.ID}}"), columns),
            (_, format) => Format::parse(format, columns),
        }
        .map_err(bad_format)?;
        let mut filters = Vec::new();
        for text in &self.filter {
            filters.push(Filter::parse(text)?);
        }
        filters.extend(self.repository.as_deref().map(Filter::reference));
        let engine = app.engine()?;
        let list = engine.images().list().map_err(Failure::from)?;
        let now = Timestamp::now();
        let mut rows: Vec<Map<String, Value>> = list
            .iter()
            .filter(|image| filters.iter().all(|filter| filter.matches(image, &list)))
            .map(|image| row(image, self.no_trunc, now))
            .collect();
        if self.quiet && self.format.is_none() {
            rows.dedup_by(|a, b| a.get("ID") == b.get("ID"));
        }
        ui::out(&format.render(&COLUMNS, &rows).map_err(bad_format)?)?;
        Ok(exit_codes::SUCCESS)
    }
}

fn row(image: &Summary, whole: bool, now: Timestamp) -> Map<String, Value> {
    const NONE: &str = "<none>";
    let created = image
        .created
        .as_deref()
        .and_then(|text| text.parse::<Timestamp>().ok());
    let id = if whole {
        image.id.to_string()
    } else {
        image.id.0.short().to_owned()
    };
    let row = json!({
        "Repository": image.repository.as_deref().unwrap_or(NONE),
        "Tag": image.tag.as_deref().unwrap_or(NONE),
        "Digest": image.digest.to_string(),
        "ID": id,
        "CreatedSince": created.map_or_else(|| "N/A".to_owned(), |created| ui::ago(created, now)),
        "CreatedAt": created.map_or_else(|| "N/A".to_owned(), docker_time),
        "Size": human_size(image.size),
        "Labels": label_list(&image.labels),
        "Label": image.labels,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// One condition.
#[derive(Debug)]
enum Filter {
    Dangling(bool),
    Label(String, Option<String>),
    Repository(String),
    Tag(String, String),
    Before(String),
    Since(String),
    Nothing,
}

impl Filter {
    fn parse(text: &str) -> Outcome<Self> {
        let fail = || {
            Failure::said(
                ErrorKind::InvalidArgument,
                format!("invalid filter {text:?}"),
            )
            .hint("known are dangling=, label=, reference=, before=, since=")
        };
        let (key, value) = text.split_once('=').ok_or_else(fail)?;
        Ok(match key {
            "dangling" => Self::Dangling(value.parse().map_err(|_| fail())?),
            "label" => match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(value.to_owned(), None),
            },
            "reference" => Self::reference(value),
            "before" => Self::Before(value.to_owned()),
            "since" => Self::Since(value.to_owned()),
            _ => return Err(fail()),
        })
    }

    /// A repository means all its tags, as in Docker.
    fn reference(text: &str) -> Self {
        let Ok(name) = text.parse::<Reference>() else {
            return Self::Nothing;
        };
        let repository = name.familiar_repository();
        let tagged = text
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'));
        match name.tag().filter(|_| tagged) {
            Some(tag) => Self::Tag(repository, tag.to_owned()),
            None => Self::Repository(repository),
        }
    }

    fn matches(&self, image: &Summary, all: &[Summary]) -> bool {
        let repository = |name: &str| image.repository.as_deref() == Some(name);
        match self {
            Self::Dangling(wanted) => image.tag.is_none() == *wanted,
            Self::Label(key, value) => image
                .labels
                .get(key)
                .is_some_and(|have| value.as_ref().is_none_or(|value| value == have)),
            Self::Repository(name) => repository(name),
            Self::Tag(name, tag) => repository(name) && image.tag.as_ref() == Some(tag),
            Self::Before(other) => created(all, other).is_some_and(|time| image.created < time),
            Self::Since(other) => created(all, other).is_some_and(|time| image.created > time),
            Self::Nothing => false,
        }
    }
}

/// Returns when an image, by name or id, was made.
fn created(all: &[Summary], other: &str) -> Option<Option<String>> {
    let name = other.parse::<Reference>().ok();
    let known = |image: &&Summary| {
        let named = name.as_ref().is_some_and(|name| {
            image.repository.as_deref() == Some(&name.familiar_repository())
                && image.tag.as_deref() == name.tag()
        });
        named || image.id.0.hex().starts_with(other) || image.id.to_string() == other
    };
    all.iter().find(known).map(|image| image.created.clone())
}
