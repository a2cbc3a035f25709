//! Mode `plain`: one plain tree per layer, native overlayfs.
//!
//! ```text
//! upper                snap/<id>/upper            what the container writes
//! ─────
//! top                  images/<key>.top           mount points; metadata of implied directories
//! layer n … layer 1    layers/<diff id>/plain
//! ```

mod metadata;
mod stack;
mod top;
mod usage;

use std::path::PathBuf;

use lamina_fs::{At, Dir, Durability, PathError};
use lamina_store::{Area, Pin, SnapshotId, Store, image_key};
use lamina_types::{DiffId, Rootfs, Source};

use crate::info::{Info, InfoError};
use crate::probe::Support;
use crate::snapshotter::{
    ImageLayers, PrepareError, PrepareOptions, RemoveError, Snapshotter, StorageMode, Usage,
    UsageError,
};
use top::Kind;

const MODE: &str = "plain";
const UPPER: &str = "upper";
const WORK: &str = "work";
/// The kernel's OVL_MAX_STACK is 500, and one is ours.
const MAX_LAYERS: usize = 499;

/// The snapshotter of mode `plain`.
#[derive(Debug)]
pub struct Plain {
    store: Store,
    support: Support,
}

impl Plain {
    /// Makes the snapshotter of a store whose filesystem takes the options of `support`.
    pub fn new(store: &Store, support: Support) -> Self {
        Self {
            store: store.clone(),
            support,
        }
    }

    /// Returns the lowers, the top-most first, making the generated one if it is missing.
    fn lowers(&self, diff_ids: &[DiffId], kind: Kind) -> Result<Vec<PathBuf>, PrepareError> {
        if diff_ids.len() > MAX_LAYERS {
            return Err(PrepareError::TooManyLayers {
                found: diff_ids.len(),
                limit: MAX_LAYERS,
            });
        }
        for diff_id in diff_ids {
            if !self.store.layers().contains(diff_id)? {
                return Err(PrepareError::MissingLayer(diff_id.clone()));
            }
        }
        let key = image_key(diff_ids);
        let top = top::ensure(&self.store, &key, diff_ids, kind)?;
        let mut lowers = vec![top.dir];
        let visible = &diff_ids[top.hidden.min(diff_ids.len())..];
        lowers.extend(visible.iter().rev().map(|id| self.store.layers().tree(id)));
        Ok(lowers)
    }

    fn overlay(&self, id: &SnapshotId, lowers: Vec<PathBuf>, volatile: bool) -> Rootfs {
        let dir = self.store.path(Area::Snap).join(id.as_str());
        let mut options = self.support.options();
        if volatile && self.support.volatile {
            options.push("volatile".to_owned());
        }
        Rootfs::Overlay {
            lowers: lowers.into_iter().map(Source::Dir).collect(),
            data: None,
            upper: Some(dir.join(UPPER)),
            work: Some(dir.join(WORK)),
            options,
        }
    }

    /// Makes what `prepare` makes; the caller removes it after an error.
    fn make(
        &self,
        id: &SnapshotId,
        image: &ImageLayers,
        volatile: bool,
    ) -> Result<Rootfs, PrepareError> {
        let snap = self.store.dir(Area::Snap)?;
        let pin = Pin {
            diff_ids: image.diff_ids.clone(),
            image: image.image.clone(),
            manifest: image.manifest.clone(),
        };
        let info = Info::new(MODE, volatile, self.store.boot().as_str(), pin);
        let (dir, file) = {
            // Pinned before the layers are looked for: the collector sees the pin, or has removed
            // them before we look.
            let _lock = self.store.lock_shared()?;
            let dir = snap.mkdir(id.as_str(), 0o700)?;
            let file = info.write(&dir)?;
            (dir, file)
        };
        if !volatile {
            rustix::fs::fsync(&file).at("sync", dir.path())?;
        }
        let lowers = self.lowers(&image.diff_ids, Kind::Container)?;
        let upper = dir.mkdir(UPPER, 0o755)?;
        dir.mkdir(WORK, 0o700)?;
        // overlayfs shows the upper's own root as the root of the merged tree.
        metadata::copy(&Dir::open(&lowers[0])?, &upper)?;
        if !volatile {
            dir.sync()?;
            snap.sync()?;
        }
        Ok(self.overlay(id, lowers, volatile))
    }

    fn info(&self, id: &SnapshotId) -> Result<Info, PrepareError> {
        let snap = self.store.dir(Area::Snap)?;
        match Info::read(snap, id.as_str(), MODE) {
            Err(InfoError::Path(error)) if error.is_not_found() => {
                Err(PrepareError::NotFound(id.clone()))
            }
            other => Ok(other?),
        }
    }
}

impl Snapshotter for Plain {
    fn mode(&self) -> StorageMode {
        StorageMode::Plain
    }

    fn prepare(
        &self,
        id: &SnapshotId,
        image: &ImageLayers,
        options: &PrepareOptions,
    ) -> Result<Rootfs, PrepareError> {
        match self.make(id, image, options.volatile) {
            Err(PrepareError::Path(error))
                if error.is_already_exists()
                    && error.path == self.store.path(Area::Snap).join(id.as_str()) =>
            {
                Err(PrepareError::Exists(id.clone()))
            }
            Err(error) => {
                // Best effort: what stays is removed with the operation that failed.
                let _ = self.remove(id);
                Err(error)
            }
            Ok(rootfs) => Ok(rootfs),
        }
    }

    fn view(&self, image: &ImageLayers) -> Result<Rootfs, PrepareError> {
        let mut lowers = self.lowers(&image.diff_ids, Kind::View)?;
        // An overlay without an upper wants two lowers; an image without layers is empty.
        if lowers.len() == 1 {
            return Ok(Rootfs::Dir(lowers.remove(0)));
        }
        Ok(Rootfs::Overlay {
            lowers: lowers.into_iter().map(Source::Dir).collect(),
            data: None,
            upper: None,
            work: None,
            options: self.support.view_options(),
        })
    }

    fn get(&self, id: &SnapshotId) -> Result<Rootfs, PrepareError> {
        let info = self.info(id)?;
        let lowers = self.lowers(&info.pin.diff_ids, Kind::Container)?;
        Ok(self.overlay(id, lowers, info.volatile))
    }

    fn upper(&self, id: &SnapshotId) -> Result<Option<PathBuf>, PrepareError> {
        self.info(id)?;
        let dir = self.store.path(Area::Snap).join(id.as_str());
        Ok(Some(dir.join(UPPER)))
    }

    fn usage(&self, id: &SnapshotId) -> Result<Usage, UsageError> {
        let snap = self.store.dir(Area::Snap)?;
        Ok(usage::of_tree(&snap.open_at(id.as_str())?.open_at(UPPER)?)?)
    }

    fn remove(&self, id: &SnapshotId) -> Result<(), RemoveError> {
        self.store
            .discard(self.store.dir(Area::Snap)?, id.as_str())?;
        Ok(())
    }
}

/// Publishes a generated folder under the name that its image key gives it.
fn publish(store: &Store, draft: lamina_store::Draft, name: &str) -> Result<(), PathError> {
    draft.publish(store.dir(Area::Images)?, name).map(drop)
}

/// How files are written that can be generated again.
const GENERATED: Durability = Durability::Volatile;
