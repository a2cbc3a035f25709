//! What an archive holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use lamina_types::oci::{Descriptor, Index, Manifest, media};
use lamina_types::{DiffId, Digest, Reference};
use serde::Serialize;

use super::choose::Chosen;
use super::{ArchiveFormat, SaveError};
use crate::documents::MAX_DOCUMENT;
use crate::fault::StoreFault;
use crate::hash::digest;
use crate::images::{Image, Images};
use crate::load::LoadError;
use crate::progress::Progress;
use crate::publish::serialise;

/// The full name, as containerd and Docker write it.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One file of the archive.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) size: u64,
    pub(super) content: ItemContent,
}

/// Where a file's bytes are.
#[derive(Debug)]
pub(super) enum ItemContent {
    /// Here.
    Bytes(Vec<u8>),
    /// They are the tar of a layer, made again.
    Layer(DiffId),
    /// They are a blob of the store.
    Blob(Digest),
    /// In a file without a name.
    Spooled(File),
}

/// The files by their paths, which sorts them.
pub(super) type Items = BTreeMap<String, Item>;

/// An image in `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Images<'_> {
    pub(super) fn plan_archive(
        &self,
        chosen: &[Chosen],
        format: ArchiveFormat,
        progress: &dyn Progress,
    ) -> Result<Items, SaveError> {
        let mut items = Items::new();
        let mut listed = Vec::new();
        let mut manifests = Vec::new();
        for one in chosen {
            let whole = format == ArchiveFormat::Oci && self.blobs_are_here(&one.image)?;
            let manifest = if whole {
                self.as_it_came(&one.image, &mut items)?
            } else {
                if format == ArchiveFormat::Oci {
                    progress.note(&format!(
                        "the blobs of {} were not kept: its layers are saved uncompressed, under another manifest digest",
                        one.image.name.familiar()
                    ));
                }
                let (manifest, layers) = self.unpacked(&one.image, &mut items)?;
                listed.push(Listed {
                    config: blob_path(&one.image.id.0),
                    repo_tags: one.names.iter().map(Reference::familiar).collect(),
                    layers: layers
                        .iter()
                        .map(|layer| blob_path(&layer.digest))
                        .collect(),
                });
                manifest
            };
            manifests.extend(described(&manifest, &one.names));
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(media::OCI_INDEX.to_owned()),
            manifests,
            annotations: BTreeMap::new(),
        };
        add(&mut items, "index.json", serialise(&index));
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        add(&mut items, "oci-layout", layout.to_vec());
        if format == ArchiveFormat::Docker {
            add(&mut items, "manifest.json", serialise(&listed));
        }
        Ok(items)
    }

    fn blobs_are_here(&self, image: &Image) -> Result<bool, SaveError> {
        for layer in &image.layers {
            let size = self.store.blobs().size(&layer.digest);
            if size.map_err(StoreFault::from)? != Some(layer.size) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds the manifest that the image came with, and its blobs.
    fn as_it_came(&self, image: &Image, items: &mut Items) -> Result<Descriptor, SaveError> {
        let bytes = self.document(&image.manifest.digest)?;
        add(items, &blob_path(&image.manifest.digest), bytes);
        self.add_config(image, items);
        for layer in &image.layers {
            let item = Item {
                size: layer.size,
                content: ItemContent::Blob(layer.digest.clone()),
            };
            items.insert(blob_path(&layer.digest), item);
        }
        let mut manifest = image.manifest.clone();
        manifest.annotations.clear();
        Ok(manifest)
    }

    /// Adds the layers as plain tars, and a manifest for them.
    fn unpacked(
        &self,
        image: &Image,
        items: &mut Items,
    ) -> Result<(Descriptor, Vec<Descriptor>), SaveError> {
        let mut layers = Vec::new();
        for (diff_id, blob) in image.diff_ids().iter().zip(&image.layers) {
            let path = blob_path(&diff_id.0);
            if !items.contains_key(&path) {
                items.insert(path.clone(), self.layer_item(diff_id, &blob.digest)?);
            }
            let size = items.get(&path).map_or(0, |item| item.size);
            layers.push(Descriptor::new(media::OCI_LAYER, diff_id.0.clone(), size));
        }
        self.add_config(image, items);
        let size = image.raw_config.len() as u64;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config: Descriptor::new(media::OCI_CONFIG, image.id.0.clone(), size),
            layers: layers.clone(),
            annotations: BTreeMap::new(),
        };
        let bytes = serialise(&manifest);
        let described = Descriptor::new(media::OCI_MANIFEST, digest(&bytes), bytes.len() as u64);
        add(items, &blob_path(&described.digest), bytes);
        Ok((described, layers))
    }

    /// Finds a layer's tar: made again where that can be, else out of its blob.
    fn layer_item(&self, diff_id: &DiffId, blob: &Digest) -> Result<Item, SaveError> {
        let layers = self.store.layers();
        if let Some(size) = layers.tar_bytes(diff_id).map_err(StoreFault::from)? {
            return Ok(Item {
                size,
                content: ItemContent::Layer(diff_id.clone()),
            });
        }
        if !self
            .store
            .blobs()
            .contains(blob)
            .map_err(StoreFault::from)?
        {
            return Err(SaveError::Missing(diff_id.clone()));
        }
        let failed = |source| SaveError::Layer {
            layer: diff_id.clone(),
            source: Box::new(source),
        };
        let file = self.store.blobs().open(blob).map_err(StoreFault::from)?;
        let spooled = match self.spool(BufReader::with_capacity(1 << 18, file)) {
            Ok(file) => file,
            Err(LoadError::Spool(source)) => return Err(failed(source)),
            Err(LoadError::Store(source)) => return Err(source.into()),
            Err(_) => return Err(SaveError::Damaged(blob.clone())),
        };
        let mut section = crate::archive::Section::of(&spooled)
            .map_err(crate::layer::UnpackError::Read)
            .map_err(failed)?;
        let size = section.size();
        let found = crate::hash::digest_of_file(&diff_id.0, &mut section)
            .map_err(crate::layer::UnpackError::Read)
            .map_err(failed)?;
        if found != diff_id.0 {
            return Err(SaveError::Damaged(blob.clone()));
        }
        Ok(Item {
            size,
            content: ItemContent::Spooled(spooled),
        })
    }

    fn document(&self, digest: &Digest) -> Result<Vec<u8>, SaveError> {
        let bytes = self.store.blobs().read(digest, MAX_DOCUMENT);
        Ok(bytes.map_err(StoreFault::from)?)
    }

    fn add_config(&self, image: &Image, items: &mut Items) {
        add(items, &blob_path(&image.id.0), image.raw_config.clone());
    }
}

fn add(items: &mut Items, path: &str, bytes: Vec<u8>) {
    let item = Item {
        size: bytes.len() as u64,
        content: ItemContent::Bytes(bytes),
    };
    items.insert(path.to_owned(), item);
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Returns the manifest as an index lists it: once for each name.
fn described(manifest: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    let named = |name: &Reference| {
        let mut named = manifest.clone();
        let annotations = &mut named.annotations;
        annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string());
        let tag = name.tag().unwrap_or("latest").to_owned();
        annotations.insert(REF_NAME.to_owned(), tag);
        named
    };
    if names.is_empty() {
        return vec![manifest.clone()];
    }
    names.iter().map(named).collect()
}
