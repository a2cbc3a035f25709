//! What can go wrong in the store, folded into one error for everything that is done with images.

use lamina_fs::PathError;
use lamina_snapshot::PrepareError;
use lamina_store::{
    BlobError, CollectError, LayerError, OpError, PinError, PoolError, RefError, RemovalError,
};
use lamina_types::ErrorKind;

/// The store could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// A file of it.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An unpacked layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A content in the pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// An operation's lease.
    #[error(transparent)]
    Operation(#[from] OpError),
    /// A name.
    #[error(transparent)]
    Name(#[from] RefError),
    /// What the storage mode generates of an image.
    #[error(transparent)]
    Prepare(#[from] Box<PrepareError>),
    /// What containers hold.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// Removing names.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// Freeing what nobody uses.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

impl StoreFault {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Blob(error) => error.kind(),
            Self::Layer(error) => error.kind(),
            Self::Pool(error) => error.kind(),
            Self::Operation(error) => error.kind(),
            Self::Name(error) => error.kind(),
            Self::Prepare(error) => error.kind(),
            Self::Pins(error) => error.kind(),
            Self::Removal(error) => error.kind(),
            Self::Collect(error) => error.kind(),
        }
    }
}
