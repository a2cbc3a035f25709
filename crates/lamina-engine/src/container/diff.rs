//! `diff`: what a container has changed in its root filesystem.

use lamina_fs::{Dir, PathError};
use lamina_layer::{Below, Change, DiffError as WalkError};
use lamina_types::{ContainerId, ErrorKind};
use std::os::fd::AsFd;

use crate::Engine;
use crate::container::find::FindError;
use crate::rootfs::{self, RootfsError};

/// Why the changes cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Its root filesystem is not there.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A directory cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The writable layer cannot be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
}

impl DiffError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Walk(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Lists what a container has added, changed and deleted; walks its writable layer only.
    pub fn diff(&self, id: &ContainerId) -> Result<Vec<Change>, DiffError> {
        self.load_supervised(id)?;
        let Some((upper, below)) = rootfs::split(self.existing_rootfs(id)?) else {
            return Ok(Vec::new());
        };
        let upper = Dir::open(upper)?;
        // The image alone, as overlayfs merges it: what was there before.
        let below = rootfs::open(&below)?;
        Ok(lamina_layer::diff(upper.as_fd(), Below(&below))?)
    }
}
