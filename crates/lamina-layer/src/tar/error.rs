//! Why an archive is refused.

use std::io;

use lamina_types::ErrorKind;

use crate::path::Shown;

/// The archive could not be read, or is not one that every implementation reads alike.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream the archive comes from failed.
    #[error("read archive")]
    Read(#[source] io::Error),
    /// The stream ended inside an entry.
    #[error("archive ends inside an entry at offset {offset}")]
    Truncated {
        /// How many bytes were read.
        offset: u64,
    },
    /// A header's checksum is wrong: this is no tar, or it is damaged.
    #[error("bad header checksum at offset {offset}")]
    Checksum {
        /// Where the header begins.
        offset: u64,
    },
    /// A field of a header is not what its place allows.
    #[error("bad {field} in the header at offset {offset}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Where the header begins.
        offset: u64,
    },
    /// PAX records that are malformed or contradict others.
    #[error("bad extended header at offset {offset}: {problem}")]
    Pax {
        /// What is wrong.
        problem: &'static str,
        /// Where the entry begins.
        offset: u64,
    },
    /// The map of a sparse file is malformed, or does not agree with its content.
    #[error("bad sparse map at offset {offset}: {problem}")]
    Sparse {
        /// What is wrong.
        problem: &'static str,
        /// Where the entry begins.
        offset: u64,
    },
    /// An entry of a type that layers do not have.
    #[error("entry {} has unsupported type {}", Shown(path), Shown(&[*flag]))]
    Type {
        /// The entry's name.
        path: Vec<u8>,
        /// The type flag.
        flag: u8,
    },
    /// A bound of [`Limits`](crate::Limits) was reached.
    #[error("archive exceeds the limit on {what} ({limit})")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
}

impl TarError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(error) => ErrorKind::of_io(error),
            Self::Limit { .. } => ErrorKind::ResourceExhausted,
            Self::Type { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::DataLoss,
        }
    }
}
