//! Bringing back.

use lamina_fs::{Dir, Durability, LockError, PathError};
use lamina_types::{ContainerName, ErrorKind, Reference};

use super::fill::{complete, move_to};
use super::manifest::{Manifest, files};
use super::{CONTAINER, Removed, RemovedContainer, RemovedId, SNAP, VOLUME, parts};
use crate::area::Area;
use crate::ops::{Line, OpError};
use crate::pins;
use crate::refs::{RefError, Refs};
use crate::trash::TrashError;

/// How much of an id is shown.
const SHORT: usize = 12;

/// What was brought back.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The entry it was in; that is gone.
    pub id: RemovedId,
    /// The words of the command that had removed it.
    pub command: Vec<String>,
    /// Names of images.
    pub names: Vec<Reference>,
    /// Containers.
    pub containers: Vec<RemovedContainer>,
    /// Volumes that had gone by themselves.
    pub volumes: Vec<String>,
}

/// Why nothing was brought back.
#[derive(Debug, thiserror::Error)]
pub enum UndoRemovalError {
    /// Nothing was removed, or too long ago.
    #[error("nothing can be undone")]
    Nothing,
    /// No entry has this id.
    #[error("no such removal: {0}")]
    NotFound(String),
    /// The beginning of several ids.
    #[error("multiple removals found with the prefix {0}")]
    Ambiguous(String),
    /// A running command is still filling it.
    #[error("removal {0} is still under way")]
    Busy(RemovedId),
    /// A name of an image stands for something else by now.
    #[error("the name {name} has been given to another image since")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A container's name has been taken.
    #[error("the name {name} has been given to container {container} since")]
    ContainerNameTaken {
        /// The name.
        name: ContainerName,
        /// Who has it, shortened.
        container: String,
    },
    /// Something else is in the place of a container or volume.
    #[error("{0} is there again")]
    PlaceTaken(String),
    /// A file or folder could not be worked on.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What comes back could not be leased.
    #[error(transparent)]
    Op(#[from] OpError),
    /// A name could not be set.
    #[error(transparent)]
    Refs(#[from] RefError),
    /// The entry could not be discarded.
    #[error(transparent)]
    Trash(#[from] TrashError),
}

impl UndoRemovalError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Nothing | Self::NotFound(_) => ErrorKind::NotFound,
            Self::Ambiguous(_) => ErrorKind::InvalidArgument,
            Self::Busy(_) => ErrorKind::Unavailable,
            Self::NameTaken { .. } | Self::ContainerNameTaken { .. } | Self::PlaceTaken(_) => {
                ErrorKind::AlreadyExists
            }
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Op(error) => error.kind(),
            Self::Refs(error) => error.kind(),
            Self::Trash(error) => error.kind(),
        }
    }
}

