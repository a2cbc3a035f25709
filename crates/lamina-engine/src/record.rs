//! `containers/<id>/record.json`: what a container was made from, written by the engine: when it is made, and again by
//! `rename` and `update`, under the container's lock.
//!
//! Everything that inspect, start, restart and commit need is in here, so that a container does
//! not depend on its image's documents after it was made. How it fares is not: `state.json` and
//! `exit.json` beside it are the monitor's.

use std::path::PathBuf;

use lamina_store::Pin;
use lamina_types::oci::Config;
use lamina_types::{ContainerId, ContainerName, DiffId, Digest, ErrorKind, ImageId};
use serde::{Deserialize, Serialize};

use crate::request::CreateRequest;

/// The version of the format; a record of a later one is refused, not guessed at.
const VERSION: u32 = 1;

/// The name of the file in a container's directory.
pub(crate) const FILE: &str = "record.json";

/// The largest record that is read: an environment and labels may be large, but not this large.
pub(crate) const LIMIT: u64 = 16 << 20;

/// What a container was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format.
    pub version: u32,
    /// The container's id.
    pub id: ContainerId,
    /// Its name, which `containers/names/` reserves.
    pub name: ContainerName,
    /// When it was made, RFC 3339 in UTC with nanoseconds.
    pub created: String,
    /// The image's id: the digest of its configuration.
    pub image: ImageId,
    /// The image's layers, the bottom-most first.
    pub layers: Vec<DiffId>,
    /// The image's part of the process: entrypoint, command, environment and so on.
    pub image_config: Config,
    /// What was asked for.
    pub request: CreateRequest,
    /// The volumes it uses.
    pub volumes: Vec<VolumeUse>,
    /// The images that it mounts beside its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageUse>,
}

/// An image at its place in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUse {
    /// The image as it was named.
    pub source: String,
    /// What it was when the container was made; the container's writable layer holds it.
    pub pin: Pin,
    /// Where it is mounted.
    pub target: PathBuf,
    /// The part of it that is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<PathBuf>,
}

/// A volume at its place in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUse {
    /// The volume's name: a directory under `volumes/`.
    pub name: String,
    /// Where it is mounted.
    pub target: PathBuf,
    /// Whether it was made for this container alone and goes with `--rm` or `rm -v`.
    pub anonymous: bool,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The part of the volume that is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<PathBuf>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not the JSON that the engine writes.
    #[error("{path} is not a container record")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It was written by a later lamina.
    #[error("{path} has format version {found}, and this lamina knows up to {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl RecordError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Format { .. } => ErrorKind::DataLoss,
            Self::Version { .. } => ErrorKind::Unsupported,
        }
    }
}

impl Record {
    /// Returns what can be said of a container whose record is damaged: its name, or its short id
    /// where no name leads to it, and what its writable layer stands on.
    pub(crate) fn made_up(id: &ContainerId, name: Option<ContainerName>, pin: Option<Pin>) -> Self {
        let short = || id.short().parse().expect("hexadecimal digits are a name");
        let pin = pin.unwrap_or_default();
        Self {
            version: VERSION,
            id: id.clone(),
            name: name.unwrap_or_else(short),
            created: String::new(),
            image: pin
                .image
                .unwrap_or_else(|| ImageId(Digest::from_sha256([0; 32]))),
            layers: pin.diff_ids,
            image_config: Config::default(),
            request: CreateRequest::unknown(),
            volumes: Vec::new(),
            images: Vec::new(),
        }
    }

    /// Says whether the container was made from an image, or mounts it.
    pub(crate) fn uses_image(&self, image: &ImageId) -> bool {
        self.used_images().any(|used| used == image)
    }

    /// Returns the image it was made from, and those it mounts.
    pub(crate) fn used_images(&self) -> impl Iterator<Item = &ImageId> {
        let mounted = self.images.iter();
        std::iter::once(&self.image).chain(mounted.filter_map(|one| one.pin.image.as_ref()))
    }

    /// Returns the version that is written today.
    pub(crate) fn current_version() -> u32 {
        VERSION
    }

    /// Parses a record; `path` is for messages.
    pub(crate) fn parse(bytes: &[u8], path: impl Fn() -> PathBuf) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        // The whole first: in the usual case nothing else has to be parsed.
        match serde_json::from_slice::<Self>(bytes) {
            Ok(record) if record.version == VERSION => Ok(record),
            Ok(record) => Err(RecordError::Version {
                path: path(),
                found: record.version,
            }),
            Err(source) => Err(match serde_json::from_slice::<Head>(bytes) {
                Ok(head) if head.version > VERSION => RecordError::Version {
                    path: path(),
                    found: head.version,
                },
                _ => RecordError::Format {
                    path: path(),
                    source,
                },
            }),
        }
    }

    /// Returns the record as it is written.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record has only string keys and plain values")
    }
}
