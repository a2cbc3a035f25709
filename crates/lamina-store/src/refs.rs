//! Names of images: `refs/<sha256 of name>.json`, one small file per name, the truth.
//!
//! `oci/index.json` is derived from them, for other tools.

mod index;

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use lamina_fs::{Durability, Lock, LockError, PathError, Rank};
use lamina_types::oci::Descriptor;
use lamina_types::{ErrorKind, ImageId, Reference};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use index::{lay_out_oci, stale as stale_oci_files};

use crate::area::Area;
use crate::store::Store;
use crate::sync::SyncError;

const LIMIT: u64 = 1 << 20;
const VERSION: u32 = 1;
const LOCK: &str = "ref-index";

/// The names of a store.
#[derive(Debug, Clone, Copy)]
pub struct Refs<'s>(pub(crate) &'s Store);

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ref {
    /// The name, normalised.
    pub name: Reference,
    /// What the name was resolved to: an index or a manifest, as the registry has it.
    pub target: Descriptor,
    /// The manifest for this machine's platform; the target itself where that is a manifest.
    pub manifest: Descriptor,
    /// The image: the digest of its configuration.
    pub image: ImageId,
    /// When the name was set, in seconds since 1970.
    pub updated: u64,
}

/// Why a name could not be read or set.
#[derive(Debug, thiserror::Error)]
pub enum RefError {
    /// A file could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The lock of the names could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The image's layers could not be made durable.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// The file of a name is not what it should be.
    #[error("read {}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file of a name has a version that this build does not read.
    #[error("read {}: unknown version {found}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl RefError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Sync(error) => error.kind(),
            Self::Format { .. } => ErrorKind::DataLoss,
            Self::Version { .. } => ErrorKind::Unsupported,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    entry: Ref,
}

