//! `tag`: another name for an image.

use lamina_types::{ErrorKind, Reference};

use crate::fault::StoreFault;
use crate::find::FindError;
use crate::images::Images;
use crate::publish::Stored;

/// Why an image could not be given a name.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The image was not found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The new name pins a digest, which is for content to decide.
    #[error("refusing to create a tag with a digest reference: {0}")]
    Digest(Reference),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl TagError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(source) => source.kind(),
            Self::Digest(_) => ErrorKind::InvalidArgument,
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Gives the image that `source` means the name `name`, which may have stood for another.
    pub fn tag(&self, source: &str, name: &Reference) -> Result<(), TagError> {
        if name.digest().is_some() {
            return Err(TagError::Digest(name.clone()));
        }
        let op = self
            .store
            .ops()
            .begin("tag", &[])
            .map_err(StoreFault::from)?;
        let entry = self.entry(source)?;
        let stored = Stored {
            id: entry.image,
            target: entry.target,
            manifest: entry.manifest,
        };
        self.publish(&op, name, &stored)?;
        // What an image without a name was kept by.
        let nameless = Self::nameless(&stored);
        let removed = self.store.refs().remove(&nameless);
        removed.map_err(StoreFault::from)?;
        op.finish().map_err(StoreFault::from)?;
        Ok(())
    }
}
