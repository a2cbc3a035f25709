//! An image whose layers are packed anew: other blobs, so another manifest, but the same
//! configuration and so the same image.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::num::NonZero;
use std::thread;

use lamina_store::Area;
use lamina_types::oci::{Descriptor, Manifest, media};
use lamina_types::{Algorithm, DiffId, Digest};
use serde_json::Value;

use super::pack::{Blocks, pack};
use super::plan::{Blob, Document, Plan};
use super::{PackError, Packing, Push, PushError};
use crate::documents::{DocumentError, parse_config};
use crate::fault::StoreFault;
use crate::hash::digest;
use crate::layer::{Compression, MAGIC, UnpackError, decompress};
use crate::progress::Phase;
use crate::publish::serialise;

/// More threads than this wait for the one that reads.
const THREADS_MAX: usize = 16;
/// How often, in bytes, the free space is looked at.
const SPACE_INTERVAL: u64 = 64 << 20;

impl Push<'_> {
    /// Plans the image with its layers packed as asked for. A layer of that format is left as it
    /// is unless a level is asked for too.
    pub(super) fn repack(
        &self,
        document: &Document,
        manifest: &Manifest,
        packing: Packing,
    ) -> Result<Plan, PushError> {
        let config = self.document(&manifest.config)?;
        let config = parse_config(&config.bytes, manifest.layers.len());
        let config = config.map_err(|source| self.unusable(source))?;
        let mut layers: Vec<Blob> = Vec::new();
        for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            let failed = |source| PushError::Pack {
                layer: layer.digest.clone(),
                source: Box::new(source),
            };
            layers.push(self.layer(layer, diff_id, packing).map_err(failed)?);
        }
        let descriptors: Vec<&Descriptor> = layers.iter().map(|blob| &blob.descriptor).collect();
        let top = if descriptors.iter().copied().eq(&manifest.layers) {
            document.clone()
        } else {
            rewritten(document, &descriptors, packing).map_err(|source| {
                self.unusable(DocumentError::Json {
                    what: "manifest",
                    source,
                })
            })?
        };
        let config = Blob {
            descriptor: manifest.config.clone(),
            packed: None,
        };
        let mut seen = HashSet::new();
        let mut blobs: Vec<Blob> = layers.into_iter().chain([config]).collect();
        blobs.retain(|blob| seen.insert(blob.descriptor.digest.clone()));
        Ok(Plan {
            blobs,
            children: Vec::new(),
            top,
        })
    }

    fn layer(
        &self,
        layer: &Descriptor,
        diff_id: &DiffId,
        packing: Packing,
    ) -> Result<Blob, PackError> {
        let mut file = match self.open(&layer.digest) {
            Err(PackError::Store(StoreFault::Path(error))) if error.is_not_found() => {
                return self.made_again(layer, diff_id, packing);
            }
            other => other?,
        };
        let mut start = Vec::new();
        let mut head = (&mut file).take(MAGIC as u64);
        head.read_to_end(&mut start).map_err(PackError::Read)?;
        let same = matches!(
            (packing, Compression::of(&start)),
            (Packing::Gzip(None), Compression::Gzip) | (Packing::Zstd(None), Compression::Zstd)
        );
        if same || self.missing_only {
            return Ok(Blob {
                descriptor: layer.clone(),
                packed: None,
            });
        }
        let whole = BufReader::with_capacity(256 << 10, self.open(&layer.digest)?);
        self.pack(layer, diff_id, packing, |blocks| {
            let mut tar = decompress(whole).map_err(PackError::Read)?;
            let copied = io::copy(&mut tar, blocks);
            copied.map(drop).map_err(PackError::Read)
        })
    }

    /// A layer whose blob was not kept: its tar is made again. Where the blob was that tar it is
    /// the same blob.
    fn made_again(
        &self,
        layer: &Descriptor,
        diff_id: &DiffId,
        packing: Packing,
    ) -> Result<Blob, PackError> {
        let store = self.images.store;
        if layer.digest != diff_id.0 {
            return self.pack(layer, diff_id, packing, |blocks| {
                let made = store.layers().rebuild(diff_id, blocks);
                Ok(made.map(drop).map_err(StoreFault::from)?)
            });
        }
        let folder = store.dir(Area::Trash).map_err(StoreFault::from)?;
        let out = folder.unnamed_file(0o600).map_err(StoreFault::from)?;
        self.images.bounds.check_space(store.root())?;
        let made = store.layers().rebuild(diff_id, &out);
        made.map_err(StoreFault::from)?;
        Ok(Blob {
            descriptor: layer.clone(),
            packed: Some(out),
        })
    }

    fn open(&self, digest: &Digest) -> Result<File, PackError> {
        let file = self.images.store.blobs().open(digest);
        Ok(file.map_err(StoreFault::from)?)
    }

    fn pack(
        &self,
        layer: &Descriptor,
        diff_id: &DiffId,
        packing: Packing,
        fill: impl FnOnce(&mut Blocks) -> Result<(), PackError> + Send,
    ) -> Result<Blob, PackError> {
        let store = self.images.store;
        let folder = store.dir(Area::Trash).map_err(StoreFault::from)?;
        // Without a name: it is gone with this process, however that ends.
        let mut out = folder.unnamed_file(0o600).map_err(StoreFault::from)?;
        let bounds = &self.images.bounds;
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let mut checked = None;
        let mut tick = |done: u64| {
            if done > bounds.tar_bytes {
                return Err(UnpackError::TooLarge(bounds.tar_bytes).into());
            }
            if checked.is_none_or(|at| done >= at + SPACE_INTERVAL) {
                checked = Some(done);
                bounds.check_space(store.root())?;
            }
            let phase = Phase::Compressing { done };
            self.progress.layer(&layer.digest, phase);
            Ok(())
        };
        let threads = threads.min(THREADS_MAX);
        let packed = pack(fill, &mut out, packing, threads, &mut tick)?;
        if packed.diff_id != *diff_id && diff_id.0.algorithm() == Algorithm::Sha256 {
            return Err(PackError::WrongDiffId {
                expected: diff_id.clone(),
                found: packed.diff_id,
            });
        }
        // Which layer of the new image it is.
        let docker = layer.media_type.starts_with("application/vnd.docker.");
        let mut descriptor = layer.clone();
        descriptor.media_type = packing.media_type(docker).to_owned();
        descriptor.digest = packed.digest;
        descriptor.size = packed.size;
        // What annotations say of a blob (its table of contents) is not true of another.
        descriptor.annotations.clear();
        Ok(Blob {
            descriptor,
            packed: Some(out),
        })
    }
}

/// Returns the manifest with these layers, and everything else as it was.
fn rewritten(
    document: &Document,
    layers: &[&Descriptor],
    packing: Packing,
) -> Result<Document, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(&document.bytes)?;
    value["layers"] = serde_json::to_value(layers)?;
    let mut media_type = document.descriptor.media_type.clone();
    // Docker's manifests have Docker's layers, and those are never zstd.
    if media_type == media::DOCKER_MANIFEST && matches!(packing, Packing::Zstd(_)) {
        media::OCI_MANIFEST.clone_into(&mut media_type);
        value["mediaType"] = media_type.clone().into();
        value["config"]["mediaType"] = media::OCI_CONFIG.into();
        for layer in value["layers"].as_array_mut().into_iter().flatten() {
            let docker = layer["mediaType"] == media::DOCKER_LAYER;
            if docker {
                layer["mediaType"] = media::OCI_LAYER.into();
            }
        }
    }
    let bytes = serialise(&value);
    Ok(Document {
        descriptor: Descriptor::new(&media_type, digest(&bytes), bytes.len() as u64),
        bytes,
    })
}
