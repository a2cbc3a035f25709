//! References and descriptors to manifests and indexes.

use lamina_types::oci::{Descriptor, Manifest};
use lamina_types::{Algorithm, Digest, Platform, Reference};
use sha2::{Digest as _, Sha256, Sha512};

use crate::auth::{Access, Subject};
use crate::client::{Client, Inner};
use crate::document::{Document, DocumentError, select_platform};
use crate::error::FetchError;
use crate::exchange::Get;
use crate::hosts::Endpoint;
use crate::http::Reply;
use crate::status;

/// The longest manifest or index (the distribution specification's minimum for registries).
pub(crate) const MANIFEST_MAX: u64 = 4 << 20;
/// Indexes within indexes.
const NESTING_MAX: u32 = 4;
/// What we can read.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or index whose bytes have the digest of its descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Names the bytes. For a tag its digest is what the tag means now.
    pub descriptor: Descriptor,
    /// The document exactly as it came; what is to be stored.
    pub bytes: Vec<u8>,
    /// What the bytes say.
    pub document: Document,
}

/// The manifest for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForPlatform {
    /// The indexes on the way, the outermost first; none if the reference is a manifest's.
    pub indexes: Vec<Resolved>,
    /// Names the manifest; has the platform if an index gave one.
    pub descriptor: Descriptor,
    /// The manifest's bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub manifest: Manifest,
}

/// What is known of a document before it is fetched.
struct Expected<'a> {
    /// A tag or a digest, as it stands in the URL.
    name: String,
    digest: Option<&'a Digest>,
    descriptor: Option<&'a Descriptor>,
}

impl Client {
    /// Fetches what `reference` names: by its digest if it has one (the tag is then not looked
    /// at), else by its tag.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolved, FetchError> {
        let digest = reference.digest();
        let name = match (digest, reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        self.fetch_manifest(
            reference,
            &Expected {
                name,
                digest,
                descriptor: None,
            },
        )
    }

