//! Unpacked layers: `layers/<diff id hex>/{plain/,layer.json}`.
//!
//! A layer is unpacked into a draft below the operation's entry in `ops/`, and appears under its
//! diff id by one rename. Drafts of a killed process are thrown away by the next open. When
//! several processes unpack the same layer the first to publish wins, and the others use its.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Durability, Lock, LockError, PathError};
use lamina_types::{DiffId, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::area::Area;
use crate::lock::{self, Waiting};
use crate::ops::{Draft, Line, OpError, Operation};
use crate::store::Store;
use crate::sync::{self, Unsynced};

const PLAIN: &str = "plain";
const INFO: &str = "layer.json";
/// Implied directories are bounded by the unpacker; this bounds their sum.
const INFO_LIMIT: u64 = 64 << 20;
const VERSION: u32 = 1;

/// The unpacked layers of a store.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'s>(pub(crate) &'s Store);

/// A layer that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its tree, in overlayfs's own forms.
    pub dir: PathBuf,
    /// What is known of it.
    pub info: LayerInfo,
}

/// What is known of a layer, `layer.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerInfo {
    /// How many bytes of file content it has.
    pub size: u64,
    /// How many entries its tar had.
    pub entries: u64,
    /// Directories that exist in the tree but that no entry of the tar described, relative to
    /// its root; the root itself is the empty path.
    pub implied: Vec<PathBuf>,
    /// Whether it hides everything below it (an opaque mark on its root, which overlayfs ignores):
    /// whoever stacks it leaves the layers below out.
    pub opaque_root: bool,
}

/// Why a layer could not be read or published.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file or folder could not be made or read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Somebody else is unpacking the layer and the caller gave up waiting.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The layer could not be leased.
    #[error(transparent)]
    Lease(#[from] OpError),
    /// `layer.json` is not what it should be.
    #[error("read {}", path.display())]
    Info {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// `layer.json` has a version that this build does not read.
    #[error("read {}: unknown version {found}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl LayerError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            Self::Info { .. } => ErrorKind::DataLoss,
            Self::Version { .. } => ErrorKind::Unsupported,
        }
    }
}

impl Layers<'_> {
    /// Leases the layer for `op` and looks whether it is here: one that is found stays. What
    /// [`Layers::contains`] found without a lease may be collected at once.
    pub fn find(&self, op: &Operation, diff_id: &DiffId) -> Result<Option<Layer>, LayerError> {
        op.lease(&[Line::Layer(diff_id.clone())])?;
        self.get(diff_id)
    }

    /// Returns whether the layer is here.
    pub fn contains(&self, diff_id: &DiffId) -> Result<bool, PathError> {
        self.0.dir(Area::Layers)?.exists(diff_id.0.hex())
    }

    /// Returns where the layer's tree is or would be.
    pub fn tree(&self, diff_id: &DiffId) -> PathBuf {
        self.0.path(Area::Layers).join(diff_id.0.hex()).join(PLAIN)
    }

    /// Returns the layer, `None` if it is not here.
    pub fn get(&self, diff_id: &DiffId) -> Result<Option<Layer>, LayerError> {
        let name = Path::new(diff_id.0.hex()).join(INFO);
        let dir = self.0.dir(Area::Layers)?;
        let bytes = match dir.read(&name, INFO_LIMIT) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let path = || dir.path().join(&name);
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|source| LayerError::Info {
            path: path(),
            source,
        })?;
        if stored.version != VERSION {
            return Err(LayerError::Version {
                path: path(),
                found: stored.version,
            });
        }
        Ok(Some(Layer {
            dir: self.tree(diff_id),
            info: stored.into_info(),
        }))
    }

    /// Takes the layer's lock, so that one process unpacks it; hold it until it is published. The
    /// caller looks for the layer again afterwards.
    ///
    /// A thread may take it while it holds a blob's lock, never the other way round.
    pub fn lock(&self, diff_id: &DiffId, wait: Waiting<'_>) -> Result<LayerLock, LayerError> {
        let lock = lock::layer(self.0, diff_id, wait)?;
        Ok(LayerLock {
            store: self.0.clone(),
            name: format!("layer-{}", diff_id.0.hex()),
            _lock: lock,
        })
    }

    /// Makes an empty tree to unpack into. It belongs to the operation and vanishes with it.
    pub fn draft(&self, op: &Operation) -> Result<LayerDraft, LayerError> {
        let draft = op.draft()?;
        let tree = draft.dir().mkdir(PLAIN, 0o755)?;
        Ok(LayerDraft {
            store: self.0.clone(),
            draft,
            tree,
        })
    }

    /// Moves a layer whose content has proved wrong out of the way, so that it is unpacked again.
    pub fn drop_damaged(&self, diff_id: &DiffId) -> Result<(), PathError> {
        let layers = self.0.dir(Area::Layers)?;
        self.0.trash(layers, diff_id.0.hex()).map(drop)
    }
}

