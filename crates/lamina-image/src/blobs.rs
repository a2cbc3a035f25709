//! `image blobs`: which blobs of an image are here, and bringing them there.

use std::io::{self, Write};

use lamina_store::{Fetch, Line, Operation, Partial};
use lamina_types::oci::{Descriptor, media};
use lamina_types::{DiffId, ErrorKind};

use crate::fault::StoreFault;
use crate::find::FindError;
use crate::images::{Image, Images};
use crate::layer::UnpackError;

/// A layer's blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPlace {
    /// The blob, as the manifest names it.
    pub blob: Descriptor,
    /// The layer.
    pub diff_id: DiffId,
    /// Whether the blob is here.
    pub here: bool,
}

/// Why an image's blobs could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BlobsError {
    /// The image was not found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// There is no space for them.
    #[error(transparent)]
    Space(Box<UnpackError>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl BlobsError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(source) => source.kind(),
            Self::Space(source) => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Returns the blobs of an image's layers, bottom first.
    pub fn blobs(&self, image: &Image) -> Result<Vec<BlobPlace>, StoreFault> {
        let pairs = image.layers.iter().zip(image.diff_ids());
        let place = |(blob, diff_id): (&Descriptor, &DiffId)| {
            Ok(BlobPlace {
                blob: blob.clone(),
                diff_id: diff_id.clone(),
                here: self.store.blobs().size(&blob.digest)? == Some(blob.size),
            })
        };
        pairs.map(place).collect()
    }

    /// Makes the blobs of an image that are not here, so that other tools can read it in the
    /// store's OCI layout; returns the image as it is then.
    ///
    /// The compressed bytes that the image came with cannot be made again: a missing layer becomes
    /// its plain tar, and the name gets a manifest that says so. The image's id stays.
    pub fn rebuild_blobs(&self, text: &str) -> Result<Image, BlobsError> {
        let op = self.store.ops().begin("rebuild blobs", &[]);
        let op = op.map_err(StoreFault::from)?;
        let entry = self.entry(text)?;
        let line = Line::Image(entry.manifest.digest.clone());
        op.lease(&[line]).map_err(StoreFault::from)?;
        let image = self.read(entry)?;
        let places = self.blobs(&image)?;
        if places.iter().all(|place| place.here) {
            return Ok(image);
        }
        let mut layers = Vec::new();
        for place in places {
            layers.push(match place.here {
                true => place.blob,
                false => self.plain_blob(&op, &place.diff_id)?,
            });
        }
        let stored = self.store_documents(&op, &image.raw_config, layers)?;
        self.publish(&op, &image.name, &stored)?;
        let image = self.find_reference(&image.name)?;
        op.finish().map_err(StoreFault::from)?;
        Ok(image)
    }

    /// Makes a layer's tar again, as a blob.
    pub(crate) fn plain_blob(
        &self,
        op: &Operation,
        diff_id: &DiffId,
    ) -> Result<Descriptor, BlobsError> {
        let layers = self.store.layers();
        let size = layers.tar_bytes(diff_id).map_err(StoreFault::from)?;
        let size = size
            .ok_or_else(|| StoreFault::from(lamina_store::LayerError::NoSplit(diff_id.clone())))?;
        self.bounds
            .check_space(self.store.root())
            .map_err(|error| BlobsError::Space(Box::new(error)))?;
        let described = Descriptor::new(media::OCI_LAYER, diff_id.0.clone(), size);
        let fetch = self
            .store
            .blobs()
            .fetch(op, &diff_id.0, size, &mut |_| true);
        if let Fetch::Missing(mut partial) = fetch.map_err(StoreFault::from)? {
            let skip = partial.len();
            let mut rest = Rest {
                partial: &mut partial,
                skip,
            };
            let buffered = io::BufWriter::with_capacity(1 << 20, &mut rest);
            layers
                .rebuild(diff_id, buffered)
                .map_err(StoreFault::from)?;
            partial.finish().map_err(StoreFault::from)?;
        }
        Ok(described)
    }
}

/// Appends what a partial blob lacks.
struct Rest<'a> {
    partial: &'a mut Partial,
    /// Bytes that are there.
    skip: u64,
}

impl Write for Rest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let there = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= there as u64;
        let appended = self.partial.append(&bytes[there..]);
        appended.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
