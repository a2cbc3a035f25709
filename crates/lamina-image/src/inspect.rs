//! `inspect` of an image, in Docker's shape.

use std::path::PathBuf;

use lamina_types::{DiffId, Digest};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::find::{FindError, NAMELESS};
use crate::images::{Image, Images};

/// Which blob is which layer is which directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerPlace {
    /// The blob, as the manifest names it.
    pub digest: Digest,
    /// The blob's length in bytes: what a pull transfers.
    pub blob_size: u64,
    /// The layer's identity: the digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The layer's tree on disk; `None` where it is not unpacked.
    pub directory: Option<PathBuf>,
    /// Bytes of file content in it.
    pub size: u64,
    /// How many entries its tar had.
    pub entries: u64,
}

impl Images<'_> {
    /// Returns which digest is which diff id is which directory on disk, bottom first.
    pub fn layers(&self, image: &Image) -> Result<Vec<LayerPlace>, FindError> {
        let mut places = Vec::new();
        for (blob, diff_id) in image.layers.iter().zip(image.diff_ids()) {
            // One that is damaged is shown as one that is not here.
            let layer = self.store.layers().get(diff_id).ok().flatten();
            let info = layer.as_ref().map(|layer| &layer.info);
            places.push(LayerPlace {
                digest: blob.digest.clone(),
                blob_size: blob.size,
                diff_id: diff_id.clone(),
                size: info.map_or(0, |info| info.size),
                entries: info.map_or(0, |info| info.entries),
                directory: layer.map(|layer| layer.dir),
            });
        }
        Ok(places)
    }

    /// Returns what `inspect` shows of an image: the fields that Docker has, under the names that
    /// Docker gives them, and `Layers` beyond.
    pub fn inspect(&self, image: &Image) -> Result<Value, FindError> {
        let places = self.layers(image)?;
        let mut tags = Vec::new();
        let mut digests = Vec::new();
        let same = self.entries()?.into_iter().filter(|e| e.image == image.id);
        for entry in same.filter(|entry| entry.name.repository() != NAMELESS) {
            if entry.name.tag().is_some() {
                tags.push(entry.name.familiar());
            }
            let repository = entry.name.familiar_repository();
            digests.push(format!("{repository}@{}", entry.target.digest));
        }
        digests.dedup();
        let size: u64 = places.iter().map(|place| place.size).sum();
        // The configuration's own bytes and not our reading of them: nothing gets lost.
        let raw: Map<String, Value> = serde_json::from_slice(&image.raw_config).unwrap_or_default();
        let field = |name: &str| raw.get(name).cloned().unwrap_or(Value::Null);
        let text = |name: &str| raw.get(name).cloned().unwrap_or_else(|| json!(""));
        let trees: Vec<&PathBuf> = places
            .iter()
            .rev()
            .filter_map(|p| p.directory.as_ref())
            .collect();
        Ok(json!({
            "Id": image.id,
            "RepoTags": tags,
            "RepoDigests": digests,
            "Parent": "",
            // Docker's own images have it at the top; what `commit -m` writes is in the history.
            "Comment": raw.get("comment").or_else(|| last_step(&raw)?.get("comment")).unwrap_or(&json!("")),
            "Created": text("created"),
            "DockerVersion": text("docker_version"),
            "Author": text("author"),
            "Config": field("config"),
            "Architecture": text("architecture"),
            "Variant": text("variant"),
            "Os": text("os"),
            "Size": size,
            "VirtualSize": size,
            "GraphDriver": {
                "Name": "overlay",
                "Data": {
                    "UpperDir": trees.first(),
                    "LowerDir": trees.get(1..).map(join),
                },
            },
            "RootFS": { "Type": "layers", "Layers": image.diff_ids() },
            "Metadata": { "LastTagTime": crate::publish::rfc3339(i64::try_from(image.updated).unwrap_or(0)) },
            "Descriptor": image.target,
            "Manifest": image.manifest,
            "Layers": places,
        }))
    }
}

/// Returns the last entry of the history.
fn last_step(config: &Map<String, Value>) -> Option<&Value> {
    config.get("history")?.as_array()?.last()
}

/// Joins directories as overlayfs takes them, top first.
fn join(trees: &[&PathBuf]) -> String {
    let names: Vec<String> = trees
        .iter()
        .map(|tree| tree.display().to_string())
        .collect();
    names.join(":")
}
