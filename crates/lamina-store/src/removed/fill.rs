//! Removing: one entry that a command fills, or what it removes at once.

use lamina_fs::{Dir, Durability, LockError, PathError};
use lamina_types::{DiffId, ErrorKind, Reference};

use super::manifest::{Manifest, Name, files};
use super::{CONTAINER, RemovedContainer, RemovedId, SNAP, VOLUME, Window, now, parts};
use crate::area::Area;
use crate::collect::mark::{Document, Marker};
use crate::collect::{CollectError, CollectOptions, Collected};
use crate::ledger::disk;
use crate::meta::REMOVED;
use crate::ops::{self, Line, OpError, Operation};
use crate::refs::{Ref, RefError};
use crate::store::Store;
use crate::trash::TrashError;

/// What one command removes. Nothing is on the disk before the first thing is removed.
#[derive(Debug)]
pub struct Removal {
    store: Store,
    window: Window,
    entry: Option<Entry>,
    /// Whether something was removed at once that the collector has to look after.
    loose: bool,
}

#[derive(Debug)]
struct Entry {
    id: RemovedId,
    dir: Dir,
    op: Operation,
    manifest: Manifest,
}

/// How a [`Removal`] ended.
#[derive(Debug, Default)]
pub struct Finished {
    /// By what it can be undone; `None` where nothing was removed, or at once.
    pub id: Option<RemovedId>,
    /// Until when, in milliseconds since 1970.
    pub until: u64,
    /// What the collector took, where something was removed at once.
    pub collected: Option<Collected>,
}

/// Why something was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// A file or folder could not be worked on.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The operation could not be noted.
    #[error(transparent)]
    Op(#[from] OpError),
    /// A name could not be read or removed.
    #[error(transparent)]
    Refs(#[from] RefError),
    /// Something could not be moved to the trash.
    #[error(transparent)]
    Trash(#[from] TrashError),
    /// What nothing holds any more could not be collected.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

impl RemovalError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Op(error) => error.kind(),
            Self::Refs(error) => error.kind(),
            Self::Trash(error) => error.kind(),
            Self::Collect(error) => error.kind(),
        }
    }
}

impl Removal {
    /// Begins a command's removals.
    pub fn new(store: &Store, window: &Window) -> Self {
        Self {
            store: store.clone(),
            window: window.clone(),
            entry: None,
            loose: false,
        }
    }

    /// The same for what cannot be brought back.
    pub fn at_once(store: &Store) -> Self {
        Self::new(store, &Window::default())
    }

    /// Says whether what is removed can be brought back.
    pub fn is_undoable(&self) -> bool {
        !self.window.keep.is_zero()
    }

