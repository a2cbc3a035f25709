//! The images of a store, and one image.

use lamina_snapshot::{ImageLayers, KnownTrees, Snapshotter, StorageMode};
use lamina_store::{Ref, Store};
use lamina_types::oci::{Descriptor, ImageConfig, Manifest};
use lamina_types::{DiffId, ImageId, Platform, Reference};

use crate::documents::{self, MAX_DOCUMENT};
use crate::fault::StoreFault;
use crate::find::FindError;
use crate::keep::KeepBlobs;
use crate::layer::{Bounds, LayerForm};

/// The images of a store: the door to everything in this crate. Cheap to make and to copy.
#[derive(Debug, Clone, Copy)]
pub struct Images<'s> {
    pub(crate) store: &'s Store,
    pub(crate) bounds: Bounds,
    pub(crate) form: LayerForm,
    pub(crate) snapshots: Option<&'s dyn Snapshotter>,
    pub(crate) keep_blobs: KeepBlobs,
}

/// An image that is here, its documents read and verified.
#[derive(Debug, Clone)]
pub struct Image {
    /// The image's identity: the digest of its configuration.
    pub id: ImageId,
    /// The name it was found by; for one found by its id, one of its names.
    pub name: Reference,
    /// What the name stands for in its registry: an index or the manifest.
    pub target: Descriptor,
    /// The manifest for this platform.
    pub manifest: Descriptor,
    /// The layers as blobs, bottom first.
    pub layers: Vec<Descriptor>,
    /// The configuration.
    pub config: ImageConfig,
    /// The configuration's own bytes, which are what the id is the digest of.
    pub raw_config: Vec<u8>,
    /// When the name was set, in seconds since 1970.
    pub updated: u64,
}

impl Image {
    /// Returns the layers' identities, bottom first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.config.rootfs.diff_ids
    }

    /// Returns the platform that the configuration says it is for.
    pub fn platform(&self) -> Platform {
        let config = &self.config;
        Platform {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        }
        .normalised()
    }
}

impl<'s> Images<'s> {
    /// Returns the images of `store`.
    pub fn new(store: &'s Store) -> Self {
        Self {
            store,
            bounds: Bounds::default(),
            form: LayerForm::default(),
            snapshots: None,
            keep_blobs: KeepBlobs::default(),
        }
    }

    /// Returns the same with other limits on what a layer may unpack to.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// Returns the same with another policy on the blobs of the layers that come.
    #[must_use]
    pub fn with_keep_blobs(self, keep_blobs: KeepBlobs) -> Self {
        Self { keep_blobs, ..self }
    }

    /// Returns the same with another form of the layers that come.
    #[must_use]
    pub fn with_form(self, form: LayerForm) -> Self {
        Self { form, ..self }
    }

    /// Returns the same for a storage mode: new layers come in its form, and what it generates of
    /// an image is there as soon as the image is.
    #[must_use]
    pub fn with_snapshots(self, snapshots: &'s dyn Snapshotter) -> Self {
        let form = match snapshots.mode() {
            StorageMode::Erofs => LayerForm::Pool,
            StorageMode::Auto | StorageMode::Plain => LayerForm::Tree,
        };
        Self {
            form,
            snapshots: Some(snapshots),
            ..self
        }
    }

    /// Generates what the storage mode needs of an image whose layers are here.
    pub(crate) fn make_ready(&self, diff_ids: &[DiffId]) -> Result<(), StoreFault> {
        self.make_ready_of(diff_ids, &KnownTrees::new())
    }

    /// The same without reading again what is known of layers that have just come.
    pub(crate) fn make_ready_of(
        &self,
        diff_ids: &[DiffId],
        known: &KnownTrees,
    ) -> Result<(), StoreFault> {
        let Some(snapshots) = self.snapshots else {
            return Ok(());
        };
        let layers = ImageLayers {
            diff_ids: diff_ids.to_vec(),
            ..ImageLayers::default()
        };
        Ok(snapshots.ready(&layers, known).map_err(Box::new)?)
    }

    /// Reads an image's manifest and configuration: two files, each hashed again.
    pub(crate) fn read(&self, entry: Ref) -> Result<Image, FindError> {
        let blobs = self.store.blobs();
        let damaged = |source| FindError::Document {
            image: entry.name.familiar(),
            source,
        };
        let bytes = blobs
            .read(&entry.manifest.digest, MAX_DOCUMENT)
            .map_err(StoreFault::from)?;
        let manifest: Manifest = documents::parse_manifest(&bytes).map_err(damaged)?;
        let raw_config = blobs
            .read(&manifest.config.digest, MAX_DOCUMENT)
            .map_err(StoreFault::from)?;
        let config =
            documents::parse_config(&raw_config, manifest.layers.len()).map_err(damaged)?;
        Ok(Image {
            id: ImageId(manifest.config.digest),
            name: entry.name,
            target: entry.target,
            manifest: entry.manifest,
            layers: manifest.layers,
            config,
            raw_config,
            updated: entry.updated,
        })
    }

    /// Returns whether nothing of the image is missing, down to the contents of its files. Slower
    /// than [`Images::is_complete`]: looks for each of them.
    pub(crate) fn is_whole(&self, image: &Image) -> Result<bool, StoreFault> {
        for diff_id in image.diff_ids() {
            if !self.store.layers().is_whole(diff_id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether every layer of the image is unpacked here.
    pub fn is_complete(&self, image: &Image) -> Result<bool, StoreFault> {
        for diff_id in image.diff_ids() {
            if !self.store.layers().contains(diff_id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
