//! Why a split stream, or what is made of it, is refused.

use std::io;

use lamina_types::ErrorKind;

use super::ObjectId;
use crate::path::Shown;
use crate::{TarError, tar};

/// A split stream could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The tar in it (or the one it is made of) is one that is not accepted.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The stream could not be read or decompressed.
    #[error("read split stream")]
    Read(#[source] io::Error),
    /// The stream could not be written.
    #[error("write split stream")]
    Write(#[source] io::Error),
    /// The content of a file could not be stored.
    #[error("store the content of {}", Shown(path))]
    Body {
        /// The entry.
        path: Vec<u8>,
        /// Why.
        source: io::Error,
    },
    /// The stream is damaged, or of somebody who is no friend.
    #[error("bad split stream: {0}")]
    Malformed(&'static str),
    /// The stream is of a version that this build does not read.
    #[error("split stream of unknown version {0}")]
    Version(u32),
}

impl SplitError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tar(error) => error.kind(),
            Self::Read(error) => read_kind(error),
            Self::Write(error) | Self::Body { source: error, .. } => ErrorKind::of_io(error),
            Self::Malformed(_) => ErrorKind::DataLoss,
            Self::Version(_) => ErrorKind::Unsupported,
        }
    }
}

/// The zstd decoder calls damaged data `Other`.
fn read_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ErrorKind::DataLoss
        }
        _ => ErrorKind::of_io(error),
    }
}

/// The tar of a layer could not be made again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Its split stream cannot be read.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A file's content cannot be opened or read.
    #[error("read the content of {}", Shown(path))]
    Content {
        /// The entry.
        path: Vec<u8>,
        /// Why.
        source: io::Error,
    },
    /// A file's content is not what it was.
    #[error(
        "the content of {} is not what the layer had ({expected})",
        Shown(path)
    )]
    Changed {
        /// The entry.
        path: Vec<u8>,
        /// What it should be.
        expected: ObjectId,
    },
    /// Where the tar goes to failed.
    #[error("write archive")]
    Write(#[source] io::Error),
}

impl RebuildError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Split(error) => error.kind(),
            Self::Content { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::DataLoss
            }
            Self::Content { source, .. } | Self::Write(source) => ErrorKind::of_io(source),
            Self::Changed { .. } => ErrorKind::DataLoss,
        }
    }
}

impl From<TarError> for RebuildError {
    fn from(error: TarError) -> Self {
        Self::Split(tar_error(error))
    }
}

/// Tells what the tar reader says about a split stream apart: its source's errors are the stream's.
pub(super) fn tar_error(error: tar::TarError) -> SplitError {
    match error {
        TarError::Read(source) => match source.downcast::<SplitError>() {
            Ok(split) => split,
            Err(source) => SplitError::Read(source),
        },
        other => SplitError::Tar(other),
    }
}

/// An index of objects is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is damaged.
    #[error("bad object index: {0}")]
    Malformed(&'static str),
    /// It is of a version that this build does not read.
    #[error("object index of unknown version {0}")]
    Version(u32),
}

impl IndexError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed(_) => ErrorKind::DataLoss,
            Self::Version(_) => ErrorKind::Unsupported,
        }
    }
}
