//! `explain`: what each instruction of an image added, changed, deleted and wasted, and what to
//! write instead.
//!
//! ```text
//! shape        layers one on the other, bottom first: what each brings, and what it hides
//! left         what package managers and builds have left in the finished tree
//! difference   what changed from one image to another: their finished trees side by side
//! finished     such a tree, each path with the layer that brought it
//! ```
//! The analysis is pure: it is given the layers as trees in memory, and the history. Bytes are those
//! of file contents, a hard link counted once; that is what a registry stores and a pull transfers,
//! before compression. Where the pool stores less, because it has every content once, both are said.

mod difference;
mod finished;
mod left;
mod shape;

pub use difference::{ChangeClass, Difference, PathChange, PathState, SettingChange, StepChanges};

use lamina_layer::{Content, LayerTree, LayerTreeError, Limits};
use lamina_store::LayerError;
use lamina_types::{DiffId, ErrorKind};

use crate::fault::StoreFault;
use crate::find::FindError;
use crate::images::{Image, Images};
use shape::Shape;

/// What there is to say about an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The instructions, the first one first.
    pub steps: Vec<StepCost>,
    /// What is wasted, the most first.
    pub findings: Vec<Waste>,
    /// Bytes of file content in all layers.
    pub total: u64,
    /// Bytes of them that no container ever sees, because a later layer hides them.
    pub hidden: u64,
}

impl Explanation {
    /// Returns how much of what is shipped is seen, in thousandths.
    pub fn efficiency(&self) -> u64 {
        let seen = self.total.saturating_sub(self.hidden);
        seen.saturating_mul(1000)
            .checked_div(self.total)
            .unwrap_or(1000)
    }
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub files: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What one instruction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepCost {
    /// The instruction, as the history has it.
    pub instruction: String,
    /// The layer it made, if it made one.
    pub layer: Option<DiffId>,
    /// Files that were not there before.
    pub added: Amount,
    /// Files that were there with another content.
    pub changed: Amount,
    /// Files that were there with the same content: only their metadata is new.
    pub same: Amount,
    /// Files of the layers below that it deleted.
    pub deleted: Amount,
    /// Bytes that it brought and a later step hides.
    pub wasted: u64,
}

/// A class of waste.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WasteClass {
    /// Brought by one step and deleted by a later one.
    Deleted,
    /// Brought by one step and overwritten by a later one.
    Overwritten,
    /// Brought again by a later step with the same content: a chown, a chmod, a touch.
    MetadataOnly,
    /// The same content in several files of the finished tree.
    Duplicate,
    /// Left by a package manager or a build, by its name.
    Left(&'static str),
}

impl WasteClass {
    /// Returns every class there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let hidden = [Self::Deleted, Self::Overwritten, Self::MetadataOnly];
        let left = left::KINDS.iter().map(|kind| Self::Left(kind.name));
        hidden.into_iter().chain([Self::Duplicate]).chain(left)
    }

    /// Returns the word for it, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted-later",
            Self::Overwritten => "overwritten",
            Self::MetadataOnly => "metadata-only-copy",
            Self::Duplicate => "duplicate",
            Self::Left(name) => name,
        }
    }
}

/// What is wasted in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waste {
    /// In which way.
    pub class: WasteClass,
    /// Bytes that are wasted wherever the image is stored layer by layer.
    pub bytes: u64,
    /// Bytes of them that the pool stores too.
    pub pooled: u64,
    /// How many files.
    pub files: u64,
    /// The largest of them with their sizes.
    pub largest: Vec<(String, u64)>,
    /// The step that brought it, counted from 1; of several, the first.
    pub made_by: usize,
    /// The step that hid it.
    pub hidden_by: Option<usize>,
    /// What to write instead.
    pub fix: String,
}

/// Why an image cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// It is not found or not readable.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A layer of it is not here.
    #[error("layer {0} is not here")]
    MissingLayer(DiffId),
    /// A layer's split stream is damaged.
    #[error("read layer {layer}")]
    Layer {
        /// The layer.
        layer: DiffId,
        /// Why.
        source: LayerTreeError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl ExplainError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(source) => source.kind(),
            Self::MissingLayer(_) => ErrorKind::DataLoss,
            Self::Layer { source, .. } => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl Images<'_> {
    /// Explains an image by its history and its layers' split streams: no content is read. One layer
    /// at a time is in memory, and the names of the finished tree.
    pub fn explain(&self, image: &Image, largest: usize) -> Result<Explanation, ExplainError> {
        let mut shape = Shape::new(steps_of(image));
        for step in 0..shape.steps.len() {
            if let Some(layer) = shape.steps[step].layer.clone() {
                shape.add(step, &self.tree_of(&layer)?);
            }
        }
        Ok(shape.explain(largest))
    }

    fn tree_of(&self, diff_id: &DiffId) -> Result<LayerTree<Content>, ExplainError> {
        let layers = self.store.layers();
        let split = layers.split(diff_id).map_err(StoreFault::from)?;
        let Some(split) = split else {
            return Err(match layers.contains(diff_id).map_err(StoreFault::from)? {
                true => StoreFault::from(LayerError::NoSplit(diff_id.clone())).into(),
                false => ExplainError::MissingLayer(diff_id.clone()),
            });
        };
        LayerTree::read(split, &Limits::default()).map_err(|source| ExplainError::Layer {
            layer: diff_id.clone(),
            source,
        })
    }
}

/// Returns the instructions of an image with their layers.
fn steps_of(image: &Image) -> Vec<StepCost> {
    let mut layers = image.diff_ids().iter();
    let mut steps: Vec<StepCost> = Vec::new();
    for entry in &image.config.history {
        let layer = match entry.empty_layer {
            true => None,
            false => layers.next(),
        };
        steps.push(StepCost {
            instruction: entry.created_by.clone().unwrap_or_default(),
            layer: layer.cloned(),
            ..StepCost::default()
        });
    }
    // Layers that no step tells of.
    steps.extend(layers.map(|layer| StepCost {
        layer: Some(layer.clone()),
        ..StepCost::default()
    }));
    steps
}
