//! `pull`: reference → manifest → configuration → layers, and only then a name.

use std::thread;

use lamina_distribution::{Client, FetchError};
use lamina_store::{Early, Line, Operation};
use lamina_types::oci::{Descriptor, Manifest};
use lamina_types::{DiffId, Digest, ErrorKind, Platform, Reference};

use crate::documents::{DocumentError, MAX_DOCUMENT, check_manifest, parse_config};
use crate::fault::StoreFault;
use crate::find::FindError;
use crate::images::{Image, Images};
use crate::keep::Came;
use crate::layer::{Job, JobError, Registry, Taker, Trees, UnpackError, take_all, writing_early};
use crate::progress::{Phase, Progress};
use crate::publish::Stored;

/// Why an image could not be pulled. The store is as it was, but for what has been downloaded:
/// the next attempt goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry did not give the manifest or the configuration.
    #[error("pull {reference}")]
    Fetch {
        /// The image.
        reference: String,
        /// Why.
        source: Box<FetchError>,
    },
    /// What it gave is no image that can be used here.
    #[error("pull {reference}")]
    Document {
        /// The image.
        reference: String,
        /// Why.
        source: DocumentError,
    },
    /// A layer failed.
    #[error("pull {reference}: layer {layer}")]
    Layer {
        /// The image.
        reference: String,
        /// The layer's blob.
        layer: Digest,
        /// Why.
        source: Box<UnpackError>,
    },
    /// What was pulled cannot be read back.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl PullError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Fetch { source, .. } => source.kind(),
            Self::Document { source, .. } => source.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::Find(source) => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

/// What a pull did.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// Whether anything changed: false where it was here, up to date.
    pub newer: bool,
}

impl Images<'_> {
    /// Pulls an image for `platform`, or for this machine's.
    ///
    /// Idempotent. What is here already is not transferred. Two processes that pull the same image
    /// download each blob once. Killed at any point it leaves nothing visible, and partial
    /// downloads that the next attempt continues.
    pub fn pull(
        &self,
        client: &Client,
        reference: &Reference,
        platform: Option<&Platform>,
        progress: &dyn Progress,
    ) -> Result<Pulled, PullError> {
        let pull = Pull {
            images: self,
            client,
            reference,
            progress,
        };
        pull.run(platform)
    }
}

struct Pull<'a> {
    images: &'a Images<'a>,
    client: &'a Client,
    reference: &'a Reference,
    progress: &'a dyn Progress,
}

