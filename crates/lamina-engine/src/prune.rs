//! `prune`: a plan of what nobody uses, and its application.
//!
//! The plan is a value; applying it removes exactly what it has. What is used by then, or stands
//! for something else, is passed over and said.

mod apply;
mod plan;

use jiff::Timestamp;
use lamina_fs::PathError;
use lamina_image::{RemoveError as ImageError, StoreFault};
use lamina_store::{CollectError, ExpireError, Ref, RemovalError};
use lamina_types::{ContainerId, ContainerName, ErrorKind, ImageId};

pub use apply::{Pruned, Skipped};

use crate::container::list::ListError;
use crate::volumes::VolumeError;

/// Which images are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneImages {
    /// Those without a tag.
    Dangling,
    /// All.
    Unused,
}

/// Which volumes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneVolumes {
    /// Those that were made for one container, or without a name.
    Anonymous,
    /// All.
    Unused,
}

/// A condition on labels: whether one is there, or has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFilter {
    /// The label.
    pub key: String,
    /// Its value; any if there is none.
    pub value: Option<String>,
    /// Whether it must be so, or must not.
    pub wanted: bool,
}

/// What may go. Nothing that a container uses ever does, unless that goes too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Containers that do not run.
    pub containers: bool,
    /// Images.
    pub images: Option<PruneImages>,
    /// Volumes that no container uses.
    pub volumes: Option<PruneVolumes>,
    /// Partial downloads, what nothing leads to, and what waits to be unlinked.
    pub rest: bool,
    /// Whether it cannot be undone, and what was removed before not any more either.
    pub now: bool,
    /// How many images of each repository stay, the newest.
    pub keep_last: Option<usize>,
    /// Only containers, images and volumes that were made before.
    pub until: Option<Timestamp>,
    /// Only containers, images and volumes with these labels.
    pub labels: Vec<LabelFilter>,
}

/// A container that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedContainer {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// What it has written and recorded.
    pub size: u64,
}

/// An image that is to go, with all its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedImage {
    /// Its id.
    pub id: ImageId,
    /// Its names.
    pub names: Vec<Ref>,
    /// What its removal alone frees.
    pub freed: u64,
}

/// What would go, and what that frees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Containers.
    pub containers: Vec<PlannedContainer>,
    /// Images, the oldest first.
    pub images: Vec<PlannedImage>,
    /// What the images free together.
    pub image_bytes: u64,
    /// Volumes, with their sizes.
    pub volumes: Vec<(String, u64)>,
    /// Partial downloads, with their sizes.
    pub partials: Vec<(String, u64)>,
    /// What nothing leads to.
    pub unreferenced: u64,
    /// What was removed before and is unlinked now.
    pub trash: u64,
    /// Whether it cannot be undone.
    pub now: bool,
    /// Whether partial downloads and what nothing leads to go.
    pub rest: bool,
}

impl PrunePlan {
    /// Returns how many bytes all of it frees.
    pub fn bytes(&self) -> u64 {
        let containers: u64 = self.containers.iter().map(|one| one.size).sum();
        let others = self.volumes.iter().chain(&self.partials);
        let others: u64 = others.map(|(_, size)| size).sum();
        containers + self.image_bytes + others + self.unreferenced + self.trash
    }
}

/// Why nothing could be planned, or a plan not be applied to its end.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// A folder could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The containers could not be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// The images could not be listed.
    #[error(transparent)]
    Images(#[from] StoreFault),
    /// What leads to what could not be found out, or be collected.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// Something could not be removed.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// An image could not be removed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The volumes could not be listed, or one not be removed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// What had been removed before could not be freed.
    #[error(transparent)]
    Expire(#[from] ExpireError),
}

impl PruneError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::List(error) => error.kind(),
            Self::Images(error) => error.kind(),
            Self::Collect(error) => error.kind(),
            Self::Removal(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Expire(error) => error.kind(),
        }
    }
}
