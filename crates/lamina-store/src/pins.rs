//! What writable layers hold: every `snap/<id>/info.json` names the image it stands on.
//!
//! The file is written by `lamina-snapshot`; its `pin` member is read here, for the collector and
//! for whoever removes an image.

use std::ffi::OsStr;
use std::path::Path;

use lamina_fs::{Dir, PathError};
use lamina_types::{ContainerId, ContainerName, DiffId, Digest, ErrorKind, ImageId};
use serde::{Deserialize, Serialize};

use crate::area::Area;
use crate::ops::SnapshotId;
use crate::store::Store;

/// The file of a snapshot that holds its pin.
pub(crate) const INFO: &str = "info.json";
const INFO_LIMIT: u64 = 1 << 20;
/// The file of a container that says what it was made from.
const RECORD: &str = "record.json";
const RECORD_LIMIT: u64 = 16 << 20;

/// What one writable layer keeps from being collected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pin {
    /// The layers below it, bottom first.
    pub diff_ids: Vec<DiffId>,
    /// The image's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// The image's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The images that its container mounts beside its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounted: Vec<Pin>,
}

impl Pin {
    /// Returns this and what is mounted beside it.
    pub fn each(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.mounted)
    }
}

/// Why the pins could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The folder or a file could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl PinError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
        }
    }
}

/// The writable layers of a store, as far as they hold something.
#[derive(Debug, Clone, Copy)]
pub struct Pins<'s>(pub(crate) &'s Store);

/// One snapshot as the collector sees it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) name: String,
    /// `None` where `info.json` is missing or torn; then what the container's record says.
    pub(crate) pin: Option<Pin>,
    /// It is a container's: whatever its documents say, what was written into it stays.
    pub(crate) kept: bool,
}

impl Pins<'_> {
    /// Lists what every writable layer holds. One whose file is missing or torn is left out: it
    /// was being made when its maker or the machine died.
    pub fn list(&self) -> Result<Vec<(SnapshotId, Pin)>, PinError> {
        let all = self.snapshots()?.into_iter();
        Ok(all
            .filter_map(|snapshot| Some((snapshot.name.parse().ok()?, snapshot.pin?)))
            .collect())
    }

    pub(crate) fn snapshots(&self) -> Result<Vec<Snapshot>, PathError> {
        let dir = self.0.dir(Area::Snap)?;
        let mut snapshots = Vec::new();
        for entry in dir.entries()? {
            let (mut pin, mut kept) = (read(dir, &entry.name)?, false);
            if pin.is_none() {
                (pin, kept) = self.recorded(Path::new(&entry.name))?;
            }
            snapshots.push(Snapshot {
                name: entry.name.to_string_lossy().into_owned(),
                pin,
                kept,
            });
        }
        Ok(snapshots)
    }

    /// Returns what a container's record says that its writable layer stands on, and whether there
    /// is a record at all. The record is lamina-engine's; damage to one of the two documents must
    /// not cost what the container has written, nor its layers.
    fn recorded(&self, name: &Path) -> Result<(Option<Pin>, bool), PathError> {
        #[derive(Deserialize)]
        struct Record {
            layers: Vec<DiffId>,
            image: ImageId,
            #[serde(default)]
            images: Vec<Mounted>,
        }
        #[derive(Deserialize)]
        struct Mounted {
            pin: Pin,
        }
        let containers = self.0.dir(Area::Containers)?;
        match containers.read(name.join(RECORD), RECORD_LIMIT) {
            Ok(bytes) => {
                let record = serde_json::from_slice::<Record>(&bytes).ok();
                let pin = record.map(|record| Pin {
                    diff_ids: record.layers,
                    image: Some(record.image),
                    manifest: None,
                    mounted: record.images.into_iter().map(|one| one.pin).collect(),
                });
                Ok((pin, true))
            }
            Err(error) if error.is_not_found() => Ok((None, false)),
            Err(error) if error.is_no_document() => Ok((None, true)),
            Err(error) => Err(error),
        }
    }
}

/// Returns the name that a container's record has; `None` where there is no record to read.
pub(crate) fn name_of(
    store: &Store,
    container: &ContainerId,
) -> Result<Option<ContainerName>, PathError> {
    #[derive(Deserialize)]
    struct Record {
        name: ContainerName,
    }
    let record = Path::new(container.as_str()).join(RECORD);
    match store.dir(Area::Containers)?.read(record, RECORD_LIMIT) {
        Ok(bytes) => Ok(serde_json::from_slice::<Record>(&bytes)
            .ok()
            .map(|record| record.name)),
        Err(error) if error.is_not_found() || error.is_no_document() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns what the writable layer `name` in `dir` holds; `None` where its file is missing or torn.
pub(crate) fn read(dir: &Dir, name: &OsStr) -> Result<Option<Pin>, PathError> {
    #[derive(Deserialize)]
    struct Info {
        pin: Pin,
    }
    match dir.read(Path::new(name).join(INFO), INFO_LIMIT) {
        Ok(bytes) => Ok(serde_json::from_slice::<Info>(&bytes)
            .ok()
            .map(|info| info.pin)),
        Err(error) if error.is_not_found() || error.is_no_document() => Ok(None),
        Err(error) => Err(error),
    }
}
