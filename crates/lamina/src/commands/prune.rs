//! `prune`, `system prune`, `image prune`, `container prune`, `volume prune`: faces of one plan.

use jiff::Timestamp;
use lamina_engine::{
    Engine, LabelFilter, PruneImages, PrunePlan, PruneRequest, PruneVolumes, Pruned,
};
use lamina_monitor::events::Kind;
use lamina_types::ErrorKind;
use lamina_types::quantity::human_size;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::args::{ContainerPruneArgs, ImagePruneArgs, PruneArgs, PruneFlags, VolumePruneArgs};
use crate::cli::Verb;
use crate::commands::format::bad_format;
use crate::commands::undo::tell;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, Column, Format};

const COLUMNS: [Column; 4] = [
    Column {
        field: "Type",
        header: "TYPE",
    },
    Column {
        field: "ID",
        header: "ID",
    },
    Column {
        field: "Name",
        header: "NAME",
    },
    Column {
        field: "Size",
        header: "FREES",
    },
];
const TABLE: [&str; 4] = ["Type", "ID", "Name", "Size"];

impl Verb for PruneArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let all = self.all || self.keep_last.is_some();
        let request = PruneRequest {
            containers: true,
            images: Some(which(all)),
            volumes: self.volumes.then_some(PruneVolumes::Anonymous),
            rest: true,
            keep_last: self.keep_last,
            ..self.flags.request()?
        };
        let mut warning = String::from("WARNING! This will remove:\n  - all stopped containers\n");
        if self.volumes {
            warning += "  - all anonymous volumes not used by at least one container\n";
        }
        warning += match (self.keep_last, all) {
            (Some(_), _) => {
                "  - all images without a container, but the newest of each repository\n"
            }
            (None, true) => "  - all images without at least one container associated to them\n",
            (None, false) => "  - all dangling images\n",
        };
        warning += "  - partial downloads, and what nothing leads to\n";
        prune(app, &self.flags, &request, "system prune", &warning)
    }
}

impl Verb for ImagePruneArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let all = self.all || self.keep_last.is_some();
        let request = PruneRequest {
            images: Some(which(all)),
            keep_last: self.keep_last,
            ..self.flags.request()?
        };
        let warning = match all {
            true => {
                "WARNING! This will remove all images without at least one container associated to them.\n"
            }
            false => "WARNING! This will remove all dangling images.\n",
        };
        prune(app, &self.flags, &request, "image prune", warning)
    }
}

impl Verb for ContainerPruneArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let request = PruneRequest {
            containers: true,
            ..self.flags.request()?
        };
        let warning = "WARNING! This will remove all stopped containers.\n";
        prune(app, &self.flags, &request, "container prune", warning)
    }
}

impl Verb for VolumePruneArgs {
    fn run(mut self, app: &App) -> Outcome<u8> {
        // Docker's older way to say --all.
        let asked = |filter: &String| matches!(filter.as_str(), "all=1" | "all=true");
        let all = self.all || self.flags.filter.iter().any(asked);
        self.flags.filter.retain(|filter| !asked(filter));
        let which = match all {
            true => PruneVolumes::Unused,
            false => PruneVolumes::Anonymous,
        };
        let request = PruneRequest {
            volumes: Some(which),
            ..self.flags.request()?
        };
        let warning = match all {
            true => {
                "WARNING! This will remove all local volumes not used by at least one container.\n"
            }
            false => {
                "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
            }
        };
        prune(app, &self.flags, &request, "volume prune", warning)
    }
}

fn which(all: bool) -> PruneImages {
    match all {
        true => PruneImages::Unused,
        false => PruneImages::Dangling,
    }
}

/// Tells of what went, and of each pruning that was asked for.
fn note(engine: &Engine, request: &PruneRequest, pruned: &Pruned) {
    engine.note_removed(None, &pruned.images);
    let bytes = pruned.bytes.to_string();
    let kinds = [
        (Kind::Container, request.containers),
        (Kind::Image, request.images.is_some()),
        (Kind::Volume, request.volumes.is_some()),
    ];
    for (kind, _) in kinds.iter().filter(|(_, asked)| *asked) {
        engine.note(*kind, "prune", "", &[("reclaimed", &bytes)]);
    }
}

/// Reads how a plan is to be shown.
pub(crate) fn plan_format(text: Option<&str>) -> Outcome<Format> {
    Format::parse(text, &TABLE).map_err(bad_format)
}

/// Shows what would go.
pub(crate) fn show(plan: &PrunePlan, format: &Format) -> Outcome {
    ui::out(&format.render(&COLUMNS, &rows(plan)).map_err(bad_format)?)?;
    if matches!(format, Format::Table { .. }) {
        ui::out(&format!("\nTotal: {}\n", human_size(plan.bytes())))?;
    }
    Ok(())
}

