//! `volume ls`, `volume inspect`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lamina_engine::{Engine, Volume};
use lamina_types::ErrorKind;
use lamina_types::quantity::human_size;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::args::{VolumeInspectArgs, VolumeLsArgs};
use crate::cli::Verb;
use crate::commands::format::{bad_format, filter_pair, label_list};
use crate::commands::inspect::{Kind, inspect};
use crate::commands::volume::failed;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, Column, Format};

/// What Docker shows where nothing was measured.
const UNKNOWN: &str = "N/A";
/// The label by which Docker tells anonymous volumes.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The fields, with the headers of those that tables are made of.
const COLUMNS: [Column; 7] = [
    Column {
        field: "Driver",
        header: "DRIVER",
    },
    Column {
        field: "Name",
        header: "VOLUME NAME",
    },
    Column {
        field: "Scope",
        header: "SCOPE",
    },
    Column {
        field: "Mountpoint",
        header: "MOUNTPOINT",
    },
    Column {
        field: "Labels",
        header: "LABELS",
    },
    Column {
        field: "Links",
        header: "LINKS",
    },
    Column {
        field: "Size",
        header: "SIZE",
    },
];
const TABLE: [&str; 2] = ["Driver", "Name"];
const WITH_SIZE: [&str; 4] = ["Driver", "Name", "Links", "Size"];

impl Verb for VolumeLsArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let mut filters = Vec::new();
        for text in &self.filter {
            filters.push(Filter::parse(text)?);
        }
        let columns: &[&str] = if self.size { &WITH_SIZE } else { &TABLE };
        let format = match (self.quiet, self.format.as_deref()) {
            (true, None) => Format::parse(Some("{{.Name}}"), columns),
            (_, format) => Format::parse(format, columns),
        }
        .map_err(bad_format)?;
        let engine = app.engine()?;
        let users = match self.size || filters.iter().any(Filter::is_of_use) {
            true => engine.volume_users()?,
            false => BTreeMap::new(),
        };
        let mut rows = Vec::new();
        for volume in engine.volumes().map_err(failed)? {
            let links = users.get(&volume.name).map_or(0, BTreeSet::len);
            if !Filter::accept(&filters, &volume, links) {
                continue;
            }
            let measured = match self.size {
                true => Some((links, engine.store().volume_size(&volume.name)?)),
                false => None,
            };
            rows.push(row(&volume, measured));
        }
        ui::out(&format.render(&COLUMNS, &rows).map_err(bad_format)?)?;
        Ok(exit_codes::SUCCESS)
    }
}

fn labels(volume: &Volume) -> BTreeMap<String, String> {
    let mut labels = volume.labels.clone();
    if volume.anonymous {
        labels.entry(ANONYMOUS.to_owned()).or_default();
    }
    labels
}

fn row(volume: &Volume, measured: Option<(usize, u64)>) -> Map<String, Value> {
    let labels = labels(volume);
    let row = json!({
        "Availability": UNKNOWN,
        "Driver": "local",
        "Group": UNKNOWN,
        "Labels": label_list(&labels),
        "Links": measured.map_or(UNKNOWN.to_owned(), |(links, _)| links.to_string()),
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Scope": "local",
        "Size": measured.map_or(UNKNOWN.to_owned(), |(_, size)| human_size(size)),
        "Status": UNKNOWN,
        "Label": labels,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// One condition: several names, drivers or labels are alternatives, as in Docker.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Dangling(bool),
    Driver(String),
    Label(String, Option<String>),
    Name(String),
}

impl Filter {
    fn parse(text: &str) -> Outcome<Self> {
        let fail = || {
            let text = format!("invalid filter {text:?}");
            Failure::said(ErrorKind::InvalidArgument, text)
                .hint("known are dangling=, driver=, label=, name=")
        };
        let (key, value) = filter_pair(text)?;
        Ok(match key {
            "dangling" => Self::Dangling(match value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(fail()),
            }),
            "driver" => Self::Driver(value.to_owned()),
            "label" => match value.split_once('=') {
                Some((key, value)) => Self::Label(key.to_owned(), Some(value.to_owned())),
                None => Self::Label(value.to_owned(), None),
            },
            "name" => Self::Name(value.to_owned()),
            _ => return Err(fail()),
        })
    }

    fn is_of_use(&self) -> bool {
        matches!(self, Self::Dangling(_))
    }

    fn accept(filters: &[Self], volume: &Volume, links: usize) -> bool {
        filters.iter().all(|filter| match filter {
            Self::Label(..) => filter.matches(volume, links),
            _ => filters
                .iter()
                .filter(|other| std::mem::discriminant(*other) == std::mem::discriminant(filter))
                .any(|filter| filter.matches(volume, links)),
        })
    }

    fn matches(&self, volume: &Volume, links: usize) -> bool {
        match self {
            Self::Dangling(wanted) => (links == 0) == *wanted,
            Self::Driver(name) => name == "local",
            Self::Label(key, value) => labels(volume)
                .get(key)
                .is_some_and(|have| value.as_ref().is_none_or(|value| value == have)),
            Self::Name(part) => volume.name.contains(part.as_str()),
        }
    }
}

impl Verb for VolumeInspectArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let format = self.format.as_deref();
        inspect(app, Kind::Volume, false, format, &self.names)
    }
}

/// Returns what is told of a volume.
pub(super) fn document(engine: &Engine, name: &str) -> Outcome<Value> {
    let volume = engine.volume(name).map_err(failed)?;
    let labels = labels(&volume);
    let created = volume.created.parse::<Timestamp>().ok();
    Ok(json!({
        "CreatedAt": created.map(|made| made.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        "Driver": "local",
        "Labels": labels,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    }))
}
