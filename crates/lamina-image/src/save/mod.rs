//! `save`: images into an archive that other tools, and `load`, read.
//!
//! ```text
//! names ─► images (choose) ─► what the archive holds, by path (plan) ─► a tar, sorted (write)
//! ```
//! The same images give the same bytes: entries are sorted, times are zero, nothing of the machine
//! gets in. Layers come from kept blobs, or are made again of their split streams, verified.

mod choose;
mod plan;
mod write;

use std::io::Write;

use lamina_layer::WriteError;
use lamina_store::Line;
use lamina_types::{DiffId, Digest, ErrorKind, Platform};

use crate::fault::StoreFault;
use crate::find::FindError;
use crate::images::Images;
use crate::layer::UnpackError;
use crate::progress::Progress;

/// What kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveFormat {
    /// As `docker save` writes it: a `manifest.json` and uncompressed layers; an OCI layout too.
    #[default]
    Docker,
    /// An OCI image layout, with the manifest and the blobs the image came with where they are
    /// all here, so that it keeps its digest.
    Oci,
}

/// How images are saved.
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    /// The kind of archive.
    pub format: ArchiveFormat,
    /// What the images must be for.
    pub platform: Option<Platform>,
}

/// Why images could not be saved; the archive, if any of it was written, is useless.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// One of them was not found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It is for another platform than was asked for.
    #[error("image {image} is for {found}, not for {wanted}")]
    Platform {
        /// The image.
        image: String,
        /// What it is for.
        found: Box<Platform>,
        /// What was asked for.
        wanted: Box<Platform>,
    },
    /// A layer is neither here nor is its blob.
    #[error("layer {0} is not here: neither its files nor its blob")]
    Missing(DiffId),
    /// A layer's blob cannot be unpacked.
    #[error("read the blob of layer {layer}")]
    Layer {
        /// The layer.
        layer: DiffId,
        /// Why.
        source: Box<UnpackError>,
    },
    /// A blob is not what its digest says.
    #[error("blob {0} is damaged")]
    Damaged(Digest),
    /// The archive cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl SaveError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(source) => source.kind(),
            Self::Platform { .. } => ErrorKind::NotFound,
            Self::Missing(_) | Self::Damaged(_) => ErrorKind::DataLoss,
            Self::Layer { source, .. } => source.kind(),
            Self::Write(source) => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Writes an archive of the images that `texts` mean to `out`.
    ///
    /// A name without a tag means all tags of the repository, as in Docker. What is saved is leased
    /// for as long as it takes.
    pub fn save(
        &self,
        texts: &[String],
        options: &SaveOptions,
        out: impl Write,
        progress: &dyn Progress,
    ) -> Result<(), SaveError> {
        let op = self.store.ops().begin("save", &[]);
        let op = op.map_err(StoreFault::from)?;
        let chosen = self.choose(texts, options.platform.as_ref(), |image| {
            let lines = [
                Line::Image(image.target.digest.clone()),
                Line::Image(image.manifest.digest.clone()),
            ];
            op.lease(&lines).map_err(StoreFault::from)
        })?;
        let items = self.plan_archive(&chosen, options.format, progress)?;
        write::write(self.store, items, out)?;
        op.finish().map_err(StoreFault::from)?;
        Ok(())
    }
}
