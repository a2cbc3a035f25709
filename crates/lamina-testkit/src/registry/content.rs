//! What an honest registry would serve, from memory.

use std::collections::BTreeMap;

use lamina_types::Digest;
use lamina_types::oci::{Descriptor, Manifest, media};
use sha2::{Digest as _, Sha256};

use super::Recorded;
use super::reply::Reply;
use super::uploads::Uploads;

/// An image held in memory: its layers as they are transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryImage {
    /// The configuration document.
    pub config: Vec<u8>,
    /// Media type and bytes of each layer, the bottom-most first.
    pub layers: Vec<(String, Vec<u8>)>,
}

impl MemoryImage {
    /// Returns an image of uncompressed layers with a configuration for this machine.
    pub fn of_tars(tars: Vec<Vec<u8>>) -> Self {
        let platform = lamina_types::Platform::host();
        let diff_ids: Vec<String> = tars.iter().map(|tar| sha256(tar).to_string()).collect();
        let config = serde_json::json!({
            "architecture": platform.architecture, "os": platform.os,
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let layer = |tar| (media::OCI_LAYER.to_owned(), tar);
        Self {
            config: config.to_string().into_bytes(),
            layers: tars.into_iter().map(layer).collect(),
        }
    }

    /// Returns the image's manifest.
    pub fn manifest(&self) -> Manifest {
        let descriptor = |media_type: &str, bytes: &[u8]| {
            Descriptor::new(media_type, sha256(bytes), bytes.len() as u64)
        };
        Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config: descriptor(media::OCI_CONFIG, &self.config),
            layers: self
                .layers
                .iter()
                .map(|(kind, bytes)| descriptor(kind, bytes))
                .collect(),
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the manifest's bytes.
    ///
    /// # Panics
    ///
    /// Never: a manifest can always be written.
    pub fn manifest_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest()).expect("a manifest is plain data")
    }
}

/// Returns the SHA-256 digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

#[derive(Debug, Default)]
pub(super) struct Content {
    /// By `repository/name`, the name a tag or a digest: media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    pub(super) uploads: Uploads,
}

impl Content {
    pub(super) fn add_image(&mut self, repository: &str, tag: &str, image: &MemoryImage) -> Digest {
        self.add_blob(image.config.clone());
        for (_, bytes) in &image.layers {
            self.add_blob(bytes.clone());
        }
        self.add_manifest(
            repository,
            tag,
            media::OCI_MANIFEST,
            &image.manifest_bytes(),
        )
    }

    pub(super) fn add_manifest(
        &mut self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = sha256(bytes);
        for name in [tag, &digest.to_string()] {
            let key = format!("{repository}/{name}");
            self.manifests
                .insert(key, (media_type.to_owned(), bytes.to_vec()));
        }
        digest
    }

    pub(super) fn add_blob(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = sha256(&bytes);
        self.blobs.insert(digest.to_string(), bytes);
        digest
    }

    /// Answers as a registry does; ranges included.
    pub(super) fn answer(&mut self, request: &Recorded) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        if path == "/v2/" {
            return Reply::ok("{}");
        }
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        if let Some((repository, upload)) = rest.rsplit_once("/blobs/uploads/") {
            return self.uploads.answer(request, repository, upload);
        }
        if let Some((repository, name)) = rest.rsplit_once("/manifests/") {
            if request.method == "PUT" {
                return self.put_manifest(request, repository, name);
            }
            return self.manifest(repository, name);
        }
        if let Some((repository, digest)) = rest.rsplit_once("/blobs/") {
            let pushed = self.uploads.blob(repository, digest);
            return match self.blobs.get(digest).or(pushed) {
                Some(bytes) => blob(request, digest, bytes),
                None => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            };
        }
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return self.tags(repository);
        }
        Reply::error(404, "UNSUPPORTED", "no such page")
    }

    fn manifest(&self, repository: &str, name: &str) -> Reply {
        match self.manifests.get(&format!("{repository}/{name}")) {
            Some((media_type, bytes)) => Reply::ok(bytes.clone())
                .header("content-type", media_type)
                .header("docker-content-digest", &sha256(bytes).to_string()),
            None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    /// Takes a manifest whose blobs are all here.
    fn put_manifest(&mut self, request: &Recorded, repository: &str, name: &str) -> Reply {
        let document: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let layers = document["layers"].as_array().into_iter().flatten();
        for descriptor in layers.chain(document.get("config")) {
            let digest = descriptor["digest"].as_str().unwrap_or_default();
            let here = self.blobs.contains_key(digest);
            if !here && self.uploads.blob(repository, digest).is_none() {
                return Reply::error(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
            }
        }
        for descriptor in document["manifests"].as_array().into_iter().flatten() {
            let digest = descriptor["digest"].as_str().unwrap_or_default();
            if !self
                .manifests
                .contains_key(&format!("{repository}/{digest}"))
            {
                return Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown to registry");
            }
        }
        let media_type = request.header("content-type").unwrap_or_default();
        let digest = self.add_manifest(repository, name, media_type, &request.body);
        Reply::status(201).header("docker-content-digest", &digest.to_string())
    }

    /// Returns a manifest's media type and bytes.
    pub(super) fn stored_manifest(
        &self,
        repository: &str,
        name: &str,
    ) -> Option<(String, Vec<u8>)> {
        self.manifests.get(&format!("{repository}/{name}")).cloned()
    }

    fn tags(&self, repository: &str) -> Reply {
        let prefix = format!("{repository}/");
        let names = self
            .manifests
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix));
        let tags: Vec<&str> = names.filter(|name| !name.contains([':', '/'])).collect();
        if tags.is_empty() {
            return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
        }
        Reply::ok(serde_json::json!({"name": repository, "tags": tags}).to_string())
    }
}

fn blob(request: &Recorded, digest: &str, bytes: &[u8]) -> Reply {
    let etag = format!("\"{digest}\"");
    let current = request.header("if-range").is_none_or(|tag| tag == etag);
    let reply = match request.range_start().filter(|_| current) {
        None => Reply::ok(bytes),
        Some(start) => match usize::try_from(start)
            .ok()
            .and_then(|start| bytes.get(start..))
        {
            Some(rest) if !rest.is_empty() => Reply::status(206).body(rest).header(
                "content-range",
                &format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
            ),
            _ => Reply::status(416).header("content-range", &format!("bytes */{}", bytes.len())),
        },
    };
    reply
        .header("content-type", "application/octet-stream")
        .header("etag", &etag)
}
