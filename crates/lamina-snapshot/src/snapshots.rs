//! The snapshots of a store: what is the same in every mode.

use std::path::PathBuf;

use lamina_fs::At;
use lamina_store::{Area, LayerError, Pin, SnapshotId, Store};
use lamina_types::{DiffId, Rootfs, Source};

use crate::info::{Info, InfoError};
use crate::lower::Lower;
use crate::probe::Support;
use crate::snapshotter::{
    ImageKind, ImageLayers, KnownTrees, PrepareError, PrepareOptions, RemoveError, Snapshotter,
    StorageMode, Usage, UsageError,
};
use crate::{erofs, plain, usage};

const UPPER: &str = "upper";
const WORK: &str = "work";

/// The snapshots of a store whose filesystem takes certain options.
#[derive(Debug)]
pub(crate) struct Snapshots {
    pub(crate) store: Store,
    /// What new snapshots are made in; not [`StorageMode::Auto`].
    pub(crate) mode: StorageMode,
    pub(crate) reason: String,
    pub(crate) plain: Support,
    /// Of mode erofs, or why it does not work.
    pub(crate) erofs: Result<Support, String>,
}

impl Snapshots {
    /// Returns what an image is in a mode, made where it is missing.
    fn lower(
        &self,
        mode: StorageMode,
        diff_ids: &[DiffId],
        kind: ImageKind,
    ) -> Result<Lower, PrepareError> {
        match mode {
            StorageMode::Erofs => {
                self.support(mode)?;
                erofs::lower(&self.store, diff_ids, kind)
            }
            StorageMode::Auto | StorageMode::Plain => plain::lower(&self.store, diff_ids, kind),
        }
    }

    /// Returns what an image is in the mode of new snapshots; of an image that cannot have it, in
    /// mode plain: a layer of an older store that was not converted has no split stream, from
    /// which the merged image is made, but always its tree.
    fn new_lower(
        &self,
        diff_ids: &[DiffId],
        kind: ImageKind,
    ) -> Result<(StorageMode, Lower), PrepareError> {
        match self.lower(self.mode, diff_ids, kind) {
            Err(PrepareError::Layer(LayerError::NoSplit(_))) => {
                let mode = StorageMode::Plain;
                Ok((mode, self.lower(mode, diff_ids, kind)?))
            }
            other => Ok((self.mode, other?)),
        }
    }

    fn support(&self, mode: StorageMode) -> Result<Support, PrepareError> {
        match (mode, &self.erofs) {
            (StorageMode::Erofs, Ok(support)) => Ok(*support),
            (StorageMode::Erofs, Err(reason)) => Err(PrepareError::ModeUnusable {
                mode: mode.name(),
                reason: reason.clone(),
            }),
            _ => Ok(self.plain),
        }
    }

    fn overlay(
        &self,
        mode: StorageMode,
        id: &SnapshotId,
        lower: Lower,
        volatile: bool,
    ) -> Result<Rootfs, PrepareError> {
        let dir = self.store.path(Area::Snap).join(id.as_str());
        let support = self.support(mode)?;
        let mut options = support.options();
        if volatile && support.volatile {
            options.push("volatile".to_owned());
        }
        Ok(Rootfs::Overlay {
            lowers: lower.sources,
            data: lower.data,
            upper: Some(dir.join(UPPER)),
            work: Some(dir.join(WORK)),
            options,
        })
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
            mounted: image.mounted.clone(),
        };
        let mut info = Info::new(self.mode.name(), volatile, self.store.boot().as_str(), pin);
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
        let (mode, lower) = self.new_lower(&image.diff_ids, ImageKind::Container)?;
        if mode != self.mode {
            mode.name().clone_into(&mut info.mode);
            info.rewrite(&dir)?;
        }
        for mounted in &image.mounted {
            self.new_lower(&mounted.diff_ids, ImageKind::View)?;
        }
        let upper = dir.mkdir(UPPER, 0o755)?;
        dir.mkdir(WORK, 0o700)?;
        lower.root.give_to(&upper)?;
        if !volatile {
            dir.sync()?;
            snap.sync()?;
        }
        self.overlay(mode, id, lower, volatile)
    }

    /// Reads what a snapshot stands on, and the mode it was made in.
    fn info(&self, id: &SnapshotId) -> Result<(Info, StorageMode), PrepareError> {
        let snap = self.store.dir(Area::Snap)?;
        let info = match Info::read(snap, id.as_str()) {
            Err(InfoError::Path(error)) if error.is_not_found() => {
                return Err(PrepareError::NotFound(id.clone()));
            }
            other => other?,
        };
        let modes = [StorageMode::Plain, StorageMode::Erofs];
        match modes.into_iter().find(|mode| mode.name() == info.mode) {
            Some(mode) => Ok((info, mode)),
            None => Err(InfoError::Unknown {
                path: snap.path().join(id.as_str()),
                what: format!("storage mode {:?}", info.mode),
            }
            .into()),
        }
    }
}

impl Snapshotter for Snapshots {
    fn mode(&self) -> StorageMode {
        self.mode
    }

    fn reason(&self) -> String {
        self.reason.clone()
    }

    fn ready(&self, image: &ImageLayers, known: &KnownTrees) -> Result<(), PrepareError> {
        // The generated top of plain trees is small; a merged image is what a pull ends with.
        if self.mode == StorageMode::Erofs {
            self.support(self.mode)?;
            match erofs::make(&self.store, &image.diff_ids, known) {
                // Then it is one of plain trees: see there.
                Err(PrepareError::Layer(LayerError::NoSplit(_))) => {
                    self.new_lower(&image.diff_ids, ImageKind::Container)?;
                }
                made => made?,
            }
        }
        Ok(())
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
        let (mode, mut lower) = self.new_lower(&image.diff_ids, ImageKind::View)?;
        // An overlay without an upper wants two lowers; an image without layers is empty.
        if let ([Source::Dir(_)], None) = (lower.sources.as_slice(), &lower.data)
            && let Some(Source::Dir(only)) = lower.sources.pop()
        {
            return Ok(Rootfs::Dir(only));
        }
        let support = self.support(mode)?;
        let options = match lower.data {
            Some(_) => support.data_options(),
            None => support.view_options(),
        };
        Ok(Rootfs::Overlay {
            lowers: lower.sources,
            data: lower.data,
            upper: None,
            work: None,
            options,
        })
    }

    fn get(&self, id: &SnapshotId) -> Result<Rootfs, PrepareError> {
        let (info, mode) = self.info(id)?;
        let lower = self.lower(mode, &info.pin.diff_ids, ImageKind::Container)?;
        self.overlay(mode, id, lower, info.volatile)
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

    fn retire(&self, id: &SnapshotId) -> Result<Option<PathBuf>, RemoveError> {
        let snap = self.store.dir(Area::Snap)?;
        let name = self.store.trash(snap, id.as_str())?;
        Ok(name.map(|name| self.store.path(Area::Trash).join(name)))
    }

    fn remove(&self, id: &SnapshotId) -> Result<(), RemoveError> {
        self.store
            .discard(self.store.dir(Area::Snap)?, id.as_str())?;
        Ok(())
    }
}
