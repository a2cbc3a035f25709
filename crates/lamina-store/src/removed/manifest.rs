//! `removed/<id>/manifest.json`.

use lamina_fs::{Dir, Durability, PathError};
use serde::{Deserialize, Serialize};

use super::{RemovedContainer, RemovedId, Transaction};
use crate::refs::Refs;

const FILE: &str = "manifest.json";
const LIMIT: u64 = 64 << 20;
const VERSION: u32 = 1;

/// What was done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Manifest {
    version: u32,
    /// Milliseconds since 1970.
    pub(crate) removed: u64,
    pub(crate) until: u64,
    pub(crate) command: Vec<String>,
    #[serde(default)]
    pub(crate) refs: Vec<Name>,
    /// Names that were made meanwhile and go when the rest comes back.
    #[serde(default)]
    pub(crate) made: Vec<Name>,
    #[serde(default)]
    pub(crate) containers: Vec<RemovedContainer>,
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    #[serde(default)]
    pub(crate) size: u64,
}

/// The file of a name, in `refs/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) file: String,
    /// Its exact content, which is text.
    pub(crate) document: String,
}

impl Manifest {
    pub(crate) fn new(removed: u64, until: u64, command: Vec<String>) -> Self {
        Self {
            version: VERSION,
            removed,
            until,
            command,
            ..Self::default()
        }
    }

    /// Reads an entry's manifest; `None` where it is not written yet, or is none of ours.
    pub(crate) fn read(dir: &Dir) -> Result<Option<Self>, PathError> {
        match dir.read(FILE, LIMIT) {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
            Ok(bytes) => Ok(serde_json::from_slice::<Self>(&bytes)
                .ok()
                .filter(|manifest| manifest.version == VERSION)),
        }
    }

    /// Writes it; durable on return.
    pub(crate) fn write(&self, dir: &Dir) -> Result<(), PathError> {
        let bytes = serde_json::to_vec(self).expect("plain fields and string keys serialise");
        dir.replace(FILE, &bytes, 0o600, Durability::Durable)
    }

    pub(crate) fn into_transaction(self, id: RemovedId) -> Transaction {
        let documents = self.refs.iter().map(|name| name.document.as_bytes());
        Transaction {
            id,
            removed: self.removed,
            until: self.until,
            command: self.command,
            refs: documents.filter_map(Refs::parse).collect(),
            containers: self.containers,
            volumes: self.volumes,
            size: self.size,
        }
    }
}

/// Returns names as [`Refs`] takes them.
pub(super) fn files(names: &[Name]) -> Vec<(&str, &[u8])> {
    names
        .iter()
        .map(|name| (name.file.as_str(), name.document.as_bytes()))
        .collect()
}
