//! Why a layer could not be written.

use std::io;

use lamina_types::ErrorKind;
use rustix::io::Errno;

use crate::TarError;
use crate::path::Shown;

/// A layer could not be written; part of its tree may be there.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The archive is damaged, or not one that every implementation reads alike.
    #[error("read layer")]
    Tar(#[source] TarError),
    /// An entry asks for what a layer may not have.
    #[error("entry {}: {refusal}", Shown(path))]
    Refused {
        /// The entry's name as the archive has it.
        path: Vec<u8>,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// The kernel refused.
    #[error("{act} {}", Shown(path))]
    Io {
        /// What was being done.
        act: &'static str,
        /// The path in the layer.
        path: Vec<u8>,
        /// Why it failed.
        source: io::Error,
    },
}

/// What is wrong with a refused entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name, or the target of a hard link, leads above the root of the layer.
    #[error("path leads out of the layer")]
    Escapes,
    /// The name has a NUL or another impossible byte.
    #[error("name is not a possible file name")]
    BadName,
    /// A component is longer than 255 bytes, or the path than the limit.
    #[error("name is too long")]
    NameTooLong,
    /// The root of the layer as something else than a directory.
    #[error("the root of a layer must be a directory")]
    Root,
    /// Something that is no directory stands where the entry's parent should be.
    #[error("parent is not a directory")]
    ParentNotDirectory,
    /// Symbolic links above the entry go in circles.
    #[error("too many symbolic links in the parent path")]
    LinkLoop,
    /// A character device 0/0, which overlayfs takes for a deletion.
    #[error("character device 0/0 is reserved for whiteouts")]
    WhiteoutDevice,
    /// A whiteout of nothing, of `.` or of `..`.
    #[error("whiteout without a name")]
    BadWhiteout,
    /// A symbolic link without a target.
    #[error("symbolic link without a target")]
    EmptyTarget,
    /// A hard link to nothing in this layer.
    #[error("hard link target is not in the layer")]
    MissingTarget,
    /// A hard link to a directory, to itself or to a whiteout.
    #[error("hard link target cannot be linked")]
    BadTarget,
}

impl ApplyError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tar(error) => error.kind(),
            Self::Refused { .. } => ErrorKind::DataLoss,
            Self::Io { source, .. } => match Errno::from_io_error(source) {
                Some(Errno::MFILE | Errno::NFILE | Errno::MLINK) => ErrorKind::ResourceExhausted,
                Some(Errno::OPNOTSUPP | Errno::NOSYS) => ErrorKind::Unsupported,
                _ => ErrorKind::of_io(source),
            },
        }
    }

    pub(crate) fn refused(path: &[u8], refusal: Refusal) -> Self {
        Self::Refused {
            path: path.to_vec(),
            refusal,
        }
    }

    pub(crate) fn at(path: &[u8], act: &'static str, error: Errno) -> Self {
        Self::Io {
            act,
            path: path.to_vec(),
            source: error.into(),
        }
    }

    pub(super) fn target(error: &io::Error) -> Self {
        let source = io::Error::from(error.kind());
        Self::Io {
            act: "open",
            path: b"/".to_vec(),
            source,
        }
    }
}