impl Refs<'_> {
    /// Returns what the name stands for, `None` if there is no such name. Reads one file.
    pub fn get(&self, name: &Reference) -> Result<Option<Ref>, RefError> {
        match self.read(&file_name(name)) {
            Err(RefError::Path(error)) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Sets a name, replacing what it stood for. Durable on return, with every layer published
    /// before.
    ///
    /// The caller's operation leases what the name leads to, until this has returned.
    pub fn set(&self, entry: &Ref) -> Result<(), RefError> {
        self.0.sync()?;
        let dir = self.0.dir(Area::Refs)?;
        let name = file_name(&entry.name);
        let bytes = stored(entry).map_err(|source| RefError::Format {
            path: dir.path().join(&name),
            source,
        })?;
        let _lock = self.lock()?;
        dir.replace(&name, &bytes, 0o600, Durability::Durable)?;
        index::regenerate(self.0)
    }

    /// Removes a name; false if there was none. Durable on return.
    pub fn remove(&self, name: &Reference) -> Result<bool, RefError> {
        let dir = self.0.dir(Area::Refs)?;
        let _lock = self.lock()?;
        match dir.unlink(file_name(name)) {
            Err(error) if error.is_not_found() => return Ok(false),
            other => other?,
        }
        dir.sync()?;
        index::regenerate(self.0)?;
        Ok(true)
    }

    /// Returns a name's file: what it is called, and its exact content.
    pub(crate) fn document(&self, name: &Reference) -> Result<Option<(String, Vec<u8>)>, RefError> {
        let file = file_name(name);
        match self.0.dir(Area::Refs)?.read(&file, LIMIT) {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
            Ok(bytes) => Ok(Some((file, bytes))),
        }
    }

    /// Removes those of the files that still have this content; says of each whether it went.
    /// Durable on return.
    pub(crate) fn remove_documents(&self, files: &[(&str, &[u8])]) -> Result<Vec<bool>, RefError> {
        let dir = self.0.dir(Area::Refs)?;
        let _lock = self.lock()?;
        let mut gone = Vec::new();
        for (file, document) in files {
            let same = match dir.read(file, LIMIT) {
                Err(error) if error.is_not_found() => false,
                other => other? == *document,
            };
            if same {
                dir.unlink(file)?;
            }
            gone.push(same);
        }
        if gone.contains(&true) {
            dir.sync()?;
            index::regenerate(self.0)?;
        }
        Ok(gone)
    }

    /// Puts files back that [`Refs::document`] returned; one that is there with the same content
    /// is left. Returns the first that is there with another, and then puts none. Durable on
    /// return.
    pub(crate) fn restore_documents(
        &self,
        files: &[(&str, &[u8])],
    ) -> Result<Option<String>, RefError> {
        let dir = self.0.dir(Area::Refs)?;
        let _lock = self.lock()?;
        let mut missing = Vec::new();
        for (file, document) in files {
            match dir.read(file, LIMIT) {
                Err(error) if error.is_not_found() => missing.push((file, document)),
                Err(error) => return Err(error.into()),
                Ok(bytes) if bytes == *document => {}
                Ok(_) => return Ok(Some((*file).to_owned())),
            }
        }
        for (file, document) in &missing {
            dir.create_exclusive(file, document, 0o600, Durability::Durable)?;
        }
        if !missing.is_empty() {
            index::regenerate(self.0)?;
        }
        Ok(None)
    }

    /// Reads a name's document.
    pub(crate) fn parse(document: &[u8]) -> Option<Ref> {
        let stored = serde_json::from_slice::<Stored>(document).ok()?;
        (stored.version == VERSION).then_some(stored.entry)
    }

    /// Writes the index of the OCI layout anew: blobs have come or gone without a name changing.
    pub fn refresh_index(&self) -> Result<(), RefError> {
        let _lock = self.lock()?;
        index::regenerate(self.0)
    }

    /// Lists every name in the order of the names. A file that cannot be read or understood is left
    /// out: a damaged name must not stop the others from being listed or pruned.
    pub fn list(&self) -> Result<Vec<Ref>, RefError> {
        self.list_but(|_| true)
    }

    /// Lists as [`Refs::list`], for the collector: a file of another version is an error, because
    /// what it holds is not known. One that is torn holds nothing.
    pub(crate) fn list_strict(&self) -> Result<Vec<Ref>, RefError> {
        self.list_but(|error| match error {
            RefError::Format { .. } => true,
            RefError::Path(error) => error.is_no_document(),
            _ => false,
        })
    }

    fn list_but(&self, passed_over: fn(&RefError) -> bool) -> Result<Vec<Ref>, RefError> {
        let mut refs = Vec::new();
        for entry in self.0.dir(Area::Refs)?.entries()? {
            let Some(name) = entry.name.to_str() else {
                continue;
            };
            match self.read(name) {
                Ok(found) => refs.push(found),
                Err(error) if passed_over(&error) => {}
                Err(RefError::Path(error)) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        refs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(refs)
    }

    pub(crate) fn read(&self, file: &str) -> Result<Ref, RefError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let dir = self.0.dir(Area::Refs)?;
        let bytes = dir.read(file, LIMIT)?;
        let format = |source| RefError::Format {
            path: dir.path().join(file),
            source,
        };
        let stored = serde_json::from_slice::<Stored>(&bytes);
        match stored {
            Ok(stored) if stored.version == VERSION => Ok(stored.entry),
            Ok(stored) => Err(RefError::Version {
                path: dir.path().join(file),
                found: stored.version,
            }),
            Err(source) => match serde_json::from_slice::<Versioned>(&bytes) {
                Ok(Versioned { version }) if version != VERSION => Err(RefError::Version {
                    path: dir.path().join(file),
                    found: version,
                }),
                _ => Err(format(source)),
            },
        }
    }

    /// Writes the OCI layout's own files anew.
    pub(crate) fn restore_layout(&self) -> Result<(), RefError> {
        let _lock = self.lock()?;
        index::write_layout(self.0.dir(Area::Oci)?)?;
        index::regenerate(self.0)
    }

    /// Whether a file has the name that its own says it should have.
    pub(crate) fn is_file_of(&self, file: &str, entry: &Ref) -> bool {
        file == file_name(&entry.name)
    }

    /// Writes a damaged file of a name anew: from what it still says, or from the OCI layout's
    /// index, which lists the images whose blobs are all here. False where neither knows.
    pub(crate) fn restore(&self, file: &str) -> Result<bool, RefError> {
        let read = self
            .read(file)
            .ok()
            .filter(|entry| self.is_file_of(file, entry));
        let Some(entry) = index::corrected(self.0, file, read) else {
            return Ok(false);
        };
        self.set(&entry)?;
        Ok(true)
    }

    fn lock(&self) -> Result<Lock, LockError> {
        Lock::exclusive(self.0.dir(Area::Locks)?, LOCK, Rank::RefIndex)
    }
}

/// Returns the bytes of a name's file.
pub(crate) fn stored(entry: &Ref) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Stored {
        version: VERSION,
        entry: entry.clone(),
    })
}

/// Names have slashes and colons and are up to 400 bytes long; their hash is always a file name.
pub(crate) fn file_name(name: &Reference) -> String {
    let hash = Sha256::digest(name.to_string());
    format!("{}.json", HEXLOWER.encode(&hash))
}
