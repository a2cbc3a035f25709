//! `df -v`: thing by thing, and the folders of the store.

use std::collections::BTreeMap;

use lamina_types::quantity::human_size;
use serde_json::{Value, json};

use super::Ledger;
use crate::commands::undo::content;
use crate::ui;

impl Ledger {
    /// The folders of the store, whose sum is what `du` says.
    fn folders(&self) -> Vec<(&'static str, u64)> {
        let space = &self.space;
        let logs: u64 = space.logs.values().sum();
        let containers: u64 = space.containers.values().sum();
        vec![
            ("blobs", space.blobs.values().sum()),
            ("layers", space.layers.values().sum()),
            ("pool", space.objects.values().sum()),
            ("generated", space.generated.values().sum()),
            ("writable layers", space.snapshots.values().sum()),
            ("container records", containers.saturating_sub(logs)),
            ("logs", logs),
            ("volumes", space.volumes.values().sum()),
            ("partial pulls", space.partials.values().sum()),
            ("operations", space.ops),
            ("removed", space.removed.values().sum()),
            ("trash", space.trash),
            ("own", space.own),
            ("unaccounted", space.unaccounted.values().sum()),
        ]
    }

    pub(super) fn tables(&self) -> String {
        let space = &self.space;
        let plain = |(name, size): (&String, &u64)| format!("{name}\t{}", human_size(*size));
        let folders = self.folders().into_iter();
        let folders = folders.map(|(name, size)| format!("{name}\t{}", human_size(size)));
        let volumes = space.volumes.iter().map(|(name, size)| {
            let links = self
                .containers
                .iter()
                .filter(|one| one.volumes.contains(name));
            format!("{name}\t{}\t{}", links.count(), human_size(*size))
        });
        [
            self.image_table(),
            self.container_table(),
            section(
                "Local Volumes space usage",
                "VOLUME NAME\tLINKS\tSIZE",
                volumes,
            ),
            section(
                "Partial pulls",
                "DOWNLOAD\tSIZE",
                space.partials.iter().map(plain),
            ),
            self.removed_table(),
            section("The store's folders", "FOLDER\tSIZE", folders),
            section(
                "Unaccounted",
                "PATH\tSIZE",
                space.unaccounted.iter().map(plain),
            ),
            format!("Total: {}\n", human_size(space.total())),
        ]
        .concat()
    }

    fn image_table(&self) -> String {
        const HEADER: &str = "IMAGE\tIMAGE ID\tSIZE\tSHARED\tUNIQUE\tFREED IF REMOVED\tIN USE";
        let images = self.images().into_iter().map(|(name, id, image)| {
            let sizes = [image.total, image.shared(), image.unique, image.freed];
            let sizes = sizes.map(human_size).join("\t");
            let used = if image.used { "yes" } else { "no" };
            format!("{name}\t{id}\t{sizes}\t{used}")
        });
        section("Images space usage", HEADER, images)
    }

    fn container_table(&self) -> String {
        const HEADER: &str = "CONTAINER ID\tIMAGE\tWRITTEN\tLOGS\tSIZE\tSTATUS\tNAMES";
        let rows = self.containers.iter().map(|one| {
            let id = one.id.as_str();
            let of = |map: &BTreeMap<String, u64>| map.get(id).copied().unwrap_or(0);
            let (written, logs) = (of(&self.space.snapshots), of(&self.space.logs));
            let sizes = [written, logs, self.container_size(id)];
            let sizes = sizes.map(human_size).join("\t");
            let short = one.id.short();
            format!(
                "{short}\t{}\t{sizes}\t{}\t{}",
                one.image, one.status, one.name
            )
        });
        section("Containers space usage", HEADER, rows)
    }

    fn removed_table(&self) -> String {
        const HEADER: &str = "ID\tCONTENT\tSIZE\tCOMMAND";
        let rows = self.removed.iter().map(|one| {
            let (size, command) = (human_size(one.size), one.command.join(" "));
            format!("{}\t{}\t{size}\tlamina {command}", one.id, content(one))
        });
        let title = format!(
            "Removed, freed when the window ends (lamina undo brings it back); {} of images",
            human_size(self.shares.removed)
        );
        section(&title, HEADER, rows)
    }

    /// Images by name, each with its short id.
    fn images(&self) -> Vec<(String, String, &lamina_store::ImageShare)> {
        let images = self.shares.images.iter();
        let mut images: Vec<_> = images
            .map(|(id, image)| {
                // One without a name is kept under a name nobody typed.
                let names = image.names.iter().map(lamina_types::Reference::familiar);
                let names: Vec<String> = names.filter(|name| !name.starts_with(NAMELESS)).collect();
                let name = match names.is_empty() {
                    true => "<none>".to_owned(),
                    false => names.join(", "),
                };
                (name, id.0.short().to_owned(), image)
            })
            .collect();
        images.sort_by(|a, b| a.0.cmp(&b.0));
        images
    }

    pub(super) fn document(&self) -> Value {
        let images: Vec<Value> = (self.shares.images.iter())
            .map(|(id, image)| {
                json!({
                    "ID": id.to_string(),
                    "Names": image.names.iter().map(|name| name.familiar()).collect::<Vec<_>>(),
                    "Size": image.total,
                    "SharedSize": image.shared(),
                    "UniqueSize": image.unique,
                    "FreedIfRemoved": image.freed,
                    "InUse": image.used,
                })
            })
            .collect();
        let containers: Vec<Value> = (self.containers.iter())
            .map(|one| {
                let id = one.id.as_str();
                json!({
                    "ID": id,
                    "Names": one.name,
                    "Image": one.image,
                    "State": one.status,
                    "Size": self.container_size(id),
                    "Written": self.space.snapshots.get(id).copied().unwrap_or(0),
                    "Logs": self.space.logs.get(id).copied().unwrap_or(0),
                })
            })
            .collect();
        let folders: serde_json::Map<String, Value> = (self.folders().into_iter())
            .map(|(name, size)| (name.to_owned(), size.into()))
            .collect();
        json!({
            "Images": images,
            "Containers": containers,
            "Volumes": self.space.volumes,
            "PartialPulls": self.space.partials,
            "Folders": folders,
            "Removed": self.removed.iter().map(|one| json!({
                "ID": one.id.as_str(),
                "Command": one.command,
                "Size": one.size,
                "Until": one.until,
            })).collect::<Vec<_>>(),
            "RemovedSize": self.shares.removed,
            "Unreferenced": self.unreferenced(),
            "Garbage": self.shares.garbage,
            "Unaccounted": self.space.unaccounted,
            "Total": self.space.total(),
        })
    }
}

/// The repository under which images without a name are kept.
const NAMELESS: &str = "none.invalid/none";

fn section(title: &str, header: &str, rows: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = std::iter::once(header.to_owned()).chain(rows).collect();
    format!("{title}:\n\n{}\n", ui::align(&lines))
}