impl Removed<'_> {
    /// Returns the entry that `text`, the beginning of an id, means; without one the latest.
    pub fn find(&self, text: Option<&str>) -> Result<RemovedId, UndoRemovalError> {
        let mut all = self.list()?;
        let Some(text) = text else {
            let latest = all.into_iter().next();
            return Ok(latest.ok_or(UndoRemovalError::Nothing)?.id);
        };
        all.retain(|one| one.id.as_str().starts_with(text) && !text.is_empty());
        if all.len() > 1 {
            return Err(UndoRemovalError::Ambiguous(text.to_owned()));
        }
        let found = all.into_iter().next();
        let missing = || UndoRemovalError::NotFound(text.chars().take(160).collect());
        Ok(found.ok_or_else(missing)?.id)
    }

    /// Brings back what one command removed: the same names, containers, layers and volumes.
    ///
    /// Nothing is brought back where a name has been taken since. Durable on return; killed at any
    /// point, the next call finishes.
    pub fn undo(&self, id: &RemovedId) -> Result<Restored, UndoRemovalError> {
        let store = self.0;
        let _lock = self.lock()?;
        let missing = || UndoRemovalError::NotFound(id.to_string());
        let removed = store.dir(Area::Removed)?;
        let dir = match removed.open_at(id.as_str()) {
            Err(error) if error.is_not_found() => return Err(missing()),
            other => other?,
        };
        if self.busy()?.contains(id) {
            return Err(UndoRemovalError::Busy(id.clone()));
        }
        let manifest = Manifest::read(&dir)?.ok_or_else(missing)?;
        complete(store, &dir, &manifest)?;
        self.check(&dir, &manifest)?;
        // What comes back is seen by the collector here until it is seen there.
        let mut lines = leases(&dir, &manifest)?;
        // If this dies, what of a container is back without its folder goes here again.
        lines.push(Line::Removal(id.clone()));
        let op = store.ops().begin("undo", &lines)?;
        for name in &manifest.volumes {
            put_back(
                &dir,
                &format!("{VOLUME}{name}"),
                store.dir(Area::Volumes)?,
                name,
            )?;
        }
        for container in &manifest.containers {
            self.put_container_back(&dir, container)?;
        }
        if let Some(file) = store.refs().restore_documents(&files(&manifest.refs))? {
            let name = manifest.refs.iter().find(|name| name.file == file);
            let entry = name.and_then(|name| Refs::parse(name.document.as_bytes()));
            let name = entry.map_or(file, |entry| entry.name.familiar());
            return Err(UndoRemovalError::NameTaken { name });
        }
        store.refs().remove_documents(&files(&manifest.made))?;
        store.discard(removed, id.as_str())?;
        removed.sync()?;
        op.finish()?;
        let transaction = manifest.into_transaction(id.clone());
        Ok(Restored {
            id: transaction.id,
            command: transaction.command,
            names: transaction.refs.into_iter().map(|one| one.name).collect(),
            containers: transaction.containers,
            volumes: transaction.volumes,
        })
    }

    /// Looks for whatever is in the way before anything is moved.
    fn check(&self, dir: &Dir, manifest: &Manifest) -> Result<(), UndoRemovalError> {
        let store = self.0;
        for name in &manifest.refs {
            let Some(entry) = Refs::parse(name.document.as_bytes()) else {
                continue;
            };
            let now = store.refs().document(&entry.name)?;
            if now.is_some_and(|(_, bytes)| bytes != name.document.as_bytes()) {
                let name = entry.name.familiar();
                return Err(UndoRemovalError::NameTaken { name });
            }
        }
        for container in &manifest.containers {
            if !dir.exists(format!("{CONTAINER}{}", container.id))? {
                continue;
            }
            match leads_to(store.dir(Area::Names)?, &container.name) {
                Some(other) if other != container.id.as_str() => {
                    return Err(UndoRemovalError::ContainerNameTaken {
                        name: container.name.clone(),
                        container: other.chars().take(SHORT).collect(),
                    });
                }
                _ => {}
            }
            for volume in &container.volumes {
                self.check_volume(dir, volume)?;
            }
        }
        for volume in &manifest.volumes {
            self.check_volume(dir, volume)?;
        }
        Ok(())
    }

    fn check_volume(&self, dir: &Dir, name: &str) -> Result<(), UndoRemovalError> {
        let here = dir.exists(format!("{VOLUME}{name}"))?;
        match here && self.0.dir(Area::Volumes)?.exists(name)? {
            true => Err(UndoRemovalError::PlaceTaken(format!("volume {name}"))),
            false => Ok(()),
        }
    }

    /// Moves a container back: its folder last, which is what makes it one.
    fn put_container_back(
        &self,
        dir: &Dir,
        container: &RemovedContainer,
    ) -> Result<(), UndoRemovalError> {
        let store = self.0;
        let id = container.id.as_str();
        let folder = format!("{CONTAINER}{id}");
        if !dir.exists(&folder)? {
            return Ok(());
        }
        for name in &container.volumes {
            put_back(
                dir,
                &format!("{VOLUME}{name}"),
                store.dir(Area::Volumes)?,
                name,
            )?;
        }
        put_back(dir, &format!("{SNAP}{id}"), store.dir(Area::Snap)?, id)?;
        let names = store.dir(Area::Names)?;
        match names.symlink(container.name.as_str(), format!("../{id}")) {
            Err(error) if error.is_already_exists() => {
                if leads_to(names, &container.name).as_deref() != Some(id) {
                    return Err(UndoRemovalError::ContainerNameTaken {
                        name: container.name.clone(),
                        container: "another".to_owned(),
                    });
                }
            }
            other => other?,
        }
        store.dir(Area::Snap)?.sync()?;
        let containers = store.dir(Area::Containers)?;
        dir.rename_to(&folder, containers, id, Durability::Durable)?;
        Ok(())
    }
}

/// Returns what an operation leases that brings an entry back.
fn leases(dir: &Dir, manifest: &Manifest) -> Result<Vec<Line>, PathError> {
    let mut lines = Vec::new();
    for name in &manifest.refs {
        if let Some(entry) = Refs::parse(name.document.as_bytes()) {
            lines.push(Line::Image(entry.target.digest));
            lines.push(Line::Image(entry.manifest.digest));
        }
    }
    for name in parts(dir, SNAP)? {
        if let Some(pin) = pins::read(dir, &name)? {
            for pin in pin.each() {
                lines.extend(pin.diff_ids.iter().cloned().map(Line::Layer));
                lines.extend(pin.image.iter().map(|image| Line::Blob(image.0.clone())));
                lines.extend(pin.manifest.clone().map(Line::Image));
            }
        }
    }
    Ok(lines)
}

fn put_back(from: &Dir, name: &str, to: &Dir, new: &str) -> Result<(), UndoRemovalError> {
    if move_to(from, name, to, new)? || !from.exists(name)? {
        return Ok(());
    }
    Err(UndoRemovalError::PlaceTaken(
        to.path().join(new).display().to_string(),
    ))
}

/// Returns the container that a name leads to.
fn leads_to(names: &Dir, name: &ContainerName) -> Option<String> {
    let target = rustix::fs::readlinkat(names, name.as_str(), Vec::new()).ok()?;
    let target = target.into_string().ok()?;
    target.rsplit('/').next().map(str::to_owned)
}
