//! OCI image layouts: `index.json` lists manifests, everything else is named by its digest
//! (OCI image-spec, image-layout.md).

use std::collections::BTreeMap;

use lamina_distribution::{Document, DocumentError as Malformed};
use lamina_types::oci::{Descriptor, Index};
use lamina_types::{Platform, Reference};

use super::{ArchiveError, Files, Packed, PackedLayer, blob_name};
use crate::documents::{self, DocumentError, choose, parse_config};

/// The full name, as containerd and Docker write it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// A tag by the specification; many tools write a name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// An index in an index in an index: nobody needs more.
const MAX_DEPTH: u32 = 3;

/// Reads the images of a layout, one for each entry of `index.json`, each for `platform`.
pub(super) fn images(files: &Files, platform: &Platform) -> Result<Vec<Packed>, ArchiveError> {
    let name = "index.json";
    let bytes = files.document(name, false)?;
    let Document::Index(index) = documents::parse(&bytes, None)? else {
        return Err(DocumentError::from(Malformed::Neither).into());
    };
    // Entries that are one image for several platforms, which is what their having platforms and
    // no names says, count as one.
    let anonymous = |d: &Descriptor| d.platform.is_some() && names(&d.annotations).is_empty();
    if index.manifests.len() > 1 && index.manifests.iter().all(anonymous) {
        let chosen = choose(&index, platform)?;
        return Ok(vec![image(files, chosen, platform, Vec::new(), 0)?]);
    }
    let entries = index.manifests.iter();
    entries
        .map(|entry| image(files, entry, platform, names(&entry.annotations), 0))
        .collect()
}

fn image(
    files: &Files,
    descriptor: &Descriptor,
    platform: &Platform,
    names: Vec<Reference>,
    depth: u32,
) -> Result<Packed, ArchiveError> {
    if depth > MAX_DEPTH {
        return Err(DocumentError::from(Malformed::Nesting(MAX_DEPTH)).into());
    }
    let bytes = files.blob_document(descriptor)?;
    let manifest = match documents::parse(&bytes, Some(&descriptor.media_type))? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let chosen = present(files, &index, platform)?;
            return image(files, &chosen, platform, names, depth + 1);
        }
    };
    let config = files.blob_document(&manifest.config)?;
    parse_config(&config, manifest.layers.len())?;
    let layers = manifest.layers.into_iter().map(|layer| PackedLayer {
        name: blob_name(&layer.digest),
        descriptor: Some(layer),
    });
    Ok(Packed {
        config_digest: manifest.config.digest,
        config,
        layers: layers.collect(),
        manifest: Some((descriptor.clone(), bytes)),
        names,
    })
}

/// Returns the best manifest for the platform among those that the layout really holds: tools
/// save one platform and keep the whole index.
fn present(files: &Files, index: &Index, platform: &Platform) -> Result<Descriptor, DocumentError> {
    let mut held = index.clone();
    held.manifests.retain(|m| files.has(&blob_name(&m.digest)));
    choose(&held, platform).cloned()
}

/// Returns the name that annotations give, if any.
fn names(annotations: &BTreeMap<String, String>) -> Vec<Reference> {
    let full = annotations.get(CONTAINERD_NAME).map(String::as_str);
    let written = annotations.get(REF_NAME).map(String::as_str);
    let name = full.or(written.filter(|text| !is_bare_tag(text)));
    name.and_then(|text| text.parse().ok())
        .into_iter()
        .collect()
}

/// Returns whether a ref.name is what the specification means it to be, a tag: `latest` or a
/// version. Any other single word is taken for a name, as skopeo writes it.
fn is_bare_tag(text: &str) -> bool {
    let version = text.strip_prefix('v').unwrap_or(text);
    let bare = !text.contains(['/', ':', '@']);
    bare && (text == "latest" || version.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_annotations() {
        let of = |key: &str, value: &str| {
            let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            names(&annotations).first().map(Reference::familiar)
        };
        let name = |value| of(REF_NAME, value);
        assert_eq!(name("app"), Some("app:latest".to_owned()));
        assert_eq!(name("me/app:1"), Some("me/app:1".to_owned()));
        assert_eq!(name("latest"), None);
        assert_eq!(name("v1.2"), None);
        assert_eq!(name("../../x"), None);
        let full = of(CONTAINERD_NAME, "docker.io/library/app:2");
        assert_eq!(full, Some("app:2".to_owned()));
    }
}
