//! Opening a store, and the folders of one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lamina_fs::{Dir, Durability, Lock, LockError, PathError, Rank};
use lamina_types::ErrorKind;

use crate::area::Area;
use crate::blobs::Blobs;
use crate::boot::BootId;
use crate::layers::Layers;
use crate::meta::{self, Meta};
use crate::ops::{Ops, Recovery};
use crate::pins::Pins;
use crate::pool::Pool;
use crate::refs::{self, Refs};
use crate::removed::Removed;
use crate::sync::{self, SyncError};

const META: &str = "meta.json";
const META_LIMIT: u64 = 64 << 10;
/// The name of the store lock: shared while leasing, exclusive for a batch of the collector.
const STORE_LOCK: &str = "store";

/// An open store. Clones share its descriptors and may be used from several threads.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: Dir,
    boot: BootId,
    areas: [OnceLock<Dir>; Area::ALL.len()],
    recovery: OnceLock<Recovery>,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A folder or file of it could not be made or read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A lock of it could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// `meta.json` is not what it should be.
    #[error("read {}", path.display())]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The store was made by a build with another format.
    #[error("store {} has format version {found}, this build reads version {known}", path.display())]
    Version {
        /// The root of the store.
        path: PathBuf,
        /// What `meta.json` says.
        found: u32,
        /// What this build reads.
        known: u32,
    },
    /// The store uses a feature that a build must know to touch it.
    #[error("store {} uses the feature {feature:?}, which this build does not know", path.display())]
    Feature {
        /// The root of the store.
        path: PathBuf,
        /// The feature.
        feature: String,
    },
    /// Layers of an earlier boot could not be checked.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl OpenError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Meta { .. } => ErrorKind::DataLoss,
            Self::Version { .. } | Self::Feature { .. } => ErrorKind::Unsupported,
            Self::Sync(error) => error.kind(),
        }
    }
}

