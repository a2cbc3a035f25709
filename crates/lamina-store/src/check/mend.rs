//! What the store mends from what it has: documents and indexes that are derived, modes, and the
//! other form of a layer. Everything else is dropped, so that it is honestly missing and whoever
//! knows a registry brings it again.

use lamina_fs::{Durability, LockError, PathError};
use lamina_layer::{ApplyError, ObjectIndex};
use lamina_types::{DiffId, ErrorKind};
use rustix::fs::{AtFlags, Mode};

use super::{Fault, layer};
use crate::area::Area;
use crate::layers::{INDEX, INFO, LayerError, PLAIN, REPLACED, SPLIT, stored_info};
use crate::ledger::Subject;
use crate::ops::{OpError, Operation};
use crate::pool::{ObjectKey, PoolError};
use crate::refs::RefError;
use crate::store::Store;

/// Why something could not be mended.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// A file or folder.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A name.
    #[error(transparent)]
    Ref(#[from] RefError),
    /// A content.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A lease.
    #[error(transparent)]
    Lease(#[from] OpError),
    /// What a layer's split stream says cannot be had.
    #[error(transparent)]
    Split(#[from] lamina_layer::LayerTreeError),
    /// The same, unpacked.
    #[error(transparent)]
    Unpack(#[from] ApplyError),
}

impl MendError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Layer(error) => error.kind(),
            Self::Ref(error) => error.kind(),
            Self::Pool(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            Self::Split(error) => error.kind(),
            Self::Unpack(error) => error.kind(),
        }
    }
}

impl Store {
    /// Mends what is derived or can be set again; false where that is not possible. Idempotent;
    /// what is replaced is replaced by one rename.
    pub fn mend(&self, op: &Operation, subject: &Subject, fault: Fault) -> Result<bool, MendError> {
        match (subject, fault) {
            (Subject::Blob(_) | Subject::Content(_), Fault::Mode) => self.mend_mode(subject),
            (Subject::Layer(diff_id), Fault::Index) => self.mend_index(diff_id),
            (Subject::Layer(diff_id), Fault::Info) => self.mend_info(diff_id),
            (Subject::Layer(diff_id), Fault::Tree) => self.mend_tree(op, diff_id),
            (Subject::Own(path), Fault::Document) if path.starts_with(Area::Oci.path()) => {
                self.refs().restore_layout()?;
                Ok(true)
            }
            (Subject::Own(path), Fault::Document) => {
                let file = path.strip_prefix("refs/").unwrap_or_default();
                Ok(!file.is_empty() && self.refs().restore(file)?)
            }
            _ => Ok(false),
        }
    }

    fn mend_mode(&self, subject: &Subject) -> Result<bool, MendError> {
        let (dir, name, mode) = match subject {
            Subject::Blob(digest) => {
                let dir = self.dir(crate::blobs::area(digest))?.try_clone()?;
                (dir, digest.hex().to_owned(), 0o444)
            }
            Subject::Content(key) => {
                let path = key.path();
                let (folder, name) = path.split_once('/').unwrap_or_default();
                (
                    self.dir(Area::Pool)?.open_at(folder)?,
                    name.to_owned(),
                    0o400,
                )
            }
            _ => return Ok(false),
        };
        let set = rustix::fs::chmodat(&dir, &name, Mode::from_raw_mode(mode), AtFlags::empty());
        lamina_fs::At::at(set, "set the mode of", dir.path().join(name))?;
        Ok(true)
    }

    /// Writes the index anew; what each content takes is a guess where it was not known.
    fn mend_index(&self, diff_id: &DiffId) -> Result<bool, MendError> {
        let layers = self.layers();
        let _lock = layers.lock(diff_id, &mut |_| true)?;
        let index = layers.index_of_split(diff_id)?;
        let mut records = index.records().to_vec();
        for record in &mut records {
            if let Ok(crate::pool::Found::Here { blocks }) =
                self.pool().find(&record.id, record.size)
            {
                record.blocks = blocks;
            }
        }
        let bytes = ObjectIndex::new(records).encode();
        let dir = layers.dir(diff_id)?;
        dir.replace(INDEX, &bytes, 0o600, Durability::Durable)?;
        Ok(true)
    }

    /// Writes `layer.json` anew. A layer without a tree has its contents in the pool; one with a
    /// tree does so too if they are all there.
    fn mend_info(&self, diff_id: &DiffId) -> Result<bool, MendError> {
        let layers = self.layers();
        let _lock = layers.lock(diff_id, &mut |_| true)?;
        let Some(split) = layers.split(diff_id)? else {
            return Ok(false);
        };
        let said = layer::read(split)?;
        let mut pooled = true;
        for record in said.index.records() {
            pooled &= self
                .pool()
                .contains(&record.id, record.size)
                .unwrap_or(false);
        }
        if !pooled && !layers.has_tree(diff_id)? {
            return Ok(false);
        }
        let bytes = stored_info(&said.info(pooled));
        let dir = layers.dir(diff_id)?;
        dir.replace(INFO, &bytes, 0o600, Durability::Durable)?;
        Ok(true)
    }

    /// Unpacks a layer again whose contents are in the pool.
    fn mend_tree(&self, op: &Operation, diff_id: &DiffId) -> Result<bool, MendError> {
        let layers = self.layers();
        if !layers.get(diff_id)?.is_some_and(|layer| layer.info.pooled) {
            return Ok(false);
        }
        let dir = layers.dir(diff_id)?;
        for name in [PLAIN, REPLACED] {
            self.trash(&dir, name)?;
        }
        layers.unpack(op, diff_id)?;
        Ok(true)
    }

    /// Puts the contents of a layer that has a tree into the pool again; false for one without.
    ///
    /// The damaged ones have been dropped by the caller.
    pub fn refill(&self, op: &Operation, diff_id: &DiffId) -> Result<bool, MendError> {
        if !self.layers().has_tree(diff_id)? {
            return Ok(false);
        }
        self.layers().pool_again(op, diff_id)?;
        Ok(true)
    }

    /// Moves a damaged thing to the trash: it is missing from then on, and says so. Of a layer
    /// whose split stream is damaged and whose tree may be good, only the stream goes.
    pub fn drop_damaged(&self, subject: &Subject, fault: Fault) -> Result<bool, MendError> {
        match (subject, fault) {
            (Subject::Blob(digest), _) => self.blobs().drop_damaged(digest)?,
            (Subject::Content(key), _) => return Ok(self.drop_content(key)?),
            (Subject::Layer(diff_id), Fault::Split) if self.layers().has_tree(diff_id)? => {
                let dir = self.layers().dir(diff_id)?;
                for name in [SPLIT, INDEX] {
                    self.trash(&dir, name)?;
                }
            }
            (Subject::Layer(diff_id), _) => self.layers().drop_damaged(diff_id)?,
            (Subject::Generated(name), _) => {
                self.trash(self.dir(Area::Images)?, name)?;
            }
            (Subject::Own(path), Fault::Document) => {
                let Some(file) = path.strip_prefix("refs/") else {
                    return Ok(false);
                };
                self.trash(self.dir(Area::Refs)?, file)?;
                self.dir(Area::Refs)?.sync()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn drop_content(&self, key: &ObjectKey) -> Result<bool, PathError> {
        let path = key.path();
        let (folder, name) = path.split_once('/').unwrap_or_default();
        let folder = match self.dir(Area::Pool)?.open_at(folder) {
            Err(error) if error.is_not_found() => return Ok(false),
            other => other?,
        };
        self.trash(&folder, name).map(|trashed| trashed.is_some())
    }
}
