//! `undo`: bringing back what a command removed.

use jiff::Timestamp;
use lamina_store::{Finished, Restored, Transaction, UndoRemovalError};
use lamina_types::quantity::human_size;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::args::UndoArgs;
use crate::cli::Verb;
use crate::commands::format::bad_format;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, Column, Format};

const COLUMNS: [Column; 6] = [
    Column {
        field: "ID",
        header: "ID",
    },
    Column {
        field: "Removed",
        header: "REMOVED",
    },
    Column {
        field: "Until",
        header: "FREED IN",
    },
    Column {
        field: "Content",
        header: "CONTENT",
    },
    Column {
        field: "Size",
        header: "SIZE",
    },
    Column {
        field: "Command",
        header: "COMMAND",
    },
];
const TABLE: [&str; 6] = ["ID", "Removed", "Until", "Content", "Size", "Command"];

impl Verb for UndoArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let format = Format::parse(self.format.as_deref(), &TABLE).map_err(bad_format)?;
        let engine = app.engine_configured()?;
        let removed = engine.store().removed();
        if self.list {
            let now = Timestamp::now();
            let rows: Vec<_> = removed.list()?.iter().map(|one| row(one, now)).collect();
            ui::out(&format.render(&COLUMNS, &rows).map_err(bad_format)?)?;
            return Ok(exit_codes::SUCCESS);
        }
        let restored = removed
            .find(self.id.as_deref())
            .and_then(|id| removed.undo(&id))
            .map_err(failed)?;
        ui::out(&shown(&restored))?;
        app.tidy(&engine);
        Ok(exit_codes::SUCCESS)
    }
}

fn failed(error: UndoRemovalError) -> Failure {
    let hint = match &error {
        UndoRemovalError::Nothing | UndoRemovalError::NotFound(_) => {
            "lamina undo --list shows what can be undone".to_owned()
        }
        UndoRemovalError::NameTaken { name } => {
            format!(
                "lamina untag {name} takes the name away from that image, which stays; then again"
            )
        }
        UndoRemovalError::ContainerNameTaken { container, .. } => {
            format!("lamina rm {container} removes that container; then undo --list and undo ID")
        }
        UndoRemovalError::Busy(_) => "again, when the command that removes has ended".to_owned(),
        _ => return Failure::from(error),
    };
    Failure::from(error).hint(hint)
}

fn shown(restored: &Restored) -> String {
    let names = restored.names.iter();
    let names = names.map(|name| format!("Restored: image {}\n", name.familiar()));
    let containers = restored.containers.iter();
    let containers = containers.map(|one| format!("Restored: container {}\n", one.name));
    let volumes = restored.volumes.iter();
    let volumes = volumes.map(|name| format!("Restored: volume {name}\n"));
    names.chain(containers).chain(volumes).collect()
}

fn moment(milliseconds: u64) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

fn row(one: &Transaction, now: Timestamp) -> Map<String, Value> {
    let until = moment(one.until).duration_since(now);
    let until = std::time::Duration::try_from(until).unwrap_or_default();
    let row = json!({
        "ID": one.id.as_str(),
        "Removed": ui::ago(moment(one.removed), now),
        "Until": lamina_engine::human(until),
        "Content": content(one),
        "Size": human_size(one.size),
        "Command": format!("lamina {}", one.command.join(" ")),
        "RemovedAt": moment(one.removed).to_string(),
        "UntilAt": moment(one.until).to_string(),
        "Bytes": one.size,
        "Images": one.refs.iter().map(|entry| entry.name.familiar()).collect::<Vec<_>>(),
        "Containers": one.containers.iter().map(|one| one.name.to_string()).collect::<Vec<_>>(),
        "Volumes": one.volumes,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// Returns what a removal has, by name as long as it is one thing.
pub(crate) fn content(one: &Transaction) -> String {
    let mut parts = Vec::new();
    let mut count = |names: Vec<String>, word: &str| match names.as_slice() {
        [] => {}
        [name] => parts.push(name.clone()),
        many => parts.push(format!("{} {word}", many.len())),
    };
    count(
        one.refs.iter().map(|entry| entry.name.familiar()).collect(),
        "image names",
    );
    count(
        one.containers
            .iter()
            .map(|one| one.name.to_string())
            .collect(),
        "containers",
    );
    count(one.volumes.clone(), "volumes");
    parts.join(", ")
}

/// Tells somebody at a terminal how to bring back what was removed.
pub(crate) fn tell(finished: &Finished) {
    if let Some(id) = &finished.id
        && ui::err_is_terminal()
    {
        let left = moment(finished.until).duration_since(Timestamp::now());
        let left = std::time::Duration::try_from(left).unwrap_or_default();
        ui::err(&format!(
            "note: lamina undo {id} brings it back; the space is freed in {}\n",
            lamina_engine::human(left).to_lowercase()
        ));
    }
}