impl Store {
    /// Opens the store at `root`, making it if there is none.
    ///
    /// Idempotent and safe against other processes doing the same. Lists `ops/` once and undoes
    /// operations whose owner is dead ([`Store::recovery`] tells), and drops layers that an
    /// earlier boot published but did not get to the disk.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let dir = match Dir::open(root) {
            Err(error) if error.is_not_found() => Dir::create_all(root, 0o700)?,
            other => other?,
        };
        let store = Self(Arc::new(Inner {
            root: dir,
            boot: BootId::current()?,
            areas: [const { OnceLock::new() }; Area::ALL.len()],
            recovery: OnceLock::new(),
        }));
        store.check_meta()?;
        sync::drop_unsynced_of_other_boots(&store)?;
        let recovery = store.ops().recover()?;
        if recovery.undone > 0 {
            // Between a name and the index that is derived from it; nothing of ours reads that.
            let _ = store.refs().refresh_index();
        }
        let _ = store.0.recovery.set(recovery);
        Ok(store)
    }

    /// Writes the `meta.json` of a store anew where it is no JSON that this build can read, with the
    /// features of what is there; false where it needs no mending or there is no store. One of
    /// another version is left alone.
    pub fn restore_meta(root: &Path) -> Result<bool, OpenError> {
        let dir = match Dir::open(root) {
            Err(error) if error.is_not_found() => return Ok(false),
            other => other?,
        };
        match dir.read(META, META_LIMIT) {
            Ok(bytes) if serde_json::from_slice::<Meta>(&bytes).is_ok() => return Ok(false),
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) if !error.is_no_document() => return Err(error.into()),
            _ => {}
        }
        let mut meta = Meta::new();
        let pool = dir
            .open_at(Area::Pool.path())
            .and_then(|pool| pool.entries());
        if pool.is_ok_and(|entries| !entries.is_empty()) {
            meta.incompat.push(meta::POOL.to_owned());
        }
        let bytes = serde_json::to_vec_pretty(&meta).map_err(|source| OpenError::Meta {
            path: dir.path().join(META),
            source,
        })?;
        dir.replace(META, &bytes, 0o600, Durability::Durable)?;
        Ok(true)
    }

    /// Reads `meta.json`; a store without one is laid out first.
    fn check_meta(&self) -> Result<(), OpenError> {
        let root = &self.0.root;
        let bytes = match root.read(META, META_LIMIT) {
            Err(error) if error.is_not_found() => {
                self.lay_out()?;
                root.read(META, META_LIMIT)?
            }
            other => other?,
        };
        let meta: Meta = serde_json::from_slice(&bytes).map_err(|source| OpenError::Meta {
            path: root.path().join(META),
            source,
        })?;
        let path = || root.path().to_path_buf();
        if meta.version != meta::VERSION {
            return Err(OpenError::Version {
                path: path(),
                found: meta.version,
                known: meta::VERSION,
            });
        }
        match meta.unknown_feature() {
            Some(feature) => Err(OpenError::Feature {
                path: path(),
                feature: feature.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Makes the folders and, last, `meta.json`: whoever sees that file sees a whole layout.
    fn lay_out(&self) -> Result<(), OpenError> {
        let root = &self.0.root;
        for area in Area::ALL {
            let mut dir = None;
            for component in Path::new(area.path()) {
                let parent = dir.as_ref().unwrap_or(root);
                dir = Some(parent.ensure_dir(component, 0o700)?);
            }
        }
        refs::lay_out_oci(self.dir(Area::Oci)?)?;
        let bytes = serde_json::to_vec_pretty(&Meta::new()).map_err(|source| OpenError::Meta {
            path: root.path().join(META),
            source,
        })?;
        match root.create_exclusive(META, &bytes, 0o600, Durability::Durable) {
            Err(error) if error.is_already_exists() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Writes a feature into `meta.json` before the first thing that needs it; durable on return.
    pub(crate) fn require(&self, feature: &str) -> Result<(), PathError> {
        let root = &self.0.root;
        let parse = |bytes: &[u8]| -> Result<Meta, PathError> {
            serde_json::from_slice(bytes).map_err(|error| PathError {
                act: "read",
                path: root.path().join(META),
                source: error.into(),
            })
        };
        let mut meta = parse(&root.read(META, META_LIMIT)?)?;
        if !meta.incompat.iter().any(|known| known == feature) {
            meta.incompat.push(feature.to_owned());
            let bytes = serde_json::to_vec_pretty(&meta).unwrap_or_default();
            root.replace(META, &bytes, 0o600, Durability::Durable)?;
        }
        Ok(())
    }

    /// Returns the root folder.
    pub fn root(&self) -> &Dir {
        &self.0.root
    }

    /// Returns one of the store's folders, opening it at the first use.
    pub fn dir(&self, area: Area) -> Result<&Dir, PathError> {
        let cell = &self.0.areas[area as usize];
        if let Some(dir) = cell.get() {
            return Ok(dir);
        }
        let dir = match self.0.root.open_at(area.path()) {
            // A store of a build that had no such folder.
            Err(error)
                if error.is_not_found()
                    && matches!(area, Area::Pool | Area::Removed | Area::Events) =>
            {
                self.0.root.ensure_dir(area.path(), 0o700)?
            }
            other => other?,
        };
        // Another thread may have been faster; either descriptor will do.
        Ok(cell.get_or_init(|| dir))
    }

    /// Returns the path of a folder, for messages and for mount plans.
    pub fn path(&self, area: Area) -> PathBuf {
        self.0.root.path().join(area.path())
    }

    /// Returns the identity of the running boot.
    pub fn boot(&self) -> &BootId {
        &self.0.boot
    }

    /// Returns what [`Store::open`] undid of operations whose owner was dead.
    pub fn recovery(&self) -> &Recovery {
        static NOTHING: Recovery = Recovery::NOTHING;
        self.0.recovery.get().unwrap_or(&NOTHING)
    }

    /// Returns the blobs.
    pub fn blobs(&self) -> Blobs<'_> {
        Blobs(self)
    }

    /// Returns the unpacked layers.
    pub fn layers(&self) -> Layers<'_> {
        Layers(self)
    }

    /// Returns the contents of files that are not in the trees of layers.
    pub fn pool(&self) -> Pool<'_> {
        Pool(self)
    }

    /// Returns the names of images.
    pub fn refs(&self) -> Refs<'_> {
        Refs(self)
    }

    /// Returns what was removed and can be brought back.
    pub fn removed(&self) -> Removed<'_> {
        Removed(self)
    }

    /// Returns the operations in flight.
    pub fn ops(&self) -> Ops<'_> {
        Ops(self)
    }

    /// Returns what writable layers hold.
    pub fn pins(&self) -> Pins<'_> {
        Pins(self)
    }

    /// Takes the store lock shared, for leasing or publishing: a batch of the collector waits for
    /// it, or it for the batch. Held for microseconds, never across other work.
    ///
    /// What is leased or pinned under it *before* one looks whether an object is here stays here.
    pub fn lock_shared(&self) -> Result<Lock, LockError> {
        Lock::shared(self.dir(Area::Locks)?, STORE_LOCK, Rank::Store)
    }

    /// Takes the store lock for a batch of the collector: nobody leases or publishes meanwhile.
    pub(crate) fn lock_exclusive(&self) -> Result<Lock, LockError> {
        Lock::exclusive(self.dir(Area::Locks)?, STORE_LOCK, Rank::Store)
    }
}
