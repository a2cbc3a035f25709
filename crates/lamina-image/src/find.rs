//! Finding an image by what a user typed: a name, a digest, or the beginning of an id.

use lamina_store::Ref;
use lamina_types::{Digest, ErrorKind, ImageId, Reference};

use crate::documents::DocumentError;
use crate::fault::StoreFault;
use crate::hosted::HELD;
use crate::images::{Image, Images};

/// How an image without any name is kept: under this repository, by its digest.
pub(crate) const NAMELESS: &str = "none.invalid/none";

/// Why no image, or no single one, was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is none.
    #[error("no such image: {0}")]
    NotFound(String),
    /// It is here, but with a layer missing, or for another platform than was asked for.
    #[error("image {0} is incomplete or for another platform")]
    Unusable(String),
    /// The beginning of an id fits several images.
    #[error("{prefix:?} is the beginning of several image ids: {}", ids.join(", "))]
    Ambiguous {
        /// What was typed.
        prefix: String,
        /// The ids it fits, shortened.
        ids: Vec<String>,
    },
    /// The image is here but a document of it is damaged.
    #[error("read the image {image}")]
    Document {
        /// The image's name.
        image: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl FindError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::Unusable(_) => ErrorKind::NotFound,
            Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            Self::Document { source, .. } => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Finds the image that `text` means: a name as Docker normalises it, `name@digest`, an id, or
    /// the beginning of an id. A name wins over an id that looks like it.
    pub fn find(&self, text: &str) -> Result<Image, FindError> {
        self.read(self.entry(text)?)
    }

    /// Finds an image by its name, the path of every `run`: one small file for the name, one for
    /// the manifest, one for the configuration.
    pub fn find_reference(&self, name: &Reference) -> Result<Image, FindError> {
        let entry = self.entry_of(name)?;
        self.read(entry.ok_or_else(|| FindError::NotFound(name.familiar()))?)
    }

    /// Returns the name's entry, for what `text` means.
    pub(crate) fn entry(&self, text: &str) -> Result<Ref, FindError> {
        if let Ok(name) = text.parse::<Reference>()
            && let Some(entry) = self.entry_of(&name)?
        {
            return Ok(entry);
        }
        let missing = || FindError::NotFound(text.chars().take(160).collect());
        let prefix = id_prefix(text).ok_or_else(missing)?;
        let mut found: Vec<Ref> = self.entries()?;
        found.retain(|entry| entry.image.0.hex().starts_with(prefix));
        let mut ids: Vec<&ImageId> = found.iter().map(|entry| &entry.image).collect();
        ids.sort();
        ids.dedup();
        if ids.len() > 1 {
            return Err(FindError::Ambiguous {
                prefix: prefix.to_owned(),
                ids: ids.iter().map(|id| id.0.short().to_owned()).collect(),
            });
        }
        found.into_iter().next().ok_or_else(missing)
    }

    /// Returns the entry of a name; one with a digest means that digest, whatever its tag says.
    pub(crate) fn entry_of(&self, name: &Reference) -> Result<Option<Ref>, FindError> {
        let refs = self.store.refs();
        let Some(digest) = name.digest() else {
            return Ok(refs.get(name).map_err(StoreFault::from)?);
        };
        let pinned = name.with_digest(digest.clone());
        if let Some(entry) = refs.get(&pinned).map_err(StoreFault::from)? {
            return Ok(Some(entry));
        }
        let repository = name.repository();
        let same = |e: &Ref| e.name.repository() == repository && is_named_by(e, digest);
        Ok(self.entries()?.into_iter().find(same))
    }

    /// Returns the names of images; those under which the registry keeps other things are left
    /// out.
    pub(crate) fn entries(&self) -> Result<Vec<Ref>, StoreFault> {
        let mut entries = self.store.refs().list()?;
        entries.retain(|entry| entry.name.domain() != HELD);
        Ok(entries)
    }
}

fn is_named_by(entry: &Ref, digest: &Digest) -> bool {
    entry.target.digest == *digest || entry.manifest.digest == *digest
}

/// Returns the hexadecimal digits of something that may be the beginning of an id.
fn id_prefix(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let digits = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (digits && (1..=64).contains(&hex.len())).then_some(hex)
}
