//! Making an image of documents and layers that are here: the last step of every way in.

use std::time::{SystemTime, UNIX_EPOCH};

use lamina_store::{Line, Operation, Ref};
use lamina_types::oci::{Descriptor, ImageConfig, Manifest, media};
use lamina_types::{ImageId, Reference};

use crate::fault::StoreFault;
use crate::find::NAMELESS;
use crate::hash::digest;
use crate::images::Images;

/// An image's documents in the store, which a name can be given to.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: ImageId,
    pub(crate) target: Descriptor,
    pub(crate) manifest: Descriptor,
}

impl Images<'_> {
    /// Stores the documents of an image that is made here: its configuration and a manifest for
    /// `layers`.
    pub(crate) fn store_documents(
        &self,
        op: &Operation,
        raw_config: &[u8],
        layers: Vec<Descriptor>,
    ) -> Result<Stored, StoreFault> {
        let blobs = self.store.blobs();
        let id = blobs.put(op, raw_config)?;
        let size = raw_config.len() as u64;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config: Descriptor::new(media::OCI_CONFIG, id.clone(), size),
            layers,
            annotations: Default::default(),
        };
        let bytes = serialise(&manifest);
        let digest = blobs.put(op, &bytes)?;
        let manifest = Descriptor::new(media::OCI_MANIFEST, digest, bytes.len() as u64);
        Ok(Stored {
            id: ImageId(id),
            target: manifest.clone(),
            manifest,
        })
    }

    /// Gives the image a name, durably, with every layer published before.
    ///
    /// What the name stood for keeps a name by its digest if it has no other: an image is removed
    /// when somebody asks for it, never because a tag moved on. Returns the entry: another process
    /// may have removed the name by the time it would be looked for.
    pub(crate) fn publish(
        &self,
        op: &Operation,
        name: &Reference,
        stored: &Stored,
    ) -> Result<Ref, StoreFault> {
        let image = Line::Image(stored.target.digest.clone());
        op.lease(&[image, Line::Image(stored.manifest.digest.clone())])?;
        self.keep_former(name, &stored.id)?;
        self.set(name.clone(), stored.clone())
    }

    /// Returns the name under which an image without one is kept.
    pub(crate) fn nameless(stored: &Stored) -> Reference {
        let repository: Reference = NAMELESS.parse().expect("the constant is a valid reference");
        repository.with_digest(stored.manifest.digest.clone())
    }

    fn keep_former(&self, name: &Reference, new: &ImageId) -> Result<(), StoreFault> {
        let refs = self.store.refs();
        let Some(former) = refs.get(name)?.filter(|f| f.image != *new) else {
            return Ok(());
        };
        let others = self.entries()?.into_iter();
        if name.digest().is_none() && others.filter(|e| e.image == former.image).count() < 2 {
            let by_digest = name.with_digest(former.manifest.digest.clone());
            let stored = Stored {
                id: former.image,
                target: former.target,
                manifest: former.manifest,
            };
            self.set(by_digest, stored)?;
        }
        Ok(())
    }

    fn set(&self, name: Reference, stored: Stored) -> Result<Ref, StoreFault> {
        // `repo@digest` was only what the image was called while it had no tag.
        let by_digest = name.with_digest(stored.manifest.digest.clone());
        let retired = name.digest().is_none().then_some(by_digest);
        let entry = Ref {
            name,
            target: stored.target,
            manifest: stored.manifest,
            image: stored.id,
            updated: now(),
        };
        self.store.refs().set(&entry)?;
        if let Some(retired) = retired {
            self.store.refs().remove(&retired)?;
        }
        Ok(entry)
    }
}

/// Returns the bytes of a document of ours.
pub(crate) fn serialise(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have string keys and no failing values")
}

/// Returns the configuration's bytes and what they are named by.
pub(crate) fn config_bytes(config: &ImageConfig) -> (Vec<u8>, ImageId) {
    let bytes = serialise(config);
    let id = ImageId(digest(&bytes));
    (bytes, id)
}

/// Returns the time in seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Returns a time as image configurations have it (RFC 3339, UTC).
pub(crate) fn rfc3339(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_string()
}
