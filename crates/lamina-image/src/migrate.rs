//! `system migrate`: layers of older stores get what they lack.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

use lamina_layer::Limits;
use lamina_snapshot::{Snapshotter, StorageMode};
use lamina_store::{Line, Operation};
use lamina_types::oci::Descriptor;
use lamina_types::{DiffId, ErrorKind};

use crate::fault::StoreFault;
use crate::find::FindError;
use crate::images::Images;
use crate::layer::{CHUNK, UnpackError, stream};

/// What was done.
#[derive(Debug, Default)]
pub struct Migrated {
    /// Layers that were converted.
    pub converted: Vec<DiffId>,
    /// Layers that were not, each with the reason; they work as before.
    pub failed: Vec<(DiffId, MigrateError)>,
    /// Layers whose trees were let go: the pool has their contents, and nothing stands on them.
    pub trees: Vec<DiffId>,
}

/// Why a layer cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The tar is nowhere: its blob was not kept.
    #[error("the blob of layer {0} is not here: remove its images and pull them again")]
    NoBlob(DiffId),
    /// The blob cannot be read.
    #[error("read the blob of layer {layer}")]
    Blob {
        /// The layer.
        layer: DiffId,
        /// Why.
        source: Box<UnpackError>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl MigrateError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoBlob(_) => ErrorKind::FailedPrecondition,
            Self::Blob { source, .. } => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Gives every layer of an older store its split stream and index, from its blob, and every
    /// image what the storage mode needs. Idempotent; whatever was done by then survives a kill.
    ///
    /// A layer whose tar cannot be made again from the stream and the tree (files that its tar
    /// replaced were not kept by older builds) is left as it was, with its blob. Where the mode is
    /// `erofs`, the trees of what is in the pool then go, so that every file is stored once.
    pub fn migrate(&self) -> Result<Migrated, FindError> {
        let op = self.store.ops().begin("migrate", &[]);
        let op = op.map_err(StoreFault::from)?;
        let mut migrated = Migrated::default();
        let mut seen = BTreeSet::new();
        for entry in self.entries()? {
            let line = Line::Image(entry.manifest.digest.clone());
            op.lease(&[line]).map_err(StoreFault::from)?;
            // A damaged image is not for here to repair.
            let Ok(image) = self.read(entry) else {
                continue;
            };
            for (blob, diff_id) in image.layers.iter().zip(image.diff_ids()) {
                if !seen.insert(diff_id.clone()) || !self.lacks_split(diff_id)? {
                    continue;
                }
                match self.add_split(&op, blob, diff_id) {
                    Ok(()) => migrated.converted.push(diff_id.clone()),
                    Err(error) => migrated.failed.push((diff_id.clone(), error)),
                }
            }
            let whole = image.diff_ids().iter().all(|id| {
                let failed = |(other, _): &(DiffId, MigrateError)| other == id;
                !migrated.failed.iter().any(failed)
            });
            if whole && self.is_complete(&image)? {
                self.make_ready(image.diff_ids())?;
            }
        }
        op.finish().map_err(StoreFault::from)?;
        let pooling = self.snapshots.map(Snapshotter::mode) == Some(StorageMode::Erofs);
        if pooling {
            let layers: Vec<DiffId> = seen.into_iter().collect();
            let dropped = self.store.layers().drop_trees(&layers);
            migrated.trees = dropped.map_err(StoreFault::from)?;
        }
        Ok(migrated)
    }

    fn lacks_split(&self, diff_id: &DiffId) -> Result<bool, StoreFault> {
        let layers = self.store.layers();
        Ok(layers.contains(diff_id)? && layers.split(diff_id)?.is_none())
    }

    fn add_split(
        &self,
        op: &Operation,
        blob: &Descriptor,
        diff_id: &DiffId,
    ) -> Result<(), MigrateError> {
        let layers = self.store.layers();
        op.lease(&[
            Line::Blob(blob.digest.clone()),
            Line::Layer(diff_id.clone()),
        ])
        .map_err(StoreFault::from)?;
        let blobs = self.store.blobs();
        if !blobs.contains(&blob.digest).map_err(StoreFault::from)? {
            return Err(MigrateError::NoBlob(diff_id.clone()));
        }
        let _lock = layers
            .lock(diff_id, &mut |_| true)
            .map_err(StoreFault::from)?;
        if !self.lacks_split(diff_id)? {
            return Ok(());
        }
        let file = blobs.open(&blob.digest).map_err(StoreFault::from)?;
        let added = layers.add_split(diff_id, |out| -> Result<_, UnpackError> {
            let limits = Limits::default();
            let split = stream(
                |sink| {
                    let mut file = io::BufReader::with_capacity(CHUNK, file);
                    let copied = io::copy(&mut file, sink);
                    copied.map(drop).map_err(UnpackError::Read)
                },
                |tar| Ok(lamina_layer::split(tar, out, &mut (), &limits)?),
                &self.bounds,
                self.store.root().as_fd(),
            )?;
            if split.diff_id != *diff_id {
                return Err(UnpackError::WrongDiffId {
                    expected: diff_id.clone(),
                    found: split.diff_id,
                });
            }
            Ok(split.index(&[]))
        });
        added.map_err(|source| MigrateError::Blob {
            layer: diff_id.clone(),
            source: Box::new(source),
        })?;
        // Better no stream than one that nothing comes of.
        if let Err(error) = layers.rebuild(diff_id, io::sink()) {
            layers.remove_split(diff_id).map_err(StoreFault::from)?;
            return Err(StoreFault::from(error).into());
        }
        Ok(())
    }
}