    /// Removes names that still stand for what they did, and returns those that went. Durable on
    /// return. `made` is a name that takes their place; it is set first.
    pub fn refs(
        &mut self,
        going: &[Ref],
        made: Option<&Ref>,
    ) -> Result<Vec<Reference>, RemovalError> {
        let refs = self.store.clone();
        let refs = refs.refs();
        let mut names = Vec::new();
        let mut found = Vec::new();
        for entry in going {
            let Some((file, document)) = refs.document(&entry.name)? else {
                continue;
            };
            let still = crate::refs::Refs::parse(&document).is_some_and(|now| now == *entry);
            if let (true, Ok(document)) = (still, String::from_utf8(document)) {
                names.push(entry.name.clone());
                found.push(Name { file, document });
            }
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        if self.is_undoable() {
            let size = self.size_of(going);
            let found = found.clone();
            self.note(|manifest| {
                manifest.refs.extend(found);
                manifest.size += size;
            })?;
        } else {
            self.loose = true;
        }
        // With one that is dead, the next open looks after the index, too.
        let op = match self.entry {
            Some(_) => None,
            None => Some(refs.0.ops().begin("remove", &[])?),
        };
        if let Some(made) = made {
            refs.set(made)?;
            if let Some((file, document)) = refs.document(&made.name)?
                && let Ok(document) = String::from_utf8(document)
                && self.entry.is_some()
            {
                self.note(|manifest| manifest.made.push(Name { file, document }))?;
            }
        }
        let gone = refs.remove_documents(&files(&found))?;
        op.map_or(Ok(()), Operation::finish)?;
        let names = names.into_iter().zip(gone);
        Ok(names
            .filter_map(|(name, gone)| gone.then_some(name))
            .collect())
    }

    /// Moves a container away. The caller holds its lock and has ended its run.
    ///
    /// Only for a removal that can be undone; one at once has its own way.
    pub fn container(&mut self, container: &RemovedContainer) -> Result<(), RemovalError> {
        let store = self.store.clone();
        let snap = disk::tree(store.dir(Area::Snap)?, container.id.as_str().as_ref());
        let volumes = store.dir(Area::Volumes)?;
        let sizes = container.volumes.iter();
        let sizes = sizes.map(|name| disk::tree(volumes, name.as_ref()));
        let size = snap + sizes.sum::<u64>();
        let entry = self.note(|manifest| {
            manifest.containers.push(container.clone());
            manifest.size += size;
        })?;
        let containers = store.dir(Area::Containers)?;
        let name = format!("{CONTAINER}{}", container.id);
        // From here on it is gone.
        containers.rename_to(container.id.as_str(), &entry.dir, name, Durability::Durable)?;
        Ok(gather(&store, &entry.dir, container)?)
    }

    /// Moves a volume away that no container uses.
    pub fn volume(&mut self, name: &str) -> Result<(), RemovalError> {
        let store = self.store.clone();
        let volumes = store.dir(Area::Volumes)?;
        if !self.is_undoable() {
            store.trash(volumes, name)?;
            return Ok(());
        }
        let size = disk::tree(volumes, name.as_ref());
        let entry = self.note(|manifest| {
            manifest.volumes.push(name.to_owned());
            manifest.size += size;
        })?;
        move_to(volumes, name, &entry.dir, &format!("{VOLUME}{name}"))?;
        Ok(())
    }

    /// Notes that something was removed at once whose parts may be held by nothing any more.
    pub fn loosen(&mut self) {
        self.loose = true;
    }

    /// Ends the removals. Of those at once, what nothing holds any more is collected.
    pub fn finish(mut self) -> Result<Finished, RemovalError> {
        let mut finished = Finished::default();
        if self.loose {
            finished.collected = Some(self.store.collect(&CollectOptions::default())?);
        }
        if let Some(entry) = self.entry.take() {
            entry.dir.sync()?;
            finished.until = entry.manifest.until;
            finished.id = Some(entry.id);
            entry.op.finish()?;
        }
        Ok(finished)
    }

    /// Writes more into the manifest, before it is done; makes the entry the first time.
    fn note(&mut self, more: impl FnOnce(&mut Manifest)) -> Result<&Entry, RemovalError> {
        let mut entry = match self.entry.take() {
            Some(entry) => entry,
            None => self.begin()?,
        };
        more(&mut entry.manifest);
        entry.manifest.write(&entry.dir)?;
        Ok(self.entry.insert(entry))
    }

    fn begin(&self) -> Result<Entry, RemovalError> {
        let store = &self.store;
        store.require(REMOVED)?;
        let id = RemovedId::random();
        let op = store.ops().begin("remove", &[Line::Removal(id.clone())])?;
        let removed = store.dir(Area::Removed)?;
        let dir = removed.mkdir(id.as_str(), 0o700)?;
        removed.sync()?;
        let keep = u64::try_from(self.window.keep.as_millis()).unwrap_or(u64::MAX);
        let now = now();
        let manifest = Manifest::new(now, now.saturating_add(keep), self.window.command.clone());
        Ok(Entry {
            id,
            dir,
            op,
            manifest,
        })
    }

    /// Returns the bytes of content in the layers of images, each layer once; what cannot be read
    /// has none. For people, and to know when there may be too much.
    fn size_of(&self, going: &[Ref]) -> u64 {
        let mut marker = Marker::new(&self.store);
        let mut layers: Vec<DiffId> = Vec::new();
        for entry in going {
            if let Ok(Document::Manifest { config, .. }) = marker.manifest(&entry.manifest.digest)
                && let Ok(Document::Config(diff_ids)) = marker.config(&config)
            {
                layers.extend(diff_ids);
            }
        }
        layers.sort();
        layers.dedup();
        let size = |diff_id: &DiffId| match self.store.layers().get(diff_id) {
            Ok(Some(layer)) => layer.info.size,
            _ => 0,
        };
        layers.iter().map(size).sum()
    }
}

/// Moves the rest of a container into the entry that has its folder. Idempotent.
fn gather(store: &Store, dir: &Dir, container: &RemovedContainer) -> Result<(), PathError> {
    ops::remove_name(store, &container.name, &container.id)?;
    let id = container.id.as_str();
    move_to(store.dir(Area::Snap)?, id, dir, &format!("{SNAP}{id}"))?;
    for volume in &container.volumes {
        let to = format!("{VOLUME}{volume}");
        move_to(store.dir(Area::Volumes)?, volume, dir, &to)?;
    }
    Ok(())
}

/// Renames what is there and not yet where it goes to.
pub(super) fn move_to(from: &Dir, name: &str, to: &Dir, new: &str) -> Result<bool, PathError> {
    if to.exists(new)? {
        return Ok(false);
    }
    match from.rename_to(name, to, new, Durability::Volatile) {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Completes what a killed process had begun to remove; an entry that nothing was taken for goes.
pub(crate) fn settle(store: &Store, id: &RemovedId) -> Result<(), TrashError> {
    let removed = store.dir(Area::Removed)?;
    let dir = match removed.open_at(id.as_str()) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    let manifest = Manifest::read(&dir)?.unwrap_or_default();
    complete(store, &dir, &manifest)?;
    let moved = [CONTAINER, SNAP, VOLUME];
    let mut taken = false;
    for word in moved {
        taken |= !parts(&dir, word)?.is_empty();
    }
    let refs = store.dir(Area::Refs)?;
    for (file, document) in files(&manifest.refs) {
        // What cannot be read has at least not been removed by us.
        taken |= match refs.read(file, document.len() as u64) {
            Err(error) if error.is_not_found() => true,
            Err(_) => false,
            Ok(bytes) => bytes != document,
        };
    }
    if !taken {
        // Nothing was removed, or all of it is back.
        store
            .refs()
            .remove_documents(&files(&manifest.made))
            .map_err(as_path(&dir))?;
        store.discard(removed, id.as_str())?;
    }
    Ok(())
}

/// Tells of a name's failure as of one of the entry's.
fn as_path(dir: &Dir) -> impl FnOnce(RefError) -> PathError {
    let path = dir.path().to_path_buf();
    move |error| match error {
        RefError::Path(error) => error,
        other => PathError {
            act: "settle",
            path,
            source: std::io::Error::other(other),
        },
    }
}

/// Gathers the parts of those containers whose folder was moved.
pub(super) fn complete(store: &Store, dir: &Dir, manifest: &Manifest) -> Result<(), PathError> {
    for container in &manifest.containers {
        if dir.exists(format!("{CONTAINER}{}", container.id))? {
            gather(store, dir, container)?;
        }
    }
    Ok(())
}