/// Plans, shows or asks, and applies.
fn prune(
    app: &App,
    flags: &PruneFlags,
    request: &PruneRequest,
    name: &str,
    warning: &str,
) -> Outcome<u8> {
    let format = plan_format(flags.format.as_deref())?;
    let engine = app.engine_configured()?;
    if flags.plan {
        show(&engine.plan_prune(request)?, &format)?;
        return Ok(exit_codes::SUCCESS);
    }
    if !flags.force {
        confirm(warning, name)?;
    }
    let plan = engine.plan_prune(request)?;
    let pruned = engine.apply_prune(&plan)?;
    ui::out(&said(&pruned))?;
    for skipped in &pruned.skipped {
        ui::err(&format!(
            "note: kept {}: {}\n",
            skipped.what,
            ui::escape(&skipped.reason)
        ));
    }
    note(&engine, request, &pruned);
    tell(&pruned.finished);
    if let Err(error) = engine.store().empty_trash() {
        let kind = error.kind();
        ui::err(&Failure::new(error, kind).render());
    }
    Ok(exit_codes::SUCCESS)
}

/// Asks, also where stdin is no terminal, as Docker does: its end is a no.
fn confirm(warning: &str, name: &str) -> Outcome {
    ui::err(warning);
    let answer = ui::prompt("\nAre you sure you want to continue? [y/N] ").unwrap_or_default();
    match answer.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(
            Failure::said(ErrorKind::Cancelled, format!("{name} has been cancelled"))
                .hint("--plan shows what would go, -f does not ask"),
        ),
    }
}

/// What was removed, in Docker's words.
fn said(pruned: &Pruned) -> String {
    let section = |title: &str, lines: Vec<String>| match lines.is_empty() {
        true => String::new(),
        false => format!("Deleted {title}:\n{}\n\n", lines.join("\n")),
    };
    let images = pruned.images.iter().map(ToString::to_string);
    // One that nobody named is kept under a name that nobody typed.
    let images = images.filter(|line| !line.contains(" none.invalid/none@"));
    let images = images.map(|text| {
        // Docker writes these two words in lower case here, and capitalised in `rmi`.
        let (first, rest) = text.split_at(1);
        first.to_lowercase() + rest
    });
    [
        section(
            "Containers",
            pruned.containers.iter().map(ToString::to_string).collect(),
        ),
        section("Volumes", pruned.volumes.clone()),
        section("Images", images.collect()),
        section("Partial Downloads", pruned.partials.clone()),
        format!("Total reclaimed space: {}\n", human_size(pruned.bytes)),
    ]
    .concat()
}

fn row(kind: &str, id: &str, name: &str, size: u64) -> Map<String, Value> {
    let row = json!({
        "Type": kind,
        "ID": id,
        "Name": name,
        "Size": human_size(size),
        "Bytes": size,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

fn rows(plan: &PrunePlan) -> Vec<Map<String, Value>> {
    let mut rows = Vec::new();
    for one in &plan.containers {
        rows.push(row(
            "container",
            one.id.short(),
            one.name.as_str(),
            one.size,
        ));
    }
    for one in &plan.images {
        let names = one.names.iter().map(|entry| entry.name.familiar());
        let names: Vec<String> = names.collect();
        rows.push(row("image", one.id.0.short(), &names.join(", "), one.freed));
    }
    // What only several images together hold.
    let alone: u64 = plan.images.iter().map(|one| one.freed).sum();
    if let Some(shared) = plan.image_bytes.checked_sub(alone).filter(|rest| *rest > 0) {
        rows.push(row("shared", "", "by these images and containers", shared));
    }
    for (name, size) in &plan.volumes {
        rows.push(row("volume", &name[..name.len().min(12)], name, *size));
    }
    for (name, size) in &plan.partials {
        rows.push(row("download", "", name, *size));
    }
    if plan.trash > 0 {
        rows.push(row("trash", "", "what was removed before", plan.trash));
    }
    if plan.unreferenced > 0 {
        rows.push(row(
            "unreferenced",
            "",
            "what nothing leads to",
            plan.unreferenced,
        ));
    }
    rows
}

impl PruneFlags {
    fn request(&self) -> Outcome<PruneRequest> {
        let now = Timestamp::now();
        let moment = |text: &str| {
            ui::parse_moment(text, now)
                .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))
        };
        let mut request = PruneRequest {
            now: self.now,
            until: self.until.as_deref().map(moment).transpose()?,
            ..PruneRequest::default()
        };
        for text in &self.filter {
            let fail = || {
                let text = format!("invalid filter {text:?}");
                Failure::said(ErrorKind::InvalidArgument, text)
                    .hint("known are until=, label=, label!=")
            };
            let (key, value) = text.split_once('=').ok_or_else(fail)?;
            let label = |wanted| {
                let (key, value) = match value.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_owned())),
                    None => (value, None),
                };
                LabelFilter {
                    key: key.to_owned(),
                    value,
                    wanted,
                }
            };
            match key {
                "until" => request.until = Some(moment(value)?),
                "label" => request.labels.push(label(true)),
                "label!" => request.labels.push(label(false)),
                _ => return Err(fail()),
            }
        }
        Ok(request)
    }
}
