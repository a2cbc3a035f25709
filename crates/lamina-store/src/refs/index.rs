//! `oci/index.json`: the images whose blobs are all here, as an OCI image layout lists them.

use std::collections::BTreeMap;

use lamina_fs::{Dir, Durability, PathError};
use lamina_types::oci::{Descriptor, Index, Manifest, media};

use super::{Ref, RefError};
use crate::area::Area;
use crate::store::Store;

const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The annotation by which other tools name an image of a layout (OCI image-spec, annotations).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const MANIFEST_LIMIT: u64 = 4 << 20;

/// Makes an empty image layout. Idempotent.
pub(crate) fn lay_out_oci(oci: &Dir) -> Result<(), PathError> {
    let empty = br#"{"schemaVersion":2,"manifests":[]}"#.as_slice();
    for (name, text) in [(LAYOUT, LAYOUT_TEXT), (INDEX, empty)] {
        match oci.create_exclusive(name, text, 0o644, Durability::Volatile) {
            Err(error) if !error.is_already_exists() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Writes the index anew from the names; the caller holds their lock.
///
/// A reader sees the old or the new index. Nothing of ours reads it.
pub(super) fn regenerate(store: &Store) -> Result<(), RefError> {
    let mut manifests = Vec::new();
    for entry in store.refs().list()? {
        if blobs_are_here(store, &entry) {
            manifests.push(described(entry));
        }
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        manifests,
        annotations: BTreeMap::new(),
    };
    let oci = store.dir(Area::Oci)?;
    let bytes = serde_json::to_vec(&index).map_err(|source| RefError::Format {
        path: oci.path().join(INDEX),
        source,
    })?;
    Ok(oci.replace(INDEX, &bytes, 0o644, Durability::Durable)?)
}

fn described(entry: Ref) -> Descriptor {
    let mut descriptor = entry.manifest;
    let name = entry.name.to_string();
    descriptor.annotations.insert(REF_NAME.to_owned(), name);
    descriptor
}

/// Whether the manifest, its configuration and all its layers are here; what cannot be read is
/// not.
fn blobs_are_here(store: &Store, entry: &Ref) -> bool {
    let blobs = store.blobs();
    let Ok(bytes) = blobs.read(&entry.manifest.digest, MANIFEST_LIMIT) else {
        return false;
    };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else {
        return false;
    };
    let mut parts = manifest.layers.iter().chain([&manifest.config]);
    parts.all(|part| blobs.contains(&part.digest).unwrap_or(false))
}
