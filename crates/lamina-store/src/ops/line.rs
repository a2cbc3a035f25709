//! The typed lines of an operation.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use lamina_types::{ContainerId, ContainerName, DiffId, Digest};
use serde::{Deserialize, Serialize};

use crate::pool::ObjectKey;
use crate::removed::RemovedId;

/// One thing that an operation relies on, or that has to be undone if it dies.
///
/// The first five keep objects from being collected. The others name what the operation is about
/// to make; undoing an operation removes it. Whoever writes a line writes it *before* the thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Line {
    /// One blob.
    Blob(Digest),
    /// One unpacked layer.
    Layer(DiffId),
    /// A manifest or index and everything it leads to that is here.
    Image(Digest),
    /// Contents in the pool.
    Objects(Vec<ObjectKey>),
    /// Every content in the pool: an operation that needs too many to name them.
    Pool,
    /// A writable layer, `snap/<id>`.
    Snapshot(SnapshotId),
    /// A container's folder, `containers/<id>`.
    Container(ContainerId),
    /// A container's name: removed if it still leads to this container.
    Name {
        /// The name.
        name: ContainerName,
        /// The container it was taken for.
        container: ContainerId,
    },
    /// A container that gets another name: the one that its record does not have is removed.
    Renaming {
        /// The container.
        container: ContainerId,
        /// The former name and the new one.
        names: [ContainerName; 2],
    },
    /// An anonymous volume, `volumes/<64 digits>`. A named one is never undone: another process
    /// may have begun to use it.
    Volume(String),
    /// A volume that the operation relies on, whoever made it: it is not removed meanwhile.
    UsesVolume(String),
    /// A container's folder below the run directory: an absolute path that ends in
    /// `containers/<id>`.
    RunDir(PathBuf),
    /// A process, killed if it is still the same: pids are used again.
    Process {
        /// Its pid in our pid namespace.
        pid: i32,
        /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
        start_time: u64,
        /// The boot it belongs to.
        boot_id: String,
    },
    /// A control group's directory: everything in it is killed, and it is removed.
    Cgroup(PathBuf),
    /// The directory of a control group whose processes are held still for a moment: they go on.
    Frozen(PathBuf),
    /// A removal that can be undone, `removed/<id>`: what of it has begun is completed.
    Removal(RemovedId),
    /// The container of this operation is complete and its program about to be executed: from
    /// here on, undoing ends and removes the run, and leaves the container, name and volumes.
    Published,
}

/// The id of a writable layer: a container's id or another word that is safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

/// Why a string is no snapshot id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a snapshot id: [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 128 bytes")]
pub struct SnapshotIdError(String);

impl SnapshotId {
    /// Returns the id as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SnapshotId {
    type Err = SnapshotIdError;

    fn from_str(text: &str) -> Result<Self, SnapshotIdError> {
        let bytes = text.as_bytes();
        let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let starts = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        if starts && bytes.len() <= 128 && bytes.iter().all(word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SnapshotIdError(text.chars().take(160).collect()))
        }
    }
}

impl From<&ContainerId> for SnapshotId {
    fn from(id: &ContainerId) -> Self {
        Self(id.as_str().to_owned())
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = SnapshotIdError;

    fn try_from(text: String) -> Result<Self, SnapshotIdError> {
        text.parse()
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.0
    }
}
