//! Manifests that come and go.

use lamina_distribution::Document;
use lamina_store::{CollectOptions, Line, Operation, Ref};
use lamina_types::oci::{Descriptor, Index, Manifest};
use lamina_types::{Algorithm, DiffId, Digest, ImageId, Platform, Reference};

use super::read::Referring;
use super::{Hosted, HostedError, Pointer};
use crate::documents::{MAX_DOCUMENT, check_manifest, choose};
use crate::fault::StoreFault;
use crate::hash::{digest, digest_like};
use crate::publish::{Stored, now};

/// What was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The document's digest.
    pub digest: Digest,
    /// What it refers to, if it does.
    pub subject: Option<Digest>,
}

/// A document that came in.
struct Incoming {
    stored: Stored,
    /// Whether `run` and `images` know what to do with it.
    is_image: bool,
    /// The manifests that an index leads to.
    children: Vec<Descriptor>,
}

impl Hosted<'_> {
    /// Puts a manifest or index under a tag or its digest. Everything it leads to must be here.
    /// Durable on return; an image of a tag is then one of the store's.
    pub fn put(
        &self,
        pointer: &Pointer,
        media_type: Option<&str>,
        bytes: &[u8],
    ) -> Result<Put, HostedError> {
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(HostedError::TooLarge(MAX_DOCUMENT));
        }
        let document = Document::parse(bytes, media_type).map_err(HostedError::Manifest)?;
        let own = match pointer {
            Pointer::Digest(wanted) => digest_like(wanted, bytes),
            Pointer::Tag(_) => digest(bytes),
        };
        if let Pointer::Digest(wanted) = pointer
            && own != *wanted
        {
            return Err(HostedError::Digest(own));
        }
        let media_type = document.media_type().to_owned();
        let target = Descriptor::new(&media_type, own, bytes.len() as u64);
        let store = self.images.store;
        let lines = [Line::Image(target.digest.clone())];
        let op = store.ops().begin("registry put", &lines);
        let op = op.map_err(StoreFault::from)?;
        let incoming = match &document {
            Document::Manifest(manifest) => self.manifest_in(&op, target, manifest)?,
            Document::Index(index) => self.index_in(&op, target, index)?,
        };
        let digest = &incoming.stored.target.digest;
        let put = store.blobs().put_as(&op, digest, bytes);
        put.map_err(StoreFault::from)?;
        self.name_it(&op, pointer, &incoming)?;
        op.finish().map_err(StoreFault::from)?;
        let referring = serde_json::from_slice::<Referring>(bytes).ok();
        Ok(Put {
            digest: digest.clone(),
            subject: referring
                .and_then(|r| r.subject)
                .map(|subject| subject.digest),
        })
    }

    /// Leases and looks for what a manifest leads to.
    fn manifest_in(
        &self,
        op: &Operation,
        target: Descriptor,
        manifest: &Manifest,
    ) -> Result<Incoming, HostedError> {
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            // What must not be distributed is nowhere but at its own address.
            let foreign = blob.media_type.contains(".foreign.")
                || blob.media_type.contains(".nondistributable.");
            if !foreign {
                self.must_be_here(op, blob)?;
            }
        }
        Ok(Incoming {
            is_image: check_manifest(manifest).is_ok() && is_image_config(manifest),
            stored: Stored {
                id: ImageId(manifest.config.digest.clone()),
                manifest: target.clone(),
                target,
            },
            children: Vec::new(),
        })
    }

    /// Leases and looks for what an index leads to, and chooses what it means on this machine.
    fn index_in(
        &self,
        op: &Operation,
        target: Descriptor,
        index: &Index,
    ) -> Result<Incoming, HostedError> {
        for child in &index.manifests {
            self.must_be_here(op, child)?;
        }
        let host = choose(index, &Platform::host()).ok();
        let mut stored = Stored {
            id: ImageId(target.digest.clone()),
            manifest: target.clone(),
            target,
        };
        let mut is_image = false;
        for child in host.into_iter().chain(&index.manifests) {
            let Some(bytes) = self.document(&child.digest)? else {
                continue;
            };
            let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, None) else {
                continue;
            };
            if check_manifest(&manifest).is_ok() && is_image_config(&manifest) {
                stored.id = ImageId(manifest.config.digest.clone());
                stored.manifest = Descriptor {
                    annotations: Default::default(),
                    ..child.clone()
                };
                is_image = true;
                break;
            }
        }
        Ok(Incoming {
            stored,
            is_image,
            children: index.manifests.clone(),
        })
    }

    fn must_be_here(&self, op: &Operation, part: &Descriptor) -> Result<(), HostedError> {
        // Leased before it is looked for: the collector sees the one or the other.
        let line = [
            Line::Blob(part.digest.clone()),
            Line::Image(part.digest.clone()),
            // A blob that is a layer's tar is here as long as the layer is.
            Line::Layer(DiffId(part.digest.clone())),
        ];
        op.lease(&line).map_err(StoreFault::from)?;
        match self.images.blob_size(&part.digest)? {
            None => Err(HostedError::BlobUnknown(part.digest.clone())),
            Some(found) if found != part.size => Err(HostedError::Size {
                digest: part.digest.clone(),
                said: part.size,
                found,
            }),
            Some(_) => Ok(()),
        }
    }

    /// Gives what came in its name. Names by digest that it makes unnecessary go.
    fn name_it(
        &self,
        op: &Operation,
        pointer: &Pointer,
        incoming: &Incoming,
    ) -> Result<(), HostedError> {
        let stored = &incoming.stored;
        let digest = &stored.target.digest;
        let Pointer::Tag(tag) = pointer else {
            if self.reachable(digest)?.is_none() {
                self.hold(self.held.with_digest(digest.clone()), stored)?;
            }
            return Ok(());
        };
        let name = |of: &Reference| of.with_tag(tag).map_err(|_| HostedError::Pointer);
        let (plain, held) = (name(&self.name)?, name(&self.held)?);
        if let Some(former) = self.tagged(tag)?.filter(|f| f.target.digest != *digest)
            && (former.name == held || !incoming.is_image)
        {
            self.keep(&former)?;
        }
        let other = match incoming.is_image {
            true => {
                self.images.publish(op, &plain, stored)?;
                held
            }
            false => {
                self.hold(held, stored)?;
                plain
            }
        };
        let refs = self.images.store.refs();
        refs.remove(&other).map_err(StoreFault::from)?;
        let unnecessary = incoming.children.iter().map(|child| &child.digest);
        for digest in unnecessary.chain([digest]) {
            let by_digest = self.held.with_digest(digest.clone());
            refs.remove(&by_digest).map_err(StoreFault::from)?;
        }
        Ok(())
    }

    fn hold(&self, name: Reference, stored: &Stored) -> Result<(), StoreFault> {
        self.images.store.refs().set(&Ref {
            name,
            target: stored.target.clone(),
            manifest: stored.manifest.clone(),
            image: stored.id.clone(),
            updated: now(),
        })?;
        Ok(())
    }

    /// Keeps what a name that goes led to, by its digest, unless another name does.
    fn keep(&self, former: &Ref) -> Result<(), StoreFault> {
        let mut others = self.entries()?.into_iter();
        let digest = &former.target.digest;
        if others.any(|other| other.name != former.name && other.target.digest == *digest) {
            return Ok(());
        }
        self.images.store.refs().set(&Ref {
            name: self.held.with_digest(digest.clone()),
            updated: now(),
            ..former.clone()
        })?;
        Ok(())
    }

    /// Deletes a tag, whose manifest stays, or a manifest with all its names. What nothing leads
    /// to any more is freed, containers apart: what they stand on stays as long as they do.
    pub fn delete(&self, pointer: &Pointer) -> Result<(), HostedError> {
        let refs = self.images.store.refs();
        let going = match pointer {
            Pointer::Tag(tag) => {
                let unknown = || HostedError::ManifestUnknown(tag.clone());
                let entry = self.tagged(tag)?.ok_or_else(unknown)?;
                self.keep(&entry)?;
                vec![entry]
            }
            Pointer::Digest(digest) => {
                let mut entries = self.entries()?;
                entries.retain(|entry| entry.target.digest == *digest);
                if entries.is_empty() {
                    return Err(match self.reachable(digest)? {
                        Some(_) => HostedError::InUse(digest.clone()),
                        None => HostedError::ManifestUnknown(digest.to_string()),
                    });
                }
                entries
            }
        };
        for entry in going {
            refs.remove(&entry.name).map_err(StoreFault::from)?;
        }
        if let Pointer::Digest(_) = pointer {
            let collected = self.images.store.collect(&CollectOptions::default());
            collected.map_err(StoreFault::from)?;
        }
        Ok(())
    }
}

/// Whether a manifest's configuration is an image's. One of an unknown type is no image's.
fn is_image_config(manifest: &Manifest) -> bool {
    let config = &manifest.config;
    config.media_type != "application/octet-stream"
        && config.digest.algorithm() == Algorithm::Sha256
        && config.size > 2
}
