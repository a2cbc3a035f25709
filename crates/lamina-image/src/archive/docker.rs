//! `docker save`'s form: `manifest.json` lists, for each image, a configuration, the layers'
//! files and the tags (moby image/tarexport). Skopeo, Podman and Buildah write it too.

use lamina_types::Reference;
use serde::Deserialize;

use super::{ArchiveError, Files, Packed, PackedLayer};
use crate::documents::parse_config;

/// One image as `manifest.json` has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads the images of an archive that has a `manifest.json`.
pub(super) fn images(files: &Files) -> Result<Vec<Packed>, ArchiveError> {
    let name = "manifest.json";
    let bytes = files.document(name, false)?;
    let items: Vec<Item> = serde_json::from_slice(&bytes).map_err(|source| ArchiveError::Json {
        name: name.to_owned(),
        source,
    })?;
    items.into_iter().map(|item| image(files, item)).collect()
}

fn image(files: &Files, item: Item) -> Result<Packed, ArchiveError> {
    let config = files.document(&item.config, true)?;
    let layers = item.layers.unwrap_or_default();
    parse_config(&config, layers.len())?;
    // A tag that is no reference is dropped, not an error: the image itself is good.
    let names = item.repo_tags.unwrap_or_default();
    let names = names.iter().filter_map(|tag| tag.parse::<Reference>().ok());
    let layers = layers.into_iter().map(|name| PackedLayer {
        name,
        descriptor: None,
    });
    Ok(Packed {
        config_digest: crate::hash::digest(&config),
        config,
        manifest: None,
        layers: layers.collect(),
        names: names.collect(),
    })
}
