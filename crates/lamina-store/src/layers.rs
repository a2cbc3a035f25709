//! Layers: `layers/<diff id hex>/`.
//!
//! ```text
//! split.zst   the exact tar without the files' contents (lamina-layer's split stream)
//! idx         the contents it refers to, sorted (lamina-layer's object index)
//! plain/      the tree, in overlayfs's own forms; a pooled layer has none
//! replaced/   what later entries of the tar replaced in the tree, where there was any
//! layer.json  what is known of the layer
//! ```
//! A layer's contents are in its tree or, of a *pooled* layer, objects of the pool; it may have both. Layers of
//! older stores have neither `split.zst` nor `idx` until they are converted.
//!
//! A layer is unpacked into a draft below the operation's entry in `ops/`, and appears under its
//! diff id by one rename. Drafts of a killed process are thrown away by the next open. When
//! several processes unpack the same layer the first to publish wins, and the others use its.

mod contents;
mod convert;
mod draft;
mod parts;
mod stored;
mod trees;

use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Lock, LockError, PathError};
use lamina_layer::{ApplyError, IndexError, RebuildError};
use lamina_types::{DiffId, ErrorKind};

pub use contents::LayerContents;
pub(crate) use convert::content_id;
pub use draft::LayerDraft;
use stored::Stored;
pub(crate) use stored::stored_info;

use crate::area::Area;
use crate::lock::{self, Waiting};
use crate::ops::{Line, OpError, Operation};
use crate::pool::PoolError;
use crate::store::Store;

pub(crate) const PLAIN: &str = "plain";
pub(crate) const REPLACED: &str = "replaced";
pub(crate) const SPLIT: &str = "split.zst";
pub(crate) const INDEX: &str = "idx";
pub(crate) const INFO: &str = "layer.json";
/// Implied directories are bounded by the unpacker; this bounds their sum.
const INFO_LIMIT: u64 = 64 << 20;
const VERSION: u32 = 1;

/// The unpacked layers of a store.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'s>(pub(crate) &'s Store);

/// A layer that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its tree, in overlayfs's own forms; a pooled layer has none there.
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
    /// Whether its contents are objects of the pool; it has no tree then.
    pub pooled: bool,
}

/// Why a layer could not be read, published or made a tar again.
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
    /// `idx` is not what it should be.
    #[error("read {}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IndexError,
    },
    /// The layer was made by an older build and has not been converted.
    #[error("layer {0} has no split stream")]
    NoSplit(DiffId),
    /// Its tar could not be made again.
    #[error("rebuild the tar of layer {diff_id}")]
    Rebuild {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        source: Box<RebuildError>,
    },
    /// Its contents could not be put into the pool.
    #[error(transparent)]
    Pool(Box<PoolError>),
    /// Its tar was made again and cannot be unpacked.
    #[error("unpack layer {diff_id}")]
    Unpack {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        source: ApplyError,
    },
    /// Its tar was made again and is another.
    #[error("the tar made again of layer {expected} has digest {found}")]
    WrongTar {
        /// The layer.
        expected: DiffId,
        /// What came out.
        found: Box<DiffId>,
    },
}

impl LayerError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            Self::Info { .. } | Self::WrongTar { .. } => ErrorKind::DataLoss,
            Self::Version { .. } => ErrorKind::Unsupported,
            Self::Index { source, .. } => source.kind(),
            Self::NoSplit(_) => ErrorKind::FailedPrecondition,
            Self::Rebuild { source, .. } => source.kind(),
            Self::Pool(source) => source.kind(),
            Self::Unpack { source, .. } => source.kind(),
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

    /// Returns whether the layer is here with its description and everything that it says it has:
    /// its tree, or all its contents in the pool. Looks for each content; hashes nothing.
    pub fn is_whole(&self, diff_id: &DiffId) -> Result<bool, LayerError> {
        let pooled = match self.get(diff_id) {
            Ok(Some(layer)) => layer.info.pooled,
            Ok(None) | Err(LayerError::Info { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if !pooled {
            return self.has_tree(diff_id);
        }
        let Ok(Some(index)) = self.index(diff_id) else {
            return Ok(false);
        };
        let pool = self.0.pool();
        let is_here =
            |one: &lamina_layer::IndexRecord| matches!(pool.contains(&one.id, one.size), Ok(true));
        Ok(self.split(diff_id)?.is_some() && index.records().iter().all(is_here))
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

    /// Returns what [`Layers::get`] does, refusing what is passed over there: a member that nobody
    /// writes is one with a wrong letter in its name.
    pub(crate) fn get_strict(&self, diff_id: &DiffId) -> Result<Option<LayerInfo>, LayerError> {
        let Some(layer) = self.get(diff_id)? else {
            return Ok(None);
        };
        let name = Path::new(diff_id.0.hex()).join(INFO);
        let dir = self.0.dir(Area::Layers)?;
        let bytes = dir.read(&name, INFO_LIMIT)?;
        stored::refuse_unknown(&bytes).map_err(|source| LayerError::Info {
            path: dir.path().join(name),
            source,
        })?;
        Ok(Some(layer.info))
    }

    /// Opens the layer's tree.
    pub(crate) fn open_tree(&self, diff_id: &DiffId) -> Result<Dir, LayerError> {
        let name = Path::new(diff_id.0.hex()).join(PLAIN);
        Ok(self.0.dir(Area::Layers)?.open_at(name)?)
    }

    /// Returns whether the layer's tar replaced entries of its own.
    pub(crate) fn has_replaced(&self, diff_id: &DiffId) -> Result<bool, LayerError> {
        Ok(self.dir(diff_id)?.exists(REPLACED)?)
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

    /// Makes an empty layer with an empty tree to unpack into. It belongs to the operation and
    /// vanishes with it.
    pub fn draft(&self, op: &Operation) -> Result<LayerDraft, LayerError> {
        LayerDraft::new(self.0, op, true)
    }

    /// Makes an empty layer whose contents are objects of the pool: it has no tree.
    pub fn draft_pooled(&self, op: &Operation) -> Result<LayerDraft, LayerError> {
        LayerDraft::new(self.0, op, false)
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
