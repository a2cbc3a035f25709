//! The tree of a layer out of its split stream.

use std::io::Read;

use lamina_types::ErrorKind;

use super::LayerTree;
use crate::Limits;
use crate::apply::ApplyError;
use crate::split::{Content, SplitError, SplitReader};

/// A layer's split stream gives no tree.
#[derive(Debug, thiserror::Error)]
pub enum LayerTreeError {
    /// The stream is damaged.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// An entry asks for what a layer may not have.
    #[error(transparent)]
    Entry(#[from] ApplyError),
}

impl LayerTreeError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Split(error) => error.kind(),
            Self::Entry(error) => error.kind(),
        }
    }
}

impl LayerTree<Content> {
    /// Reads a layer from its split stream; no content that is elsewhere is touched.
    pub fn read(split: impl Read, limits: &Limits) -> Result<Self, LayerTreeError> {
        let mut layer = Self::new(limits);
        let mut reader = SplitReader::new(split, limits.clone())?;
        while let Some(next) = reader.next_entry()? {
            layer.add(next.entry, next.content)?;
        }
        Ok(layer)
    }
}
