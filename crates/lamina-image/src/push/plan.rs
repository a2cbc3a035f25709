//! Which documents and blobs a push is of.

use std::collections::HashSet;
use std::fs::File;

use lamina_distribution::Document as Parsed;
use lamina_store::{BlobError, Ref};
use lamina_types::Platform;
use lamina_types::oci::{Descriptor, Index, Manifest};

use super::{Push, PushError, PushOptions};
use crate::documents::{MAX_DOCUMENT, check_manifest, check_platform, choose, parse_config};
use crate::fault::StoreFault;

/// Indexes within indexes.
const DEPTH: usize = 4;

/// A manifest or index.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

/// A blob to be pushed.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) descriptor: Descriptor,
    /// Its bytes where they are not those in the store: a layer packed anew.
    pub(super) packed: Option<File>,
}

/// What is pushed.
#[derive(Debug)]
pub(super) struct Plan {
    /// Each once.
    pub(super) blobs: Vec<Blob>,
    /// The manifests that `top` leads to, the deepest first.
    pub(super) children: Vec<Document>,
    pub(super) top: Document,
}

/// An index cannot be pushed: this of it is neither here nor there.
struct Incomplete;

impl Push<'_> {
    /// Decides what is pushed for `entry`.
    ///
    /// An index goes as it is if every manifest in it is here whole or there already. Otherwise,
    /// or where one platform is asked for, or the layers are packed anew, its manifest for that
    /// platform goes in its place.
    pub(super) fn plan(&self, entry: &Ref, options: &PushOptions) -> Result<Plan, PushError> {
        let target = self.document(&entry.target)?;
        let Parsed::Index(index) = self.parse(&target)? else {
            return self.single(target, options, true);
        };
        if options.platform.is_none() && options.packing.is_none() {
            if let Ok(plan) = self.whole(target, &index)? {
                return Ok(plan);
            }
            self.progress.note(&format!(
                "only the image for one platform is here: pushing {}, not the index {}",
                entry.manifest.digest, entry.target.digest
            ));
        }
        let Some(wanted) = &options.platform else {
            return self.single(self.document(&entry.manifest)?, options, false);
        };
        let mut chosen = choose(&index, wanted).map_err(|source| self.unusable(source))?;
        let mut inner;
        for _ in 0..DEPTH {
            let document = self.document(chosen)?;
            match self.parse(&document)? {
                Parsed::Manifest(_) => return self.single(document, options, false),
                Parsed::Index(index) => inner = index,
            }
            chosen = choose(&inner, wanted).map_err(|source| self.unusable(source))?;
        }
        Err(self.missing(format!("the manifest for {wanted}")))
    }

    /// Plans one manifest. Where no index says what it is for, its configuration must.
    fn single(
        &self,
        document: Document,
        options: &PushOptions,
        ask_config: bool,
    ) -> Result<Plan, PushError> {
        let Parsed::Manifest(manifest) = self.parse(&document)? else {
            return Err(self.missing("the manifest".to_owned()));
        };
        if let Some(wanted) = options.platform.as_ref().filter(|_| ask_config) {
            self.check_platform(&manifest, wanted)?;
        }
        if let Some(packing) = options.packing {
            check_manifest(&manifest).map_err(|source| self.unusable(source))?;
            return self.repack(&document, &manifest, packing);
        }
        let mut plan = Plan {
            blobs: Vec::new(),
            children: Vec::new(),
            top: document,
        };
        plan.add_blobs(&manifest, &mut HashSet::new());
        Ok(plan)
    }

    fn check_platform(&self, manifest: &Manifest, wanted: &Platform) -> Result<(), PushError> {
        let config = Descriptor::clone(&manifest.config);
        let bytes = self.document(&config)?.bytes;
        let config = parse_config(&bytes, manifest.layers.len());
        let config = config.map_err(|source| self.unusable(source))?;
        check_platform(&config, wanted).map_err(|source| self.unusable(source))
    }

    /// Plans an index with everything in it.
    fn whole(&self, top: Document, index: &Index) -> Result<Result<Plan, Incomplete>, PushError> {
        let mut plan = Plan {
            blobs: Vec::new(),
            children: Vec::new(),
            top,
        };
        let mut seen = HashSet::new();
        if !self.add_children(index, 0, &mut plan, &mut seen)? {
            return Ok(Err(Incomplete));
        }
        Ok(Ok(plan))
    }

    /// Adds what an index leads to; says false where something is neither here nor there.
    fn add_children(
        &self,
        index: &Index,
        depth: usize,
        plan: &mut Plan,
        seen: &mut HashSet<String>,
    ) -> Result<bool, PushError> {
        for descriptor in &index.manifests {
            if !seen.insert(descriptor.digest.to_string()) {
                continue;
            }
            let Some(document) = self.document_if_here(descriptor)? else {
                if !self.is_there(descriptor)? {
                    return Ok(false);
                }
                continue;
            };
            match self.parse(&document)? {
                Parsed::Manifest(manifest) => {
                    if !self.is_whole(&manifest)? && !self.is_there(descriptor)? {
                        return Ok(false);
                    }
                    plan.add_blobs(&manifest, seen);
                }
                Parsed::Index(inner) if depth < DEPTH => {
                    if !self.add_children(&inner, depth + 1, plan, seen)? {
                        return Ok(false);
                    }
                }
                Parsed::Index(_) => return Ok(false),
            }
            plan.children.push(document);
        }
        Ok(true)
    }

    fn is_there(&self, manifest: &Descriptor) -> Result<bool, PushError> {
        let digest = manifest.digest.to_string();
        let there = self.client.pushed_manifest(self.name, &digest);
        let there = there.map_err(|source| self.refused(source))?;
        Ok(there.is_some_and(|there| there == manifest.digest))
    }

    /// Says whether every blob of a manifest is here.
    fn is_whole(&self, manifest: &Manifest) -> Result<bool, PushError> {
        let blobs = self.images.store.blobs();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if !blobs.contains(&blob.digest).map_err(StoreFault::from)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn document(&self, descriptor: &Descriptor) -> Result<Document, PushError> {
        let found = self.document_if_here(descriptor)?;
        found.ok_or_else(|| self.missing(format!("document {}", descriptor.digest)))
    }

    fn document_if_here(&self, descriptor: &Descriptor) -> Result<Option<Document>, PushError> {
        let blobs = self.images.store.blobs();
        match blobs.read(&descriptor.digest, MAX_DOCUMENT) {
            Ok(bytes) => Ok(Some(Document {
                descriptor: descriptor.clone(),
                bytes,
            })),
            Err(BlobError::Path(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(StoreFault::from(error).into()),
        }
    }

    fn parse(&self, document: &Document) -> Result<Parsed, PushError> {
        let media_type = Some(document.descriptor.media_type.as_str());
        Parsed::parse(&document.bytes, media_type).map_err(|source| self.unusable(source))
    }
}

impl Plan {
    /// Adds a manifest's blobs, each once.
    pub(super) fn add_blobs(&mut self, manifest: &Manifest, seen: &mut HashSet<String>) {
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            if seen.insert(descriptor.digest.to_string()) {
                self.blobs.push(Blob {
                    descriptor: descriptor.clone(),
                    packed: None,
                });
            }
        }
    }
}
