//! `commit`: what a container changed becomes a layer on its image.
//!
//! Two steps, because the container is held still for the first only: [`Images::begin_commit`] with
//! [`Commit::capture`] copies the changes into files without a name, or shares their blocks; [`Commit::publish`] makes the
//! layer and the image. From the first on, the operation's lease keeps what the image stands on.

use std::fs::File;

use lamina_layer::CaptureError;
use lamina_store::{Line, Operation};
use lamina_types::oci::{Config, Descriptor, HistoryEntry, ImageConfig, Manifest, media};
use lamina_types::{DiffId, Digest, ErrorKind, ImageId, Reference};

use crate::changes::{ChangeError, apply_changes};
use crate::documents::{self, DocumentError, MAX_DOCUMENT};
use crate::fault::StoreFault;
use crate::images::Images;
use crate::import::Spooled;
use crate::keep::Came;
use crate::layer::UnpackError;
use crate::progress::Progress;
use crate::publish::{config_bytes, now, rfc3339};
use crate::spool::{Spool, SpoolWriter};

/// The image that a container stands on.
#[derive(Debug, Clone)]
pub struct CommitBase {
    /// Its configuration.
    pub image: ImageId,
    /// Its manifest.
    pub manifest: Digest,
    /// Its layers, bottom first.
    pub diff_ids: Vec<DiffId>,
}

/// What the new image is to be, beside its files.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Its name; without one it is found by its id.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: String,
    /// A message for its history.
    pub message: String,
    /// What made the changes, for its history.
    pub created_by: String,
    /// What the container runs with, which the image is to run with.
    pub config: Config,
    /// Dockerfile instructions that alter that.
    pub changes: Vec<String>,
}

/// Why a container could not become an image.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A `--change` is wrong.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The name pins a digest, which is for content to decide.
    #[error("refusing to create a tag with a digest reference: {0}")]
    Digest(Reference),
    /// The changes could not be read.
    #[error("read what the container changed")]
    Capture(#[from] CaptureError),
    /// The layer could not be made.
    #[error("make the layer")]
    Layer(#[from] UnpackError),
    /// A document of the image that the container stands on is damaged.
    #[error("read the image of the container")]
    Base(#[from] DocumentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl CommitError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Change(_) | Self::Digest(_) => ErrorKind::InvalidArgument,
            Self::Capture(source) => source.kind(),
            Self::Layer(source) => source.kind(),
            Self::Base(source) => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl CommitOptions {
    /// Applies the changes; says what is wrong with them before anything is done.
    fn applied(&self) -> Result<Config, CommitError> {
        if let Some(name) = self.name.iter().find(|name| name.digest().is_some()) {
            return Err(CommitError::Digest(name.clone()));
        }
        let mut config = self.config.clone();
        apply_changes(&mut config, &self.changes)?;
        Ok(config)
    }
}

/// A commit that has begun: what it stands on stays in the store until it ends.
#[derive(Debug)]
pub struct Commit<'i> {
    images: Images<'i>,
    op: Operation,
    base: Manifest,
    config: ImageConfig,
    options: CommitOptions,
    /// The new layer's tar, and its length.
    spool: Option<(Spool, u64)>,
}

impl<'s> Images<'s> {
    /// Begins a commit on the image `base`, which somebody holds until this has returned.
    pub fn begin_commit(
        &self,
        base: &CommitBase,
        options: CommitOptions,
    ) -> Result<Commit<'s>, CommitError> {
        let running = options.applied()?;
        let mut lines = vec![Line::Image(base.manifest.clone())];
        lines.extend(base.diff_ids.iter().cloned().map(Line::Layer));
        let op = self.store.ops().begin("commit", &lines);
        let op = op.map_err(StoreFault::from)?;
        let read = |digest| {
            let bytes = self.store.blobs().read(digest, MAX_DOCUMENT);
            bytes.map_err(StoreFault::from)
        };
        let manifest = documents::parse_manifest(&read(&base.manifest)?)?;
        let config = documents::parse_config(&read(&base.image.0)?, manifest.layers.len())?;
        Ok(Commit {
            images: *self,
            op,
            base: manifest,
            config: ImageConfig {
                config: running,
                ..config
            },
            options,
            spool: None,
        })
    }
}

impl Commit<'_> {
    /// Copies the changes, which `write` writes as a layer's tar and counts the entries of.
    pub fn capture(
        &mut self,
        write: impl FnOnce(&mut SpoolWriter<'_>) -> Result<u64, CaptureError>,
    ) -> Result<(), CommitError> {
        let file: File = self.images.unnamed()?;
        self.images.bounds.check_space(self.images.store.root())?;
        let mut out = SpoolWriter::new(self.images.store, file).map_err(StoreFault::from)?;
        let entries = write(&mut out)?;
        let spool = out.finish().map_err(UnpackError::Read)?;
        // As Docker: nothing was changed, no layer is added.
        self.spool = Some(spool).filter(|_| entries > 0);
        Ok(())
    }

    /// Returns the operation, for what else has to be undone if this process dies.
    pub fn operation(&self) -> &Operation {
        &self.op
    }

    /// Makes the layer and the image, and gives it its name; durable when it returns.
    pub fn publish(mut self, progress: &dyn Progress) -> Result<ImageId, CommitError> {
        let images = self.images;
        let layer = self.spool.take().map(spooled).transpose()?;
        let diff_ids = &mut self.config.rootfs.diff_ids;
        let mut layers = self.base.layers;
        if let Some(layer) = &layer {
            let diff_id = images.take_spooled(&self.op, layer, progress)?;
            diff_ids.push(diff_id);
            layers.push(layer.blob.clone());
        }
        images.make_ready(diff_ids)?;
        let created = rfc3339(i64::try_from(now()).unwrap_or(0));
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        self.config.author = text(&self.options.author);
        self.config.created = Some(created.clone());
        self.config.history.push(HistoryEntry {
            created: Some(created),
            created_by: text(&self.options.created_by),
            author: text(&self.options.author),
            comment: text(&self.options.message),
            empty_layer: layer.is_none(),
        });
        // What Docker wrote about the container of the image below.
        for key in [
            "container",
            "container_config",
            "docker_version",
            "id",
            "parent",
        ] {
            self.config.other.remove(key);
        }
        let (bytes, _) = config_bytes(&self.config);
        let stored = images.store_documents(&self.op, &bytes, layers)?;
        let name = self.options.name.clone();
        let name = name.unwrap_or_else(|| Images::nameless(&stored));
        images.publish(&self.op, &name, &stored)?;
        if let Some(layer) = &layer {
            let diff_ids = &self.config.rootfs.diff_ids;
            let own = &diff_ids[diff_ids.len() - 1..];
            let blob = std::slice::from_ref(&layer.blob);
            images.drop_blobs(&self.op, Came::Given, blob, own)?;
        }
        self.op.finish().map_err(StoreFault::from)?;
        Ok(stored.id)
    }
}

/// Names a layer's tar by what is in it: nobody is held still for that.
fn spooled((spool, size): (Spool, u64)) -> Result<Spooled, UnpackError> {
    let digest = spool.digest().map_err(UnpackError::Read)?;
    let blob = Descriptor::new(media::OCI_LAYER, digest, size);
    Ok(Spooled { spool, blob })
}
