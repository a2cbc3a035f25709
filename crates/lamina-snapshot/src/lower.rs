//! What a snapshot stands on, whatever the mode.

use std::path::PathBuf;

use lamina_fs::{Dir, PathError};
use lamina_types::Source;

use crate::metadata;

/// The read-only part of a root filesystem.
#[derive(Debug)]
pub(crate) struct Lower {
    /// The top-most first.
    pub(crate) sources: Vec<Source>,
    /// The data-only layer, if the mode has one.
    pub(crate) data: Option<PathBuf>,
    /// Whose metadata its root has.
    pub(crate) root: RootOf,
}

/// Where the metadata of the root directory are.
#[derive(Debug)]
pub(crate) enum RootOf {
    /// A tree has them.
    Tree(PathBuf),
    /// An image had them.
    Image(Box<lamina_erofs::Metadata>),
}

impl RootOf {
    /// Gives them to an upper: overlayfs shows its root as the root of the merged tree.
    pub(crate) fn give_to(&self, upper: &Dir) -> Result<(), PathError> {
        match self {
            Self::Tree(tree) => metadata::copy(&Dir::open(tree)?, upper),
            Self::Image(of_image) => metadata::give(of_image, upper),
        }
    }
}
