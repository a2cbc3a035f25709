//! Layers on their way into the store: fetched, decompressed, hashed, verified and unpacked in one
//! pass.

mod buffers;
mod compression;
mod download;
mod form;
mod jobs;
mod pipe;
mod stream;
mod take;
mod trees;

use std::io;

use lamina_distribution::FetchError;
use lamina_fs::PathError;
use lamina_layer::{ApplyError, LayerTreeError, SplitError};
use lamina_store::{BlobError, LayerError, OpError, PoolError};
use lamina_types::{DiffId, ErrorKind};

use crate::archive::ArchiveError;
use crate::fault::StoreFault;

pub(crate) use buffers::CHUNK;
pub use compression::open as decompress;
pub(crate) use compression::{Compression, MAGIC};
pub(crate) use download::{BlobSource, InArchive, Origin, Registry};
pub use form::LayerForm;
pub(crate) use jobs::{Job, JobError, take_all, writing_early};
pub(crate) use pipe::{Closed, Sink, Source, pipe};
pub use stream::Bounds;
pub(crate) use stream::stream;
pub(crate) use take::{BlobUse, Taken, Taker};
pub(crate) use trees::Trees;

/// Why a layer could not be brought into the store. Nothing of it is visible then.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be fetched from its registry.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be found in its archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its bytes cannot be read.
    #[error("read the layer")]
    Read(#[source] io::Error),
    /// Its bytes are no valid gzip or zstd.
    #[error("decompress the layer")]
    Decompress(#[source] io::Error),
    /// It is no tar that may be unpacked, or its files cannot be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// It cannot be split, or what is made of it not stored.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// It is good, but it is not the layer that the configuration means.
    #[error("the layer has diff id {found} where the configuration says {expected}")]
    WrongDiffId {
        /// What the configuration says.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// It unpacks to more than a layer may: a decompression bomb, or a limit set too low.
    #[error("the layer unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// The store's filesystem is nearly full.
    #[error("only {free} bytes are free on the store's filesystem")]
    NoSpace {
        /// What was free, in bytes.
        free: u64,
    },
    /// Another layer of the image failed, so this one was given up.
    #[error("the layer was given up")]
    Cancelled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A thread of the pipeline ended without a word: a bug.
    #[error("a stage of the unpacking failed")]
    Stage,
}

impl UnpackError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Fetch(source) => source.kind(),
            Self::Archive(source) => source.kind(),
            Self::Read(source) => ErrorKind::of_io(source),
            Self::Decompress(source) if source.kind() == io::ErrorKind::Unsupported => {
                ErrorKind::Unsupported
            }
            Self::Decompress(_) | Self::WrongDiffId { .. } => ErrorKind::DataLoss,
            Self::Apply(source) => source.kind(),
            Self::Split(source) => source.kind(),
            Self::TooLarge(_) | Self::NoSpace { .. } => ErrorKind::ResourceExhausted,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Store(source) => source.kind(),
            Self::Stage => ErrorKind::Internal,
        }
    }

    /// Returns whether bytes that are not what they should be could be the cause.
    fn may_be_corruption(&self) -> bool {
        match self {
            Self::Decompress(_) | Self::WrongDiffId { .. } => true,
            Self::Apply(source) => {
                matches!(
                    source.kind(),
                    ErrorKind::DataLoss | ErrorKind::InvalidArgument
                )
            }
            Self::Split(SplitError::Tar(source)) => {
                matches!(
                    source.kind(),
                    ErrorKind::DataLoss | ErrorKind::InvalidArgument
                )
            }
            _ => false,
        }
    }
}

/// Never shown: the stage that has ended has recorded its own error before.
impl From<Closed> for UnpackError {
    fn from(_: Closed) -> Self {
        Self::Stage
    }
}

impl From<BlobError> for UnpackError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

impl From<LayerError> for UnpackError {
    fn from(error: LayerError) -> Self {
        Self::Store(error.into())
    }
}

impl From<PoolError> for UnpackError {
    fn from(error: PoolError) -> Self {
        Self::Store(error.into())
    }
}

impl From<LayerTreeError> for UnpackError {
    fn from(error: LayerTreeError) -> Self {
        match error {
            LayerTreeError::Split(error) => error.into(),
            LayerTreeError::Entry(error) => error.into(),
        }
    }
}

impl From<OpError> for UnpackError {
    fn from(error: OpError) -> Self {
        Self::Store(error.into())
    }
}

impl From<PathError> for UnpackError {
    fn from(error: PathError) -> Self {
        Self::Store(error.into())
    }
}
