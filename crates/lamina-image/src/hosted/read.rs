//! What is in a repository.

use std::collections::BTreeSet;

use lamina_distribution::Document;
use lamina_store::{BlobError, Ref};
use lamina_types::Digest;
use lamina_types::oci::Descriptor;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Hosted, HostedError, Pointer};
use crate::documents::MAX_DOCUMENT;
use crate::fault::StoreFault;

/// Indexes within indexes.
const DEPTH: usize = 4;

/// A manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// The document, byte for byte.
    pub bytes: Vec<u8>,
}

/// What of a document matters to whoever looks for what refers to something.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Referring {
    pub(super) subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    annotations: Value,
}

impl Hosted<'_> {
    /// Lists the tags, in order; an error where the repository has nothing at all.
    pub fn tags(&self) -> Result<Vec<String>, HostedError> {
        let entries = self.entries()?;
        if entries.is_empty() {
            let name = self.name.familiar_repository();
            return Err(HostedError::RepositoryUnknown(name));
        }
        let tags = entries.iter().filter_map(|entry| entry.name.tag());
        let tags: BTreeSet<String> = tags.map(str::to_owned).collect();
        Ok(tags.into_iter().collect())
    }

    /// Returns the manifest or index that a tag or digest means here. One that belongs to an index
    /// of the repository is here too.
    pub fn manifest(&self, pointer: &Pointer) -> Result<HostedManifest, HostedError> {
        let found = match pointer {
            Pointer::Tag(tag) => self.tagged(tag)?.map(|entry| entry.target),
            Pointer::Digest(digest) => self.reachable(digest)?,
        };
        let unknown = || match pointer {
            Pointer::Tag(tag) => HostedError::ManifestUnknown(tag.clone()),
            Pointer::Digest(digest) => HostedError::ManifestUnknown(digest.to_string()),
        };
        let descriptor = found.ok_or_else(unknown)?;
        let bytes = self.document(&descriptor.digest)?.ok_or_else(unknown)?;
        Ok(HostedManifest {
            digest: descriptor.digest,
            media_type: descriptor.media_type,
            bytes,
        })
    }

    /// Returns descriptors of everything in the repository whose subject is `digest`, and of
    /// `artifact_type` alone where that is given, as the specification's index has them.
    pub fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Value>, HostedError> {
        let mut all = Vec::new();
        for entry in self.entries()? {
            self.walk(&entry.target, 0, &mut all)?;
        }
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for descriptor in all {
            if !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            let Some(bytes) = self.document(&descriptor.digest)? else {
                continue;
            };
            let Ok(referring) = serde_json::from_slice::<Referring>(&bytes) else {
                continue;
            };
            if referring
                .subject
                .is_none_or(|subject| subject.digest != *digest)
            {
                continue;
            }
            let config = referring.config.map(|config| config.media_type);
            let kind = referring.artifact_type.or(config).unwrap_or_default();
            if artifact_type.is_some_and(|wanted| wanted != kind) {
                continue;
            }
            let mut shown = json!({
                "mediaType": descriptor.media_type, "digest": descriptor.digest,
                "size": bytes.len(), "artifactType": kind,
            });
            if referring.annotations.is_object() {
                shown["annotations"] = referring.annotations;
            }
            found.push(shown);
        }
        Ok(found)
    }

    /// Returns the names of the repository, held ones too.
    pub(super) fn entries(&self) -> Result<Vec<Ref>, StoreFault> {
        let (name, held) = (self.name.repository(), self.held.repository());
        let mut entries = self.images.store.refs().list()?;
        entries.retain(|entry| {
            let repository = entry.name.repository();
            repository == name || repository == held
        });
        Ok(entries)
    }

    /// Returns what a tag means: an image, or something else.
    pub(super) fn tagged(&self, tag: &str) -> Result<Option<Ref>, HostedError> {
        for name in [&self.name, &self.held] {
            let name = name.with_tag(tag).map_err(|_| HostedError::Pointer)?;
            let entry = self.images.store.refs().get(&name);
            if let Some(entry) = entry.map_err(StoreFault::from)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Returns the descriptor of a document that a name of the repository leads to.
    pub(super) fn reachable(&self, digest: &Digest) -> Result<Option<Descriptor>, HostedError> {
        let blobs = self.images.store.blobs();
        if !blobs.contains(digest).map_err(StoreFault::from)? {
            return Ok(None);
        }
        let entries = self.entries()?;
        let direct = entries.iter().flat_map(|e| [&e.target, &e.manifest]);
        if let Some(found) = direct.into_iter().find(|found| found.digest == *digest) {
            return Ok(Some(found.clone()));
        }
        let mut all = Vec::new();
        for entry in &entries {
            self.walk(&entry.target, 0, &mut all)?;
        }
        Ok(all.into_iter().find(|found| found.digest == *digest))
    }

    /// Adds a document, and if it is an index what it leads to.
    pub(super) fn walk(
        &self,
        from: &Descriptor,
        depth: usize,
        all: &mut Vec<Descriptor>,
    ) -> Result<(), HostedError> {
        all.push(from.clone());
        // Media types were checked against the content when it came in.
        if depth >= DEPTH || !from.media_type.contains("index") && !from.media_type.contains("list")
        {
            return Ok(());
        }
        let Some(bytes) = self.document(&from.digest)? else {
            return Ok(());
        };
        if let Ok(Document::Index(index)) = Document::parse(&bytes, None) {
            for manifest in &index.manifests {
                self.walk(manifest, depth + 1, all)?;
            }
        }
        Ok(())
    }

    /// Reads a document, if it is here.
    pub(super) fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreFault> {
        match self.images.store.blobs().read(digest, MAX_DOCUMENT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(BlobError::Path(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