/// The right to unpack one layer; dropping it lets the next process look.
#[derive(Debug)]
#[must_use = "the lock is held only as long as the value lives"]
pub struct LayerLock {
    store: Store,
    name: String,
    _lock: Lock,
}

impl Drop for LayerLock {
    fn drop(&mut self) {
        lock::retire(&self.store, &self.name);
    }
}

/// A layer being unpacked.
#[derive(Debug)]
pub struct LayerDraft {
    store: Store,
    draft: Draft,
    tree: Dir,
}

impl LayerDraft {
    /// Returns the tree to unpack into, empty at first.
    pub fn tree(&self) -> &Dir {
        &self.tree
    }

    /// Publishes the layer under its diff id, which the caller has verified.
    ///
    /// Leases it for `op`. Visible to everybody on return, on the disk after the next
    /// [`Store::sync`] (which setting a ref does); a power cut before that makes it absent.
    /// Returns the layer that is there: this one or, if another process was faster, that one.
    pub fn publish(
        self,
        op: &Operation,
        diff_id: &DiffId,
        info: &LayerInfo,
    ) -> Result<Layer, LayerError> {
        let stored = Stored::new(info);
        let bytes = serde_json::to_vec(&stored).map_err(|source| LayerError::Info {
            path: self.draft.dir().path().join(INFO),
            source,
        })?;
        self.draft
            .dir()
            .create_exclusive(INFO, &bytes, 0o600, Durability::Volatile)?;
        op.lease(&[Line::Layer(diff_id.clone())])?;
        let hex = diff_id.0.hex();
        {
            let _lock = self.store.lock_shared()?;
            let layers = self.store.dir(Area::Layers)?;
            sync::mark(&self.store, &Unsynced::layer(hex))?;
            // Where somebody else was first, its marker, or ours, covers its layer until the next
            // sync.
            self.draft.publish(layers, hex)?;
        }
        Ok(Layer {
            dir: self.store.layers().tree(diff_id),
            info: info.clone(),
        })
    }
}

/// `layer.json` as it is written. A path is text where it is UTF-8, else a list of bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    size: u64,
    entries: u64,
    implied: Vec<StoredPath>,
    #[serde(default)]
    opaque_root: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredPath {
    Text(String),
    Bytes(Vec<u8>),
}

impl Stored {
    fn new(info: &LayerInfo) -> Self {
        let path = |path: &PathBuf| match path.to_str() {
            Some(text) => StoredPath::Text(text.to_owned()),
            None => StoredPath::Bytes(OsStr::as_bytes(path.as_os_str()).to_vec()),
        };
        Self {
            version: VERSION,
            size: info.size,
            entries: info.entries,
            implied: info.implied.iter().map(path).collect(),
            opaque_root: info.opaque_root,
        }
    }

    fn into_info(self) -> LayerInfo {
        let path = |path| match path {
            StoredPath::Text(text) => PathBuf::from(text),
            StoredPath::Bytes(bytes) => PathBuf::from(std::ffi::OsString::from_vec(bytes)),
        };
        LayerInfo {
            size: self.size,
            entries: self.entries,
            implied: self.implied.into_iter().map(path).collect(),
            opaque_root: self.opaque_root,
        }
    }
}
