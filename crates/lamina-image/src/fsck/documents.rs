//! Manifests, indexes and configurations, from the registries of the names that lead to them.

use lamina_store::{Fault, Owner, Subject};
use lamina_types::oci::{Descriptor, Manifest};
use lamina_types::{Digest, Reference};

use super::FsckError;
use super::mend::{Mend, Mended};
use crate::documents::MAX_DOCUMENT;
use crate::fault::StoreFault;

impl Mend<'_> {
    /// Fetches every document that is missing or damaged; twice, because a configuration is only
    /// known by its manifest.
    pub(super) fn documents(&mut self) -> Result<(), FsckError> {
        for _ in 0..2 {
            for at in 0..self.findings.len() {
                let finding = &self.findings[at];
                let (Subject::Blob(digest), None) = (&finding.subject, &self.results[at]) else {
                    continue;
                };
                let names: Vec<Reference> = finding.affects.iter().filter_map(image).collect();
                if self.fetched(&names, digest)? {
                    self.results[at] = Some(Mended::Repaired);
                }
            }
        }
        self.names()
    }

    /// Returns whether one of the names' registries gave the document.
    fn fetched(&mut self, names: &[Reference], digest: &Digest) -> Result<bool, FsckError> {
        for name in names {
            let document = self.document_of(name, digest)?;
            if document.is_some_and(|document| self.fetch(name, &document).is_ok()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Documents that no registry gives: those that are damaged go, so that a pull or a load
    /// brings them.
    fn names(&mut self) -> Result<(), FsckError> {
        for at in 0..self.findings.len() {
            let finding = &self.findings[at];
            let (Subject::Blob(digest), None) = (&finding.subject, &self.results[at]) else {
                continue;
            };
            let names: Vec<Reference> = finding.affects.iter().filter_map(image).collect();
            let mut is_document = false;
            for name in &names {
                is_document |= self.document_of(name, digest)?.is_some();
            }
            if !is_document {
                continue;
            }
            let text = "no registry gave it".to_owned();
            self.results[at] = Some(match finding.fault {
                Fault::Missing => Mended::Left(text),
                fault => {
                    self.images.store.drop_damaged(&finding.subject, fault)?;
                    Mended::Dropped(text)
                }
            });
        }
        Ok(())
    }

    /// Returns a name's document by its digest, if it is one of its.
    fn document_of(
        &self,
        name: &Reference,
        digest: &Digest,
    ) -> Result<Option<Document>, FsckError> {
        let store = self.images.store;
        let Some(entry) = store.refs().get(name).map_err(StoreFault::from)? else {
            return Ok(None);
        };
        for manifest in [entry.target, entry.manifest.clone()] {
            if manifest.digest == *digest {
                return Ok(Some(Document::Manifest(manifest)));
            }
        }
        let bytes = store.blobs().read(&entry.manifest.digest, MAX_DOCUMENT);
        let manifest = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
        let config = manifest.map(|manifest| manifest.config);
        Ok(config
            .filter(|config| config.digest == *digest)
            .map(Document::Config))
    }

    fn fetch(&mut self, name: &Reference, document: &Document) -> Result<(), String> {
        let client = self.client()?;
        let (digest, bytes) = match document {
            Document::Manifest(descriptor) => {
                let found = client.manifest(name, descriptor);
                (&descriptor.digest, found.map(|found| found.bytes))
            }
            Document::Config(descriptor) => {
                let found = client.blob_bytes(name, descriptor, MAX_DOCUMENT);
                (&descriptor.digest, found)
            }
        };
        let bytes = bytes.map_err(|error| error.to_string())?;
        let put = self.images.store.blobs().put_as(self.op, digest, &bytes);
        put.map_err(|error| error.to_string())
    }
}

fn image(owner: &Owner) -> Option<Reference> {
    match owner {
        Owner::Image(name) => Some(name.clone()),
        _ => None,
    }
}

/// A document of an image.
enum Document {
    Manifest(Descriptor),
    Config(Descriptor),
}
