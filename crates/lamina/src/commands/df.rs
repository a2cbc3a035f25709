//! `df`: what the store takes on the disk; the sums are those of `du`.

mod causes;
mod verbose;

use std::collections::{BTreeMap, BTreeSet};

use lamina_engine::{ContainerUse, Engine};
use lamina_store::{Shares, Space, Transaction};
use lamina_types::quantity::human_size;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::args::DfArgs;
use crate::cli::Verb;
use crate::commands::format::bad_format;
use crate::exit_codes;
use crate::failure::Outcome;
use crate::ui::{self, Column, Format};

const COLUMNS: [Column; 5] = [
    Column {
        field: "Type",
        header: "TYPE",
    },
    Column {
        field: "TotalCount",
        header: "TOTAL",
    },
    Column {
        field: "Active",
        header: "ACTIVE",
    },
    Column {
        field: "Size",
        header: "SIZE",
    },
    Column {
        field: "Reclaimable",
        header: "RECLAIMABLE",
    },
];
const TABLE: [&str; 5] = ["Type", "TotalCount", "Active", "Size", "Reclaimable"];

impl Verb for DfArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let format = Format::parse(self.format.as_deref(), &TABLE).map_err(bad_format)?;
        let engine = app.engine()?;
        let ledger = Ledger::read(&engine)?;
        if self.causes {
            let causes = engine.causes(&ledger.space, &ledger.shares)?;
            let text = match format {
                Format::Json => format!("{}\n", causes::document(&causes)),
                _ => ui::escape_lines(&causes::shown(&causes)).into_owned(),
            };
            ui::out(&text)?;
            return Ok(exit_codes::SUCCESS);
        }
        let text = match (self.verbose, format) {
            (false, format) => format
                .render(&COLUMNS, &ledger.rows())
                .map_err(bad_format)?,
            (true, Format::Json) => format!("{}\n", ledger.document()),
            (true, Format::Template(template)) => {
                let text = template.render(&ledger.document()).map_err(bad_format)?;
                ui::escape_lines(&text).into_owned() + "\n"
            }
            (true, _) => ui::escape_lines(&ledger.tables()).into_owned(),
        };
        ui::out(&text)?;
        Ok(exit_codes::SUCCESS)
    }
}

/// Everything that `df` shows.
struct Ledger {
    space: Space,
    shares: Shares,
    containers: Vec<ContainerUse>,
    removed: Vec<Transaction>,
}

/// One line of the table.
struct Line {
    kind: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

impl Ledger {
    fn read(engine: &Engine) -> Outcome<Self> {
        let containers = engine.container_uses()?;
        let space = engine.store().space()?;
        let shares = engine.store().shares(&space)?;
        Ok(Self {
            removed: engine.store().removed().list()?,
            space,
            shares,
            containers,
        })
    }

    /// What a container has written and recorded.
    fn container_size(&self, id: &str) -> u64 {
        let of = |map: &BTreeMap<String, u64>| map.get(id).copied().unwrap_or(0);
        of(&self.space.snapshots) + of(&self.space.containers)
    }

    /// The volumes that a container uses.
    fn used_volumes(&self) -> BTreeSet<&str> {
        let used = self.containers.iter().flat_map(|one| &one.volumes);
        used.map(String::as_str).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let space = &self.space;
        let line = |kind, size, reclaimable| Line {
            kind,
            total: 0,
            active: 0,
            size,
            reclaimable,
        };
        vec![
            self.image_line(),
            self.container_line(),
            self.volume_line(),
            self.partial_line(),
            line("Unreferenced", self.unreferenced(), self.shares.garbage),
            Line {
                total: self.removed.len(),
                ..line("Trash", self.trash(), self.trash())
            },
            line("Store", space.own + space.ops, 0),
            Line {
                total: space.unaccounted.len(),
                ..line("Unaccounted", sum(&space.unaccounted), 0)
            },
        ]
    }

    fn image_line(&self) -> Line {
        let shares = &self.shares;
        Line {
            kind: "Images",
            total: shares.images.len(),
            active: shares.images.values().filter(|image| image.used).count(),
            size: shares.held,
            reclaimable: shares.unused,
        }
    }

    fn container_line(&self) -> Line {
        let running = self.containers.iter().filter(|one| one.running);
        let busy = running
            .clone()
            .map(|one| self.container_size(one.id.as_str()));
        let size = sum(&self.space.snapshots) + sum(&self.space.containers);
        Line {
            kind: "Containers",
            total: self.containers.len(),
            active: running.count(),
            size,
            reclaimable: size.saturating_sub(busy.sum()),
        }
    }

    fn volume_line(&self) -> Line {
        let volumes = &self.space.volumes;
        let used = self.used_volumes();
        let used = volumes
            .iter()
            .filter(|(name, _)| used.contains(name.as_str()));
        let size = sum(volumes);
        Line {
            kind: "Local Volumes",
            total: volumes.len(),
            active: used.clone().count(),
            size,
            reclaimable: size - used.map(|(_, size)| size).sum::<u64>(),
        }
    }

    fn partial_line(&self) -> Line {
        let partials = &self.space.partials;
        let fetching = partials.iter().filter(|(name, _)| {
            let digest = name.replacen('-', ":", 1).parse();
            digest.is_ok_and(|digest| self.shares.fetching.contains(&digest))
        });
        let size = sum(partials);
        Line {
            kind: "Partial Pulls",
            total: partials.len(),
            active: fetching.clone().count(),
            size,
            reclaimable: size - fetching.map(|(_, size)| size).sum::<u64>(),
        }
    }

    /// What is about to be unlinked, and what is kept so that removals can be undone.
    fn trash(&self) -> u64 {
        self.space.trash + sum(&self.space.removed) + self.shares.removed
    }

    /// What no image leads to: of operations in flight and of containers whose image has lost its
    /// name, and what the next collection takes.
    fn unreferenced(&self) -> u64 {
        let space = &self.space;
        let blobs: u64 = space.blobs.values().sum();
        let layers: u64 = space.layers.values().sum();
        let objects: u64 = space.objects.values().sum();
        let generated: u64 = space.generated.values().sum();
        (blobs + layers + objects + generated)
            .saturating_sub(self.shares.held + self.shares.removed)
    }

    fn rows(&self) -> Vec<Map<String, Value>> {
        let rows = self.lines().into_iter().map(|line| {
            let percent = match line.size {
                0 => String::new(),
                size => format!(" ({}%)", line.reclaimable.saturating_mul(100) / size),
            };
            let row = json!({
                "Type": line.kind,
                "TotalCount": line.total.to_string(),
                "Active": line.active.to_string(),
                "Size": human_size(line.size),
                "Reclaimable": human_size(line.reclaimable) + &percent,
                "Bytes": line.size,
                "ReclaimableBytes": line.reclaimable,
            });
            match row {
                Value::Object(row) => row,
                _ => Map::new(),
            }
        });
        rows.collect()
    }
}

fn sum(sizes: &BTreeMap<String, u64>) -> u64 {
    sizes.values().sum()
}