    /// Fetches a manifest or index of the repository of `reference` by its descriptor.
    pub fn manifest(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Resolved, FetchError> {
        self.fetch_manifest(
            reference,
            &Expected {
                name: descriptor.digest.to_string(),
                digest: Some(&descriptor.digest),
                descriptor: Some(descriptor),
            },
        )
    }

    /// Resolves `reference` and goes through indexes to the manifest for `wanted`.
    ///
    /// A reference that is a manifest's is taken as it is: only its configuration says which
    /// platform it is for.
    pub fn resolve_platform(
        &self,
        reference: &Reference,
        wanted: &Platform,
    ) -> Result<ForPlatform, FetchError> {
        let mut indexes = Vec::new();
        let mut current = self.resolve(reference)?;
        for _ in 0..=NESTING_MAX {
            let index = match &current.document {
                Document::Index(index) => index,
                Document::Manifest(manifest) => {
                    return Ok(ForPlatform {
                        indexes,
                        manifest: manifest.clone(),
                        descriptor: current.descriptor,
                        bytes: current.bytes,
                    });
                }
            };
            let chosen =
                select_platform(index, wanted).map_err(|available| FetchError::NoPlatform {
                    reference: reference.familiar(),
                    wanted: wanted.to_string(),
                    available: available.join(", "),
                })?;
            let mut next = self.manifest(reference, chosen)?;
            next.descriptor.platform.clone_from(&chosen.platform);
            indexes.push(current);
            current = next;
        }
        Err(FetchError::Document {
            reference: reference.familiar(),
            source: DocumentError::Nesting(NESTING_MAX),
        })
    }

    fn fetch_manifest(
        &self,
        reference: &Reference,
        expected: &Expected<'_>,
    ) -> Result<Resolved, FetchError> {
        let inner = &self.inner;
        inner.over_endpoints(reference, |endpoint| {
            inner.manifest_at(endpoint, reference, expected)
        })
    }
}

impl Inner {
    fn manifest_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        expected: &Expected<'_>,
    ) -> Result<Resolved, FetchError> {
        let repository = endpoint.repository(reference);
        let name = reference.familiar_repository();
        let reply = self.get(&Get {
            subject: Subject {
                endpoint,
                repository: &repository,
                name: &name,
                access: Access::Pull,
            },
            path: format!("manifests/{}", expected.name),
            headers: vec![("accept", ACCEPT.to_owned())],
        })?;
        if reply.status != 200 {
            return Err(self.manifest_failure(reference, reply));
        }
        let host = reply.host.clone();
        let header = |name: &str| {
            let value = reply
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let (content_type, claimed) = (header("content-type"), header("docker-content-digest"));
        let bytes = self.http.read_document(reply, "manifest", MANIFEST_MAX)?;
        let digest = verify(&host, &bytes, expected, claimed.as_deref())?;
        let invalid = |source: DocumentError| FetchError::Document {
            reference: reference.familiar(),
            source,
        };
        let document = Document::parse(&bytes, content_type.as_deref()).map_err(invalid)?;
        let media_type = match expected.descriptor {
            Some(descriptor) => {
                // The index's word for it counts as another label.
                Document::parse(&bytes, Some(&descriptor.media_type)).map_err(invalid)?;
                descriptor.media_type.clone()
            }
            None => document.media_type().to_owned(),
        };
        let descriptor = Descriptor::new(&media_type, digest, bytes.len() as u64);
        Ok(Resolved {
            descriptor,
            bytes,
            document,
        })
    }

    fn manifest_failure(&self, reference: &Reference, reply: Reply) -> FetchError {
        let host = reply.host.clone();
        match reply.status {
            404 => match status::report(&self.http, reply).code.as_str() {
                "NAME_UNKNOWN" => FetchError::RepositoryUnknown {
                    repository: reference.familiar_repository(),
                },
                _ => FetchError::ManifestUnknown {
                    reference: reference.familiar(),
                },
            },
            403 => FetchError::Denied {
                host,
                repository: reference.familiar_repository(),
                detail: status::message(&self.http, reply),
            },
            _ => status::other(&self.http, reply),
        }
    }
}

/// Checks length and digest of a document and returns its digest.
fn verify(
    host: &str,
    bytes: &[u8],
    expected: &Expected<'_>,
    claimed: Option<&str>,
) -> Result<Digest, FetchError> {
    if let Some(descriptor) = expected.descriptor
        && descriptor.size != bytes.len() as u64
    {
        return Err(FetchError::SizeMismatch {
            host: host.to_owned(),
            what: "manifest".to_owned(),
            expected: descriptor.size,
            actual: bytes.len() as u64,
        });
    }
    let mismatch = |expected: &Digest, actual: Digest| FetchError::DigestMismatch {
        host: host.to_owned(),
        what: "manifest".to_owned(),
        expected: expected.clone(),
        actual,
    };
    // A header that is no digest at all says nothing; one that is must be true.
    let claimed: Option<Digest> = claimed.and_then(|text| text.trim().parse().ok());
    for wanted in claimed.iter().chain(expected.digest) {
        let actual = digest_of(wanted.algorithm(), bytes);
        if actual != *wanted {
            return Err(mismatch(wanted, actual));
        }
    }
    Ok(expected
        .digest
        .cloned()
        .unwrap_or_else(|| digest_of(Algorithm::Sha256, bytes)))
}

pub(crate) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    match algorithm {
        Algorithm::Sha256 => Digest::from_sha256(Sha256::digest(bytes).into()),
        Algorithm::Sha512 => Digest::from_sha512(Sha512::digest(bytes).into()),
    }
}

#[cfg(test)]
mod tests {
    use lamina_types::oci::media;

    use super::*;

    #[test]
    fn asks_for_every_type_that_it_reads() {
        for media_type in [
            media::OCI_INDEX,
            media::OCI_MANIFEST,
            media::DOCKER_INDEX,
            media::DOCKER_MANIFEST,
        ] {
            assert!(ACCEPT.split(", ").any(|part| part == media_type));
        }
    }
}
