//! A layer on its way into the store.

use std::fs::File;
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Durability, PathError};
use lamina_layer::ObjectIndex;
use lamina_types::DiffId;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{INDEX, INFO, Layer, LayerError, LayerInfo, PLAIN, REPLACED, SPLIT, Stored};
use crate::area::Area;
use crate::meta::POOL;
use crate::ops::{Draft, Line, Operation};
use crate::store::Store;
use crate::sync::{self, Unsynced};

/// A layer being unpacked.
#[derive(Debug)]
pub struct LayerDraft {
    store: Store,
    draft: Draft,
    tree: Option<Dir>,
}

impl LayerDraft {
    pub(super) fn new(store: &Store, op: &Operation, tree: bool) -> Result<Self, LayerError> {
        let draft = op.draft()?;
        let tree = tree.then(|| draft.dir().mkdir(PLAIN, 0o755)).transpose()?;
        Ok(Self {
            store: store.clone(),
            draft,
            tree,
        })
    }

    /// Returns the tree to unpack into, empty at first; for a pooled layer, which has none, the
    /// draft's own folder, where nothing may be unpacked.
    pub fn tree(&self) -> &Dir {
        self.tree.as_ref().unwrap_or(self.draft.dir())
    }

    /// Makes the file that the split stream is written to; once.
    pub fn split(&self) -> Result<File, LayerError> {
        let dir = self.draft.dir();
        dir.create_exclusive(SPLIT, b"", 0o600, Durability::Volatile)?;
        Ok(dir.open_file(SPLIT, OFlags::WRONLY)?)
    }

    /// Opens the split stream that was written.
    pub fn open_split(&self) -> Result<File, LayerError> {
        Ok(self.draft.dir().open_file(SPLIT, OFlags::RDONLY)?)
    }

    /// Makes the folder for what later entries of the tar replace; once.
    pub fn replaced(&self) -> Result<Dir, LayerError> {
        Ok(self.draft.dir().mkdir(REPLACED, 0o700)?)
    }

    /// Writes the index of the contents that the split stream refers to; once.
    pub fn index(&self, index: &ObjectIndex) -> Result<(), LayerError> {
        let bytes = index.encode();
        let dir = self.draft.dir();
        Ok(dir.create_exclusive(INDEX, &bytes, 0o600, Durability::Volatile)?)
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
        self.drop_empty_replaced()?;
        if info.pooled {
            self.store.require(POOL)?;
        }
        self.draft.dir().create_exclusive(
            INFO,
            &self.info_bytes(info)?,
            0o600,
            Durability::Volatile,
        )?;
        op.lease(&[Line::Layer(diff_id.clone())])?;
        let hex = diff_id.0.hex();
        let published = {
            let _lock = self.store.lock_shared()?;
            let layers = self.store.dir(Area::Layers)?;
            sync::mark(&self.store, &Unsynced::layer(hex))?;
            // Where somebody else was first, its marker, or ours, covers its layer until the next
            // sync.
            self.draft.publish(layers, hex)?
        };
        let layers = self.store.layers();
        if let (false, Some(there)) = (published, layers.get(diff_id)?) {
            return Ok(there);
        }
        Ok(Layer {
            dir: layers.tree(diff_id),
            info: info.clone(),
        })
    }

    fn info_bytes(&self, info: &LayerInfo) -> Result<Vec<u8>, LayerError> {
        let path = || -> PathBuf { self.draft.dir().path().join(Path::new(INFO)) };
        serde_json::to_vec(&Stored::new(info)).map_err(|source| LayerError::Info {
            path: path(),
            source,
        })
    }

    fn drop_empty_replaced(&self) -> Result<(), PathError> {
        match self.draft.dir().rmdir(REPLACED) {
            Err(error) if error.errno() == Some(Errno::NOTEMPTY) || error.is_not_found() => Ok(()),
            other => other,
        }
    }
}
