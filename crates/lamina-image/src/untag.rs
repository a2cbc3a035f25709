//! `untag`: names away from an image, which stays.

use lamina_store::{Line, Ref, Removal};
use lamina_types::{ErrorKind, Reference};

use crate::fault::StoreFault;
use crate::find::{FindError, NAMELESS};
use crate::images::Images;
use crate::publish::{Stored, now};

/// Why names could not be taken away.
#[derive(Debug, thiserror::Error)]
pub enum UntagError {
    /// The image was not found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A name is another image's, or nobody's.
    #[error("{name} is no name of image {image}")]
    NotItsName {
        /// The name.
        name: String,
        /// The image, shortened.
        image: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl UntagError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(source) => source.kind(),
            Self::NotItsName { .. } => ErrorKind::NotFound,
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Takes `names` away from the image that `text` means, or all its names where none is given,
    /// and returns them. An image without a name is kept and found by its id.
    ///
    /// Nothing is taken away unless every name is the image's. Killed half-way, the image has some
    /// of its names.
    pub fn untag(&self, text: &str, names: &[Reference]) -> Result<Vec<Reference>, UntagError> {
        let mut removal = Removal::at_once(self.store);
        let gone = self.untag_into(&mut removal, text, names)?;
        removal.finish().map_err(StoreFault::from)?;
        Ok(gone)
    }

    /// The same as a part of a command's removals, which may be undone.
    pub fn untag_into(
        &self,
        removal: &mut Removal,
        text: &str,
        names: &[Reference],
    ) -> Result<Vec<Reference>, UntagError> {
        let op = self.store.ops().begin("untag", &[]);
        let op = op.map_err(StoreFault::from)?;
        let entry = self.entry(text)?;
        let lines = [
            Line::Image(entry.target.digest.clone()),
            Line::Image(entry.manifest.digest.clone()),
        ];
        op.lease(&lines).map_err(StoreFault::from)?;
        let mut own = self.entries()?;
        own.retain(|other| other.image == entry.image && other.name.repository() != NAMELESS);
        for name in names {
            if !own.iter().any(|other| other.name == *name) {
                return Err(UntagError::NotItsName {
                    name: name.familiar(),
                    image: entry.image.0.short().to_owned(),
                });
            }
        }
        let before = own.len();
        if !names.is_empty() {
            own.retain(|other| names.contains(&other.name));
        }
        // An image that is losing its last name takes its place among those without one.
        let nameless = (before > 0 && own.len() == before).then(|| without_name(&entry));
        let gone = removal.refs(&own, nameless.as_ref());
        let gone = gone.map_err(StoreFault::from)?;
        op.finish().map_err(StoreFault::from)?;
        Ok(gone)
    }
}

fn without_name(entry: &Ref) -> Ref {
    let name = Images::nameless(&Stored {
        id: entry.image.clone(),
        target: entry.target.clone(),
        manifest: entry.manifest.clone(),
    });
    Ref {
        name,
        updated: now(),
        ..entry.clone()
    }
}