impl Pull<'_> {
    fn run(&self, platform: Option<&Platform>) -> Result<Pulled, PullError> {
        let host = Platform::host();
        let found = self
            .client
            .resolve_platform(self.reference, platform.unwrap_or(&host))
            .map_err(|source| self.fetch_error(source))?;
        check_manifest(&found.manifest).map_err(|source| self.document_error(source))?;
        let target = found
            .indexes
            .first()
            .map_or(&found.descriptor, |index| &index.descriptor);
        let name = match self.reference.digest() {
            Some(digest) => self.reference.with_digest(digest.clone()),
            None => self.reference.clone(),
        };
        if let Some(image) = self.up_to_date(&name, &target.digest, &found.descriptor.digest)? {
            for layer in &image.layers {
                self.progress.layer(&layer.digest, Phase::Exists);
            }
            return Ok(Pulled {
                image,
                newer: false,
            });
        }
        let lines = [
            Line::Image(target.digest.clone()),
            Line::Image(found.descriptor.digest.clone()),
        ];
        let store = self.images.store;
        let op = store
            .ops()
            .begin("pull", &lines)
            .map_err(StoreFault::from)?;
        for index in &found.indexes {
            self.put(&op, &index.descriptor.digest, &index.bytes)?;
        }
        self.put(&op, &found.descriptor.digest, &found.bytes)?;
        self.layers(&op, &found.manifest, platform)?;
        let stored = Stored {
            id: lamina_types::ImageId(found.manifest.config.digest.clone()),
            target: target.clone(),
            manifest: found.descriptor.clone(),
        };
        let entry = self.images.publish(&op, &name, &stored)?;
        let image = self.images.read(entry)?;
        self.images
            .drop_blobs(&op, Came::Pulled, &image.layers, image.diff_ids())?;
        op.finish().map_err(StoreFault::from)?;
        Ok(Pulled { image, newer: true })
    }

    /// Returns the image if the name means it already and nothing of it is missing.
    fn up_to_date(
        &self,
        name: &Reference,
        target: &Digest,
        manifest: &Digest,
    ) -> Result<Option<Image>, PullError> {
        let image = match self.images.find_reference(name) {
            Ok(image) => image,
            Err(FindError::NotFound(_) | FindError::Document { .. }) => return Ok(None),
            // A document that is missing or damaged is fetched again.
            Err(FindError::Store(StoreFault::Blob(_))) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let same = image.target.digest == *target && image.manifest.digest == *manifest;
        Ok((same && self.images.is_whole(&image)?).then_some(image))
    }

    fn put(&self, op: &Operation, digest: &Digest, bytes: &[u8]) -> Result<(), PullError> {
        let put = self.images.store.blobs().put_as(op, digest, bytes);
        Ok(put.map_err(StoreFault::from)?)
    }

    /// Brings the configuration and the layers.
    fn layers(
        &self,
        op: &Operation,
        manifest: &Manifest,
        wanted: Option<&Platform>,
    ) -> Result<(), PullError> {
        let raw = self.config(op, &manifest.config)?;
        let config = parse_config(&raw, manifest.layers.len());
        let config = config.map_err(|source| self.document_error(source))?;
        if let Some(wanted) = wanted {
            crate::documents::check_platform(&config, wanted)
                .map_err(|source| self.document_error(source))?;
        }
        let pairs = manifest.layers.iter().zip(&config.rootfs.diff_ids);
        let jobs = pairs.map(|(blob, diff_id)| Job {
            blob: blob.clone(),
            diff_id: diff_id.clone(),
            origin: Box::new(Registry {
                client: self.client,
                reference: self.reference,
            }),
        });
        let (jobs, diff_ids) = (jobs.collect(), &config.rootfs.diff_ids);
        let (store, form) = (self.images.store, self.images.form);
        writing_early(store, form, |early| self.unpack(op, jobs, diff_ids, early))
    }

    /// Takes the layers and merges them.
    fn unpack(
        &self,
        op: &Operation,
        jobs: Vec<Job<'_>>,
        diff_ids: &[DiffId],
        early: &Early,
    ) -> Result<(), PullError> {
        let trees = Trees::default();
        let taker = Taker {
            store: self.images.store,
            op,
            bounds: &self.images.bounds,
            blobs: self.images.keep_blobs.of_pulled(),
            early: Some(early),
            trees: Some(&trees),
            shared: None,
            form: self.images.form,
        };
        take_all(taker, jobs, self.progress).map_err(|JobError { blob, source }| {
            PullError::Layer {
                reference: self.reference.familiar(),
                layer: blob,
                source,
            }
        })?;
        let known = trees.into_known();
        let ready = thread::scope(|scope| {
            // The disk works on what is left while the image is merged.
            scope.spawn(|| self.images.store.write_back());
            self.images.make_ready_of(diff_ids, &known)
        });
        Ok(ready?)
    }

    /// Returns the configuration, from here or from the registry.
    fn config(&self, op: &Operation, descriptor: &Descriptor) -> Result<Vec<u8>, PullError> {
        let blobs = self.images.store.blobs();
        op.lease(&[Line::Blob(descriptor.digest.clone())])
            .map_err(StoreFault::from)?;
        if let Ok(bytes) = blobs.read(&descriptor.digest, MAX_DOCUMENT) {
            return Ok(bytes);
        }
        let bytes = self
            .client
            .blob_bytes(self.reference, descriptor, MAX_DOCUMENT);
        let bytes = bytes.map_err(|source| self.fetch_error(source))?;
        self.put(op, &descriptor.digest, &bytes)?;
        Ok(bytes)
    }

    fn fetch_error(&self, source: FetchError) -> PullError {
        PullError::Fetch {
            reference: self.reference.familiar(),
            source: Box::new(source),
        }
    }

    fn document_error(&self, source: DocumentError) -> PullError {
        PullError::Document {
            reference: self.reference.familiar(),
            source,
        }
    }
}
