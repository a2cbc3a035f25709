//! Marking: from the roots through the documents to blobs, layers and image keys.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use lamina_types::oci::{Descriptor, ImageConfig};
use lamina_types::{DiffId, Digest};
use serde::Deserialize;

use super::CollectError;
use crate::blobs::BlobError;
use crate::key::image_key;
use crate::layers::LayerError;
use crate::ops::Line;
use crate::pins::Pin;
use crate::pool::ObjectKey;
use crate::refs::Ref;
use crate::removed::Held;
use crate::store::Store;

/// No manifest, index or configuration is larger.
const DOCUMENT_LIMIT: u64 = 32 << 20;
/// An index in an index in an index is not an image.
const DEPTH: usize = 4;

/// A document that something leads to and that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damaged {
    /// The document.
    pub digest: Digest,
    /// What is wrong with it.
    pub reason: String,
}

/// What the roots lead to.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) blobs: HashSet<Digest>,
    pub(crate) layers: HashSet<DiffId>,
    pub(crate) keys: HashSet<String>,
    /// Snapshots that are finished, or being made by a live operation.
    pub(crate) snapshots: HashSet<String>,
    /// Contents that are leased, or all of them.
    pub(crate) objects: HashSet<ObjectKey>,
    pub(crate) whole_pool: bool,
    /// Contents of the layers that are marked, each list sorted.
    indexes: Vec<Rc<Vec<ObjectKey>>>,
    /// Blobs leased one by one: also their partial downloads are in use.
    pub(crate) leased: HashSet<Digest>,
}

impl Marks {
    /// Says whether a content is held: leased, or in the index of a marked layer.
    pub(crate) fn has_object(&self, key: &ObjectKey) -> bool {
        self.whole_pool
            || self.objects.contains(key)
            || (self.indexes.iter()).any(|index| index.binary_search(key).is_ok())
    }
}

/// A document, as far as it leads on.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Index(Vec<Digest>),
    Manifest {
        config: Digest,
        layers: Vec<Digest>,
    },
    Config(Vec<DiffId>),
    /// Not here, not readable, or not an image's.
    Dead,
}

/// Marks again and again, reading each document once.
#[derive(Debug)]
pub(crate) struct Marker<'s> {
    store: &'s Store,
    documents: HashMap<Digest, Document>,
    indexes: HashMap<DiffId, Rc<Vec<ObjectKey>>>,
    damaged: Vec<Damaged>,
}

