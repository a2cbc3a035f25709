//! The images of the store as a registry has them: repositories, tags, manifests by digest.
//!
//! ```text
//! repository `team/app`   refs docker.io/team/app:TAG            images: `run team/app` finds them
//!                         refs held.invalid/docker.io/team/app:TAG      what is no image
//!                         refs held.invalid/docker.io/team/app@DIGEST   what has no tag (yet)
//! ```
//! A repository's name means what it means on the command line. What other things than images
//! registries keep (signatures, bills of materials, charts) and manifests that were pushed by
//! digest have names of a domain that no image can have, so that they are kept, and not listed.
//!
//! Every change is one name set or removed, under the lease of an operation.

mod blob;
mod change;
mod read;

use lamina_distribution::DocumentError as ManifestError;
use lamina_types::{Digest, ErrorKind, Reference, ReferenceError};

use crate::fault::StoreFault;
use crate::find::NAMELESS;
use crate::images::Images;

pub use change::Put;
pub use read::HostedManifest;

/// The domain of names that are no images'.
pub(crate) const HELD: &str = "held.invalid";

/// A tag or a digest, as it stands at the end of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    /// A tag.
    Tag(String),
    /// A digest.
    Digest(Digest),
}

/// Why a request about a repository cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum HostedError {
    /// The name is no repository's.
    #[error("invalid repository name")]
    Name(#[source] ReferenceError),
    /// The name is kept for what has no name.
    #[error("reserved repository name")]
    Reserved,
    /// The text is neither a tag nor a digest.
    #[error("invalid tag or digest")]
    Pointer,
    /// There is no such repository.
    #[error("repository {0} is unknown")]
    RepositoryUnknown(String),
    /// There is no such manifest in the repository.
    #[error("manifest {0} is unknown")]
    ManifestUnknown(String),
    /// The manifest belongs to an index, which must go first.
    #[error("manifest {0} belongs to an index")]
    InUse(Digest),
    /// The document is no manifest or index.
    #[error("invalid manifest")]
    Manifest(#[source] ManifestError),
    /// The document is larger than any honest one.
    #[error("the manifest is larger than {0} bytes")]
    TooLarge(u64),
    /// It leads to something that is not here.
    #[error("{0} is unknown")]
    BlobUnknown(Digest),
    /// It says another length of something than that has.
    #[error("{digest} has {found} bytes, the manifest says {said}")]
    Size {
        /// Of what.
        digest: Digest,
        /// What the manifest says.
        said: u64,
        /// What it has.
        found: u64,
    },
    /// Its bytes have another digest than the URL says.
    #[error("the manifest has digest {0}")]
    Digest(Digest),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl HostedError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(_) | Self::Reserved | Self::Pointer | Self::Manifest(_) => {
                ErrorKind::InvalidArgument
            }
            Self::RepositoryUnknown(_) | Self::ManifestUnknown(_) | Self::BlobUnknown(_) => {
                ErrorKind::NotFound
            }
            Self::InUse(_) => ErrorKind::FailedPrecondition,
            Self::TooLarge(_) => ErrorKind::ResourceExhausted,
            Self::Size { .. } | Self::Digest(_) => ErrorKind::DataLoss,
            Self::Store(source) => source.kind(),
        }
    }
}

impl Pointer {
    /// Reads the end of a URL.
    pub fn parse(text: &str) -> Result<Self, HostedError> {
        if text.contains(':') {
            let digest = text.parse().map_err(|_| HostedError::Pointer)?;
            return Ok(Self::Digest(digest));
        }
        let any: Reference = NAMELESS.parse().map_err(|_| HostedError::Pointer)?;
        match any.with_tag(text) {
            Ok(_) => Ok(Self::Tag(text.to_owned())),
            Err(_) => Err(HostedError::Pointer),
        }
    }
}

/// A repository of the store.
#[derive(Debug, Clone)]
pub struct Hosted<'s> {
    images: Images<'s>,
    /// The name of its images, without their tags.
    name: Reference,
    /// The name of everything else in it.
    held: Reference,
}

impl<'s> Images<'s> {
    /// Returns the repository that a URL means; whether anything is in it shows later.
    pub fn hosted(&self, repository: &str) -> Result<Hosted<'s>, HostedError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b);
        if !repository.bytes().all(plain) {
            return Err(HostedError::Name(ReferenceError::Format(
                repository.chars().take(160).collect(),
            )));
        }
        let name: Reference = repository.parse().map_err(HostedError::Name)?;
        if is_reserved(&name) {
            return Err(HostedError::Reserved);
        }
        let held = format!("{HELD}/{}", name.repository());
        let held = held.parse().map_err(HostedError::Name)?;
        Ok(Hosted {
            images: *self,
            name,
            held,
        })
    }

    /// Lists the images that no other machine can pull from here, because blobs of theirs were not
    /// kept or have gone.
    pub fn without_blobs(&self) -> Result<Vec<Reference>, StoreFault> {
        let mut names = Vec::new();
        for entry in self.entries()? {
            let name = entry.name.clone();
            // What cannot be read is told by others.
            let Ok(image) = self.read(entry) else {
                continue;
            };
            for layer in &image.layers {
                if self.blob_size(&layer.digest)?.is_none() {
                    names.push(name);
                    break;
                }
            }
        }
        Ok(names)
    }

    /// Lists the repositories in which there is anything, in the order of their names.
    pub fn repositories(&self) -> Result<Vec<String>, StoreFault> {
        let mut names = Vec::new();
        for entry in self.store.refs().list()? {
            let name = match entry.name.domain() {
                // The name that follows the domain is a whole one.
                HELD => entry.name.path().parse::<Reference>().ok(),
                _ if is_reserved(&entry.name) => None,
                _ => Some(entry.name),
            };
            names.extend(name.map(|name| name.familiar_repository()));
        }
        // A name with a port has no URL here.
        names.retain(|name| !name.contains(':'));
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// Says whether a name is of a domain that no image and no repository can have.
pub(crate) fn is_reserved(name: &Reference) -> bool {
    name.domain() == HELD || NAMELESS.starts_with(&format!("{}/", name.domain()))
}
