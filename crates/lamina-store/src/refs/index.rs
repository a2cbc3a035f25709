//! `oci/index.json`: the images whose blobs are all here, as an OCI image layout lists them.

use std::collections::BTreeMap;

use lamina_fs::{Dir, Durability, PathError};
use lamina_types::oci::{Descriptor, Index, Manifest, media};
use lamina_types::{Digest, ImageId, Reference};

use super::{Ref, RefError};
use crate::area::Area;
use crate::store::Store;

const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The annotation by which other tools name an image of a layout (OCI image-spec, annotations).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const MANIFEST_LIMIT: u64 = 4 << 20;
const INDEX_LIMIT: u64 = 64 << 20;

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
/// A reader sees the old or the new index. It is read here only to restore a damaged name.
pub(super) fn regenerate(store: &Store) -> Result<(), RefError> {
    let oci = store.dir(Area::Oci)?;
    let bytes = bytes(store)?;
    // Images whose compressed layers are not kept are not in it: most names come and go without
    // a change here, which costs no sync then.
    if oci.read(INDEX, INDEX_LIMIT).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    Ok(oci.replace(INDEX, &bytes, 0o644, Durability::Durable)?)
}

/// Writes the file that says that this is an image layout.
pub(super) fn write_layout(oci: &Dir) -> Result<(), PathError> {
    oci.replace(LAYOUT, LAYOUT_TEXT, 0o644, Durability::Durable)
}

/// Returns which files of the layout are not what they would be if they were written now.
pub(crate) fn stale(store: &Store) -> Result<Vec<&'static str>, RefError> {
    let oci = store.dir(Area::Oci)?;
    let mut stale = Vec::new();
    if !oci
        .read(LAYOUT, INDEX_LIMIT)
        .is_ok_and(|found| found == LAYOUT_TEXT)
    {
        stale.push(LAYOUT);
    }
    let value = |bytes: &[u8]| serde_json::from_slice::<Index>(bytes).ok();
    let found = oci
        .read(INDEX, INDEX_LIMIT)
        .ok()
        .and_then(|bytes| value(&bytes));
    let listed = found.map(|index| index.manifests);
    if listed != value(&bytes(store)?).map(|index| index.manifests) {
        stale.push(INDEX);
    }
    Ok(stale)
}

fn manifest_of(store: &Store, digest: &Digest) -> Option<(Manifest, u64)> {
    let bytes = store.blobs().read(digest, MANIFEST_LIMIT).ok()?;
    let manifest = serde_json::from_slice(&bytes).ok()?;
    Some((manifest, bytes.len() as u64))
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Returns what the file of a name should say: `read` as far as its documents do not contradict
/// it, else what the index lists for a name with such a file.
pub(super) fn corrected(store: &Store, file: &str, read: Option<Ref>) -> Option<Ref> {
    if let Some(mut entry) = read
        && let Some((manifest, size)) = manifest_of(store, &entry.manifest.digest)
    {
        entry.image = ImageId(manifest.config.digest);
        entry.manifest.size = size;
        let own = manifest
            .media_type
            .unwrap_or_else(|| media::OCI_MANIFEST.to_owned());
        entry.manifest.media_type = own;
        let index = store.blobs().read(&entry.target.digest, MANIFEST_LIMIT);
        let index = index.ok().and_then(|bytes| {
            let index = serde_json::from_slice::<Index>(&bytes).ok()?;
            Some((index, bytes.len() as u64))
        });
        match index {
            Some((index, size)) if entry.target.digest != entry.manifest.digest => {
                entry.target.size = size;
                let own = index
                    .media_type
                    .unwrap_or_else(|| media::OCI_INDEX.to_owned());
                entry.target.media_type = own;
            }
            _ => entry.target = entry.manifest.clone(),
        }
        return Some(entry);
    }
    let oci = store.dir(Area::Oci).ok()?;
    let bytes = oci.read(INDEX, INDEX_LIMIT).ok()?;
    let index: Index = serde_json::from_slice(&bytes).ok()?;
    let found = index.manifests.into_iter().find_map(|mut descriptor| {
        let name = descriptor.annotations.remove(REF_NAME)?;
        let name = name.parse::<Reference>().ok()?;
        (super::file_name(&name) == file).then_some((name, descriptor))
    });
    let (name, manifest) = found?;
    let (document, _) = manifest_of(store, &manifest.digest)?;
    Some(Ref {
        name,
        target: manifest.clone(),
        image: ImageId(document.config.digest),
        manifest,
        updated: now(),
    })
}

fn bytes(store: &Store) -> Result<Vec<u8>, RefError> {
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
    serde_json::to_vec(&index).map_err(|source| RefError::Format {
        path: store.path(Area::Oci).join(INDEX),
        source,
    })
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
