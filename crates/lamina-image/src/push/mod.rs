//! `push`: what is here and not there yet goes to a registry; the manifest goes last.
//!
//! ```text
//! name ─► documents (plan) ─► blobs in parallel (blobs) ─► manifests, children first ─► the tag
//!                  └─ --compression: layers packed anew (pack), and a manifest for them
//! ```
//! An image is pushed with the bytes it was pulled or made with, so it has the same digest
//! everywhere. What is pushed is leased for as long as it takes; nothing is written to the store,
//! and whatever interrupts it leaves nothing behind here.

mod blobs;
mod compression;
mod pack;
mod plan;
mod repack;

use lamina_distribution::{Client, FetchError};
use lamina_store::{LayerError, Line, Ref};
use lamina_types::oci::Descriptor;
use lamina_types::{Digest, ErrorKind, Platform, Reference};

pub use compression::{PackError, Packing, PackingError};

use crate::documents::DocumentError;
use crate::fault::StoreFault;
use crate::images::Images;
use crate::layer::UnpackError;
use crate::progress::Progress;
use plan::Plan;

/// How an image is pushed.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Of an image for several platforms, only the one for this.
    pub platform: Option<Platform>,
    /// Layers that are packed in another way are packed anew: the image gets another digest.
    pub packing: Option<Packing>,
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The name in the registry.
    pub name: Reference,
    /// What the name stands for there now.
    pub descriptor: Descriptor,
}

/// Why an image could not be pushed. The registry may have some of its blobs then, which nothing
/// leads to and which the next attempt does not send again.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A name with a digest: what has it is the content, not who pushes.
    #[error("cannot push a digest reference: {0}")]
    Digest(Reference),
    /// There is no such name.
    #[error("an image does not exist locally with the tag: {0}")]
    NotHere(String),
    /// A document of it cannot be used.
    #[error("push {reference}")]
    Document {
        /// The image.
        reference: String,
        /// Why.
        source: DocumentError,
    },
    /// Neither this machine nor the registry has a part of it.
    #[error("{what} of {reference} is neither here nor in the registry")]
    Missing {
        /// The image.
        reference: String,
        /// The part: a manifest or a blob.
        what: String,
    },
    /// A layer cannot be packed anew.
    #[error("pack layer {layer} anew")]
    Pack {
        /// The layer's blob.
        layer: Digest,
        /// Why.
        source: Box<PackError>,
    },
    /// The registry does not take it.
    #[error("push {reference}")]
    Registry {
        /// The image.
        reference: String,
        /// Why.
        source: Box<FetchError>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl PushError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Digest(_) => ErrorKind::InvalidArgument,
            Self::NotHere(_) | Self::Missing { .. } => ErrorKind::NotFound,
            Self::Document { source, .. } => source.kind(),
            Self::Pack { source, .. } => source.kind(),
            Self::Registry { source, .. } => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl From<UnpackError> for PackError {
    fn from(error: UnpackError) -> Self {
        Self::Space(Box::new(error))
    }
}

impl Images<'_> {
    /// Returns every tag that is here of the repository of `reference`, in order.
    pub fn tags(&self, reference: &Reference) -> Result<Vec<Reference>, StoreFault> {
        let repository = reference.repository();
        let mut names: Vec<Reference> = self.entries()?.into_iter().map(|e| e.name).collect();
        names.retain(|name| name.repository() == repository && name.tag().is_some());
        Ok(names)
    }

    /// Pushes what `name` stands for to the registry in its name.
    ///
    /// Blobs that the registry has are not sent, those of its other repositories are mounted, the
    /// others are sent in parallel. Idempotent. Killed at any point it changes nothing that can be
    /// pulled, and the next attempt sends only the blobs that had not arrived whole.
    pub fn push(
        &self,
        client: &Client,
        name: &Reference,
        options: &PushOptions,
        progress: &dyn Progress,
    ) -> Result<Pushed, PushError> {
        if name.digest().is_some() {
            return Err(PushError::Digest(name.clone()));
        }
        let entry = self.store.refs().get(name).map_err(StoreFault::from)?;
        let entry = entry.ok_or_else(|| PushError::NotHere(name.familiar()))?;
        let lines = [
            Line::Image(entry.target.digest.clone()),
            Line::Image(entry.manifest.digest.clone()),
        ];
        let op = self.store.ops().begin("push", &lines);
        let op = op.map_err(StoreFault::from)?;
        let push = Push {
            images: self,
            client,
            name,
            progress,
            missing_only: false,
        };
        let descriptor = match push.plan(&entry, options).and_then(|plan| push.send(plan)) {
            Err(PushError::Missing { what, .. }) if options.packing.is_none() => {
                push.send_made_again(&entry, options, &what)?
            }
            other => other?,
        };
        op.finish().map_err(StoreFault::from)?;
        Ok(Pushed {
            name: name.clone(),
            descriptor,
        })
    }
}

/// One push.
struct Push<'a> {
    images: &'a Images<'a>,
    client: &'a Client,
    name: &'a Reference,
    progress: &'a dyn Progress,
    /// Only layers whose blobs are not here are packed.
    missing_only: bool,
}

impl Push<'_> {
    /// Sends the image with the layers whose blobs were not kept, and which the registry does not
    /// have either, packed anew.
    fn send_made_again(
        &self,
        entry: &Ref,
        options: &PushOptions,
        what: &str,
    ) -> Result<Descriptor, PushError> {
        let push = Push {
            missing_only: true,
            ..*self
        };
        let options = PushOptions {
            packing: Some(Packing::Gzip(None)),
            ..options.clone()
        };
        let plan = match push.plan(entry, &options) {
            Err(PushError::Pack { source, .. })
                if matches!(
                    *source,
                    PackError::Store(StoreFault::Layer(LayerError::NoSplit(_)))
                ) =>
            {
                return Err(self.missing(what.to_owned()));
            }
            other => other?,
        };
        if plan.top.descriptor.digest != entry.manifest.digest {
            self.progress.note(&format!(
                "{what} was not kept: layers are packed anew, under manifest {}",
                plan.top.descriptor.digest
            ));
        }
        push.send(plan)
    }

    /// Sends the blobs, then the documents, the top one under the tag.
    fn send(&self, plan: Plan) -> Result<Descriptor, PushError> {
        self.send_blobs(&plan.blobs)?;
        let Plan { children, top, .. } = plan;
        for child in &children {
            let digest = child.descriptor.digest.to_string();
            self.put(&digest, child)?;
        }
        self.put(self.name.tag().unwrap_or("latest"), &top)?;
        Ok(top.descriptor)
    }

    fn put(&self, name: &str, document: &plan::Document) -> Result<(), PushError> {
        let media_type = &document.descriptor.media_type;
        let put = self
            .client
            .push_manifest(self.name, name, media_type, &document.bytes);
        put.map_err(|source| self.refused(source))
    }

    fn refused(&self, source: FetchError) -> PushError {
        PushError::Registry {
            reference: self.name.familiar(),
            source: Box::new(source),
        }
    }

    fn missing(&self, what: String) -> PushError {
        PushError::Missing {
            reference: self.name.familiar(),
            what,
        }
    }

    fn unusable(&self, source: impl Into<DocumentError>) -> PushError {
        PushError::Document {
            reference: self.name.familiar(),
            source: source.into(),
        }
    }
}
