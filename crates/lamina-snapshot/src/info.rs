//! `snap/<id>/info.json`: what a writable layer stands on.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lamina_fs::{At, Dir, Durability, PathError};
use lamina_store::Pin;
use lamina_types::ErrorKind;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

pub(crate) const FILE: &str = "info.json";
const LIMIT: u64 = 1 << 20;
const VERSION: u32 = 1;

/// The contents of `info.json`; the collector reads the member `pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Info {
    version: u32,
    /// The storage mode the layer was made in: it decides what `upper/` may contain.
    pub(crate) mode: String,
    pub(crate) volatile: bool,
    /// The boot it was made in: a volatile layer of another boot may have lost anything.
    pub(crate) boot: String,
    pub(crate) pin: Pin,
}

/// Why the description of a snapshot could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum InfoError {
    /// The file could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The file is not what it should be.
    #[error("read {}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file has a version or mode that this build does not know.
    #[error("read {}: unknown {what}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What is unknown, as "version 7".
        what: String,
    },
}

impl InfoError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Format { .. } => ErrorKind::DataLoss,
            Self::Unknown { .. } => ErrorKind::Unsupported,
        }
    }
}

impl Info {
    pub(crate) fn new(mode: &str, volatile: bool, boot: &str, pin: Pin) -> Self {
        Self {
            version: VERSION,
            mode: mode.to_owned(),
            volatile,
            boot: boot.to_owned(),
            pin,
        }
    }

    /// Writes the file into a new snapshot. Not atomic: until the operation that makes the
    /// snapshot has ended, a torn file means that the snapshot is undone. Nothing is
    /// synced; the file is returned for that.
    pub(crate) fn write(&self, dir: &Dir) -> Result<OwnedFd, InfoError> {
        let path = || dir.path().join(FILE);
        let bytes = serde_json::to_vec(self).map_err(|source| InfoError::Format {
            path: path(),
            source,
        })?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(dir, FILE, flags, mode).at("create", path())?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).at("write", path())?;
            rest = &rest[written..];
        }
        Ok(file)
    }

    /// Writes the file again, durably: what it pins stays pinned at every moment.
    pub(crate) fn rewrite(&self, dir: &Dir) -> Result<(), InfoError> {
        let bytes = serde_json::to_vec(self).map_err(|source| InfoError::Format {
            path: dir.path().join(FILE),
            source,
        })?;
        Ok(dir.replace(FILE, &bytes, 0o600, Durability::Durable)?)
    }

    pub(crate) fn read(snap: &Dir, id: &str) -> Result<Self, InfoError> {
        let name = Path::new(id).join(FILE);
        let path = || snap.path().join(&name);
        let bytes = snap.read(&name, LIMIT)?;
        let info: Self = serde_json::from_slice(&bytes).map_err(|source| InfoError::Format {
            path: path(),
            source,
        })?;
        if info.version == VERSION {
            return Ok(info);
        }
        Err(InfoError::Unknown {
            path: path(),
            what: format!("version {}", info.version),
        })
    }
}