impl<'s> Marker<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self {
            store,
            documents: HashMap::new(),
            indexes: HashMap::new(),
            damaged: Vec::new(),
        }
    }

    pub(crate) fn into_damaged(mut self) -> Vec<Damaged> {
        self.damaged.sort();
        self.damaged.dedup();
        self.damaged
    }

    /// Lists the roots and marks from them. The order of the three lists is the protocol: an
    /// operation publishes to a later list before it leaves the first.
    pub(crate) fn mark(&mut self) -> Result<Marks, CollectError> {
        self.mark_from(true)
    }

    /// Marks what is in use or can be brought back: from all roots but the names of images.
    pub(crate) fn mark_in_use(&mut self) -> Result<Marks, CollectError> {
        self.mark_from(false)
    }

    fn mark_from(&mut self, names: bool) -> Result<Marks, CollectError> {
        let lines = self.store.ops().leases()?;
        let snapshots = self.store.pins().snapshots()?;
        let refs = match names {
            true => self.store.refs().list_strict()?,
            false => Vec::new(),
        };
        // Last: a removal is written down here before anything leaves the lists before.
        let removed = self.store.removed().held()?;
        // A document that was missing may have arrived since the last round.
        self.documents
            .retain(|_, document| !matches!(document, Document::Dead));
        let mut marks = self.leased(&lines)?;
        for snapshot in snapshots {
            if let Some(pin) = snapshot.pin {
                marks.snapshots.insert(snapshot.name);
                self.pin(&pin, &mut marks)?;
            }
        }
        for entry in &refs {
            self.name(entry, &mut marks)?;
        }
        for held in removed {
            self.removed(held, &mut marks)?;
        }
        self.add_indexes(&mut marks)?;
        Ok(marks)
    }

    /// Marks the contents of the layers that are marked.
    pub(crate) fn add_indexes(&mut self, marks: &mut Marks) -> Result<(), CollectError> {
        for diff_id in &marks.layers {
            marks.indexes.extend(self.index(diff_id)?);
        }
        Ok(())
    }

    /// Marks what these lines lead to.
    pub(crate) fn leased(&mut self, lines: &[Line]) -> Result<Marks, CollectError> {
        let mut marks = Marks::default();
        for line in lines {
            match line {
                Line::Blob(digest) => {
                    marks.blobs.insert(digest.clone());
                    marks.leased.insert(digest.clone());
                }
                Line::Layer(diff_id) => drop(marks.layers.insert(diff_id.clone())),
                Line::Image(digest) => self.document(digest, false, 0, &mut marks)?,
                Line::Objects(keys) => marks.objects.extend(keys),
                Line::Pool => marks.whole_pool = true,
                Line::Snapshot(id) => drop(marks.snapshots.insert(id.as_str().to_owned())),
                _ => {}
            }
        }
        Ok(marks)
    }

    /// Returns which objects of the pool a layer refers to, if it is pooled and here. A layer that
    /// is not here yet has leased them one by one.
    pub(crate) fn index(
        &mut self,
        diff_id: &DiffId,
    ) -> Result<Option<Rc<Vec<ObjectKey>>>, CollectError> {
        if let Some(index) = self.indexes.get(diff_id) {
            return Ok(Some(Rc::clone(index)));
        }
        let layers = self.store.layers();
        let index = match layers.get(diff_id) {
            Ok(Some(layer)) if layer.info.pooled => match layers.index(diff_id) {
                Ok(Some(index)) => Ok(index),
                _ => layers.index_of_split(diff_id),
            },
            Ok(_) => return Ok(None),
            Err(error) => Err(error),
        };
        match index {
            Ok(index) => {
                let keys = index.records().iter().map(|one| ObjectKey::from(&one.id));
                let keys = Rc::new(keys.collect());
                self.indexes.insert(diff_id.clone(), Rc::clone(&keys));
                Ok(Some(keys))
            }
            Err(LayerError::Path(error)) if !error.is_no_document() => Err(error.into()),
            Err(error) => {
                self.damaged.push(Damaged {
                    digest: diff_id.0.clone(),
                    reason: error.to_string(),
                });
                Ok(None)
            }
        }
    }

    /// Marks what a name leads to.
    pub(crate) fn name(&mut self, entry: &Ref, marks: &mut Marks) -> Result<(), CollectError> {
        self.document(&entry.target.digest, true, 0, marks)?;
        self.document(&entry.manifest.digest, true, 0, marks)
    }

    /// Marks what a removal needs to be undone.
    pub(crate) fn removed(&mut self, held: Held, marks: &mut Marks) -> Result<(), CollectError> {
        for entry in &held.refs {
            self.document(&entry.target.digest, false, 0, marks)?;
            self.document(&entry.manifest.digest, false, 0, marks)?;
        }
        for pin in held.pins {
            self.pin(&pin, marks)?;
        }
        Ok(())
    }

    /// Marks what a writable layer stands on.
    pub(crate) fn pin(&mut self, pin: &Pin, marks: &mut Marks) -> Result<(), CollectError> {
        for pin in pin.each() {
            if let Some(manifest) = &pin.manifest {
                self.document(manifest, false, 0, marks)?;
            }
            marks
                .blobs
                .extend(pin.image.iter().map(|image| image.0.clone()));
            marks.keys.insert(image_key(&pin.diff_ids));
            marks.layers.extend(pin.diff_ids.iter().cloned());
        }
        Ok(())
    }

    /// Marks an index or a manifest and what it leads to.
    fn document(
        &mut self,
        digest: &Digest,
        expected: bool,
        depth: usize,
        marks: &mut Marks,
    ) -> Result<(), CollectError> {
        marks.blobs.insert(digest.clone());
        match self.load(digest, expected, read_manifest)? {
            Document::Index(manifests) if depth < DEPTH => {
                for manifest in &manifests {
                    self.document(manifest, false, depth + 1, marks)?;
                }
            }
            Document::Manifest { config, layers } => {
                marks.blobs.extend(layers);
                marks.blobs.insert(config.clone());
                if let Document::Config(diff_ids) = self.load(&config, expected, read_config)? {
                    marks.keys.insert(image_key(&diff_ids));
                    marks.layers.extend(diff_ids);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns an index or a manifest, as far as it leads on.
    pub(crate) fn manifest(&mut self, digest: &Digest) -> Result<Document, CollectError> {
        self.load(digest, false, read_manifest)
    }

    /// Returns a configuration, as far as it leads on.
    pub(crate) fn config(&mut self, digest: &Digest) -> Result<Document, CollectError> {
        self.load(digest, false, read_config)
    }

    fn load(
        &mut self,
        digest: &Digest,
        expected: bool,
        read: fn(&[u8]) -> serde_json::Result<Document>,
    ) -> Result<Document, CollectError> {
        if let Some(document) = self.documents.get(digest) {
            return Ok(document.clone());
        }
        let reason = match self.store.blobs().read(digest, DOCUMENT_LIMIT) {
            Ok(bytes) => match read(&bytes) {
                Ok(document) => {
                    self.documents.insert(digest.clone(), document.clone());
                    return Ok(document);
                }
                Err(error) => Some(error.to_string()),
            },
            // The other platforms of an index, and what is being fetched, are not here.
            Err(BlobError::Path(error)) if error.is_not_found() => {
                expected.then(|| "missing".to_owned())
            }
            Err(BlobError::Path(error)) if !error.is_no_document() => {
                return Err(error.into());
            }
            Err(error) => Some(error.to_string()),
        };
        self.damaged.extend(reason.map(|reason| Damaged {
            digest: digest.clone(),
            reason,
        }));
        self.documents.insert(digest.clone(), Document::Dead);
        Ok(Document::Dead)
    }
}

/// Reads an index or a manifest; which of them it is shows in its members.
fn read_manifest(bytes: &[u8]) -> serde_json::Result<Document> {
    #[derive(Deserialize)]
    struct Either {
        manifests: Option<Vec<Descriptor>>,
        config: Option<Descriptor>,
        #[serde(default)]
        layers: Vec<Descriptor>,
    }
    let digests = |all: Vec<Descriptor>| all.into_iter().map(|one| one.digest).collect();
    let either: Either = serde_json::from_slice(bytes)?;
    Ok(match (either.manifests, either.config) {
        (Some(manifests), _) => Document::Index(digests(manifests)),
        (None, Some(config)) => Document::Manifest {
            config: config.digest,
            layers: digests(either.layers),
        },
        (None, None) => Document::Dead,
    })
}

fn read_config(bytes: &[u8]) -> serde_json::Result<Document> {
    let config: ImageConfig = serde_json::from_slice(bytes)?;
    Ok(Document::Config(config.rootfs.diff_ids))
}
