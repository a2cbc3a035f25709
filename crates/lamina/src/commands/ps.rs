//! `ps`.

use jiff::Timestamp;
use lamina_engine::{ContainerSize, ContainerSummary};
use lamina_types::quantity::human_size;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::args::PsArgs;
use crate::cli::Verb;
use crate::commands::format::{bad_format, docker_time, label_list};
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, Column, Format};

mod filter;
mod pattern;

use filter::Filter;

/// How much of a command a table shows.
const COMMAND_SHOWN: usize = 20;

/// The fields, with the headers of those that tables are made of.
const COLUMNS: [Column; 14] = [
    Column {
        field: "ID",
        header: "CONTAINER ID",
    },
    Column {
        field: "Image",
        header: "IMAGE",
    },
    Column {
        field: "Command",
        header: "COMMAND",
    },
    Column {
        field: "CreatedAt",
        header: "CREATED AT",
    },
    Column {
        field: "RunningFor",
        header: "CREATED",
    },
    Column {
        field: "Status",
        header: "STATUS",
    },
    Column {
        field: "State",
        header: "STATE",
    },
    Column {
        field: "Ports",
        header: "PORTS",
    },
    Column {
        field: "Names",
        header: "NAMES",
    },
    Column {
        field: "Labels",
        header: "LABELS",
    },
    Column {
        field: "Mounts",
        header: "MOUNTS",
    },
    Column {
        field: "LocalVolumes",
        header: "LOCAL VOLUMES",
    },
    Column {
        field: "Networks",
        header: "NETWORKS",
    },
    Column {
        field: "Size",
        header: "SIZE",
    },
];
/// What the table shows; the last where sizes are asked for.
const TABLE: [&str; 8] = [
    "ID",
    "Image",
    "Command",
    "RunningFor",
    "Status",
    "Ports",
    "Names",
    "Size",
];

/// How much of the name of something that is mounted is shown.
const MOUNT_SHOWN: usize = 15;

impl Verb for PsArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let filters = Filter::parse_all(&self.filter)?;
        let columns: &[&str] = match (self.quiet, self.size) {
            (true, _) => &["ID"],
            (_, true) => &TABLE,
            _ => &TABLE[..7],
        };
        let format = match (self.quiet, self.format.as_deref()) {
            (true, None) => Format::parse(Some("{{.ID}}"), columns),
            (_, format) => Format::parse(format, columns),
        }
        .map_err(bad_format)?;
        // As in Docker, less than one is no number of containers.
        let wanted = self.last.and_then(|last| usize::try_from(last).ok());
        let last = if self.latest {
            Some(1)
        } else {
            wanted.filter(|last| *last > 0)
        };
        let wants_size = |format: &String| format.contains(".Size");
        let size = self.size || (!self.quiet && self.format.as_ref().is_some_and(wants_size));
        // Asking for a state is asking for containers in it, running or not.
        let all = self.all || last.is_some() || filters.iter().any(Filter::names_a_state);
        let engine = app.engine()?;
        // One that others are compared with need not run.
        let compares = filters.iter().any(Filter::compares);
        let list = engine.list(all || compares).map_err(Failure::from)?;
        Filter::check_others(&filters, &list)?;
        let now = Timestamp::now();
        let shown = list
            .iter()
            .filter(|container| all || container.state.status.is_running())
            .filter(|container| Filter::accept(&filters, container, &list))
            .take(last.unwrap_or(usize::MAX));
        let rows: Vec<Map<String, Value>> = shown
            .map(|container| {
                let mut row = row(container, self.no_trunc, now);
                // One that goes meanwhile has no size.
                if size && let Ok(size) = engine.size(&container.id) {
                    row.insert("Size".to_owned(), shown_size(&size).into());
                }
                row
            })
            .collect();
        ui::out(&format.render(&COLUMNS, &rows).map_err(bad_format)?)?;
        Ok(exit_codes::SUCCESS)
    }
}

/// Shows what a container has written, and that with its image.
fn shown_size(size: &ContainerSize) -> String {
    let whole = human_size(size.written + size.image);
    format!("{} (virtual {whole})", human_size(size.written))
}

fn row(container: &ContainerSummary, whole: bool, now: Timestamp) -> Map<String, Value> {
    let id = if whole {
        container.id.as_str()
    } else {
        container.id.short()
    };
    let created = container.created.parse::<Timestamp>().ok();
    let row = json!({
        "ID": id,
        // Docker shows a name as it was typed, and hardly anybody types the default tag.
        "Image": container.image.strip_suffix(":latest").unwrap_or(&container.image),
        "Command": command(&container.command, whole),
        "CreatedAt": created.map(docker_time),
        "RunningFor": created.map(|created| ui::ago(created, now)),
        "Status": container.status,
        "State": container.state.status.as_str(),
        "Ports": "",
        "Names": container.name.as_str(),
        "Labels": label_list(&container.labels),
        "Mounts": mounts(container, whole),
        "LocalVolumes": container.volumes.to_string(),
        "Networks": container.network,
        "Size": "",
        "Label": container.labels,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// Names what is mounted, as Docker does.
fn mounts(container: &ContainerSummary, whole: bool) -> String {
    let shown =
        container
            .mounts
            .iter()
            .map(|(name, _)| match name.char_indices().nth(MOUNT_SHOWN - 1) {
                Some((at, c)) if !whole && at + c.len_utf8() < name.len() => {
                    format!("{}…", &name[..at])
                }
                _ => name.clone(),
            });
    shown.collect::<Vec<_>>().join(",")
}

/// Shows a command in quotes, as Docker does: an argument with spaces is quoted, too.
fn command(words: &[String], whole: bool) -> String {
    let quoted = |(at, word): (usize, &String)| match at > 0 && word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    };
    let line: Vec<String> = words.iter().enumerate().map(quoted).collect();
    let line = line.join(" ");
    let shown = match line.char_indices().nth(COMMAND_SHOWN - 1) {
        Some((at, c)) if !whole && at + c.len_utf8() < line.len() => format!("{}…", &line[..at]),
        _ => line,
    };
    format!("\"{}\"", ui::escape(&shown))
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn long_commands_are_cut_as_docker_cuts_them() {
        let words = ["sh", "-c", "echo a long command line"].map(str::to_owned);
        assert_eq!(command(&words, false), "\"sh -c 'echo a long …\"");
        assert_eq!(
            command(&words, true),
            "\"sh -c 'echo a long command line'\""
        );
        assert_eq!(
            command(&["x".repeat(20)], false),
            format!("\"{}\"", "x".repeat(20))
        );
        assert_eq!(command(&["\u{1b}[2J".to_owned()], false), "\"\\u{1b}[2J\"");
    }
}
