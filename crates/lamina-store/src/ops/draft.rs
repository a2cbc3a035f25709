//! A folder being filled, which appears elsewhere by one rename.

use lamina_fs::{Dir, Durability, PathError};
use rustix::io::Errno;

use crate::store::Store;

/// A folder in `ops/<operation>.d/`, invisible to everybody until it is published.
#[derive(Debug)]
pub struct Draft {
    store: Store,
    drafts: Dir,
    name: String,
    dir: Dir,
}

impl Draft {
    pub(super) fn new(store: &Store, drafts: Dir, number: u64) -> Result<Self, PathError> {
        let name = number.to_string();
        let dir = drafts.mkdir(&name, 0o700)?;
        Ok(Self {
            store: store.clone(),
            drafts,
            name,
            dir,
        })
    }

    /// Returns the folder.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Renames the folder, which is not empty, to `name` in `to`; false, and the draft goes to
    /// the trash, where that exists with content: somebody else was first. Nothing is synced.
    pub fn publish(self, to: &Dir, name: &str) -> Result<bool, PathError> {
        match self
            .drafts
            .rename_to(&self.name, to, name, Durability::Volatile)
        {
            Ok(()) => Ok(true),
            // rename(2) onto a directory that is not empty.
            Err(error) if matches!(error.errno(), Some(Errno::EXIST | Errno::NOTEMPTY)) => {
                self.store.trash(&self.drafts, &self.name)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
