//! `rmi`: names go, and an image goes with its last name.

use std::fmt;

use lamina_store::{Ref, Removal};
use lamina_types::{ErrorKind, ImageId, Reference};

use crate::fault::StoreFault;
use crate::find::FindError;
use crate::images::Images;

/// What a removal did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(Reference),
    /// An image is gone.
    Deleted(ImageId),
}

impl fmt::Display for Removed {
    /// Writes the line that Docker prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged(name) => write!(f, "Untagged: {}", name.familiar()),
            Self::Deleted(id) => write!(f, "Deleted: {id}"),
        }
    }
}

/// A container that stands on an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedBy {
    /// The container's id or name, for messages.
    pub container: String,
    /// Whether it runs now.
    pub running: bool,
}

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The image was not found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It was named by its id and has several names.
    #[error("image {image} has several names: {}", names.join(", "))]
    SeveralNames {
        /// The image, shortened.
        image: String,
        /// Its names.
        names: Vec<String>,
    },
    /// A container stands on it.
    #[error("image {image} is used by {}container {container}", if *running { "the running " } else { "the stopped " })]
    Used {
        /// The image, shortened.
        image: String,
        /// The container.
        container: String,
        /// Whether it runs: then force does not help either.
        running: bool,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl RemoveError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(source) => source.kind(),
            Self::SeveralNames { .. } | Self::Used { .. } => ErrorKind::FailedPrecondition,
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Removes as [`Images::remove_into`], at once: what nobody uses any more is freed before this
    /// returns.
    pub fn remove(
        &self,
        text: &str,
        force: bool,
        used_by: &dyn Fn(&ImageId) -> Vec<UsedBy>,
    ) -> Result<Vec<Removed>, RemoveError> {
        let mut removal = Removal::at_once(self.store);
        let removed = self.remove_into(&mut removal, text, force, used_by)?;
        removal.finish().map_err(StoreFault::from)?;
        Ok(removed)
    }

    /// Removes a name or, by an id, an image with its one name; with `force` with all its names.
    ///
    /// `used_by` tells which containers stand on an image. An image that a container uses keeps
    /// its last name without `force`; with it, the name goes and the layers stay as long as the
    /// container does. By its id, an image of a running container is never removed.
    pub fn remove_into(
        &self,
        removal: &mut Removal,
        text: &str,
        force: bool,
        used_by: &dyn Fn(&ImageId) -> Vec<UsedBy>,
    ) -> Result<Vec<Removed>, RemoveError> {
        let entry = self.entry(text)?;
        let by_name = is_name_of(text, &entry);
        let id = entry.image.clone();
        let mut entries = self.entries()?;
        entries.retain(|other| other.image == id);
        let going: Vec<Ref> = if by_name {
            vec![entry]
        } else if entries.len() > 1 && !force {
            return Err(RemoveError::SeveralNames {
                image: id.0.short().to_owned(),
                names: entries.iter().map(|e| e.name.familiar()).collect(),
            });
        } else {
            entries.clone()
        };
        let last = going.len() == entries.len();
        if last {
            let users = used_by(&id);
            let refuse = |user: &&UsedBy| !force || (user.running && !by_name);
            if let Some(user) = users.iter().find(refuse) {
                return Err(RemoveError::Used {
                    image: id.0.short().to_owned(),
                    container: user.container.clone(),
                    running: user.running,
                });
            }
        }
        let names = removal.refs(&going, None).map_err(StoreFault::from)?;
        if names.is_empty() {
            // Somebody else was first.
            let text = text.chars().take(160).collect();
            return Err(FindError::NotFound(text).into());
        }
        let whole = last && names.len() == going.len();
        let mut removed: Vec<Removed> = names.into_iter().map(Removed::Untagged).collect();
        if whole {
            removed.push(Removed::Deleted(id));
        }
        Ok(removed)
    }
}

/// Returns whether `text` is a name of the entry and not the beginning of its id.
fn is_name_of(text: &str, entry: &Ref) -> bool {
    text.parse::<Reference>()
        .is_ok_and(|name| match name.digest() {
            Some(_) => true,
            None => name == entry.name,
        })
}
