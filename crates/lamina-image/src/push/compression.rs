//! `--compression gzip[:LEVEL]|zstd[:LEVEL]`.

use std::fmt;
use std::io;
use std::str::FromStr;

use lamina_types::oci::media;
use lamina_types::{DiffId, ErrorKind};

use crate::fault::StoreFault;
use crate::layer::UnpackError;

/// How layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip; a level from 1 to 9, without one 6.
    Gzip(Option<u32>),
    /// zstd; a level from 1 to 19, without one 3.
    Zstd(Option<i32>),
}

/// Why a text is no packing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {0:?}: expected gzip, gzip:1 to gzip:9, zstd, or zstd:1 to zstd:19")]
pub struct PackingError(String);

/// Why a layer could not be packed anew.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Its blob cannot be read or decompressed.
    #[error("read the layer")]
    Read(#[source] io::Error),
    /// Its blob does not hold what the configuration says.
    #[error("the layer has diff id {found} where the configuration says {expected}")]
    WrongDiffId {
        /// What the configuration says.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// It cannot be compressed.
    #[error("compress the layer")]
    Compress(#[source] io::Error),
    /// What comes out cannot be kept.
    #[error("write the compressed layer")]
    Write(#[source] io::Error),
    /// The store's filesystem is nearly full.
    #[error(transparent)]
    Space(Box<UnpackError>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl PackError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(source) | Self::Compress(source) | Self::Write(source) => {
                ErrorKind::of_io(source)
            }
            Self::WrongDiffId { .. } => ErrorKind::DataLoss,
            Self::Space(source) => source.kind(),
            Self::Store(source) => source.kind(),
        }
    }
}

impl Packing {
    /// Returns the media type of layers packed in this way.
    pub(super) fn media_type(self, docker: bool) -> &'static str {
        match self {
            Self::Gzip(_) if docker => media::DOCKER_LAYER_GZIP,
            Self::Gzip(_) => media::OCI_LAYER_GZIP,
            // Docker's own types know no zstd.
            Self::Zstd(_) => media::OCI_LAYER_ZSTD,
        }
    }
}

impl FromStr for Packing {
    type Err = PackingError;

    fn from_str(text: &str) -> Result<Self, PackingError> {
        let fail = || PackingError(text.chars().take(40).collect());
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<u32>().map_err(|_| fail())?)),
            None => (text, None),
        };
        match (name, level) {
            ("gzip", None | Some(1..=9)) => Ok(Self::Gzip(level)),
            ("zstd", None) => Ok(Self::Zstd(None)),
            ("zstd", Some(level @ 1..=19)) => Ok(Self::Zstd(Some(level.cast_signed()))),
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip(None) => f.write_str("gzip"),
            Self::Gzip(Some(level)) => write!(f, "gzip:{level}"),
            Self::Zstd(None) => f.write_str("zstd"),
            Self::Zstd(Some(level)) => write!(f, "zstd:{level}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packings_are_read_and_shown_alike() {
        for text in ["gzip", "gzip:9", "zstd", "zstd:19"] {
            assert_eq!(text.parse::<Packing>().unwrap().to_string(), text);
        }
        for bad in [
            "", "gz", "gzip:", "gzip:0", "gzip:10", "zstd:20", "zstd:-1", "xz:1",
        ] {
            assert!(bad.parse::<Packing>().is_err(), "{bad:?}");
        }
    }
}
