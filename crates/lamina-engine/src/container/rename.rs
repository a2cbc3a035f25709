//! `rename`: a container gets another name.

use lamina_fs::{Durability, LockError, PathError};
use lamina_store::{Area, Line, OpError};
use lamina_types::{ContainerId, ContainerName, ErrorKind};

use crate::Engine;
use crate::container::bundle::change_config;
use crate::container::cleanup;
use crate::container::find::{Container, FindError};
use crate::record;

/// Why a container cannot be renamed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It has that name.
    #[error("renaming a container with the same name as its current name")]
    Same,
    /// The name is taken.
    #[error("the container name {name:?} is already in use by container {holder}")]
    Taken {
        /// The name.
        name: String,
        /// Whose it is.
        holder: String,
    },
    /// Somebody else holds the container for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file of it cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The operation could not be noted.
    #[error("note the operation")]
    Op(#[from] OpError),
}

impl RenameError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Same => ErrorKind::InvalidArgument,
            Self::Taken { .. } => ErrorKind::AlreadyExists,
            Self::Lock(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Op(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Gives a container, running or not, another name.
    ///
    /// The record decides which of the two names is the container's: killed in the middle, the
    /// next command takes the other one away.
    pub fn rename(&self, id: &ContainerId, name: &ContainerName) -> Result<(), RenameError> {
        let missing = || FindError::NotFound(id.to_string());
        let _lock = cleanup::lock(&self.load_supervised(id)?)?.ok_or_else(missing)?;
        let mut container = self.load(id)?;
        let former = container.record.name.clone();
        if former == *name {
            return Err(RenameError::Same);
        }
        let names = self.store.dir(Area::Names)?;
        if let Some(holder) = self.named(name)? {
            return Err(taken(name, Some(holder)));
        }
        let operation = self.store.ops().begin(
            "rename",
            &[Line::Renaming {
                container: id.clone(),
                names: [former.clone(), name.clone()],
            }],
        )?;
        match names.symlink(name.as_str(), format!("../{id}")) {
            Err(error) if error.is_already_exists() => {
                return Err(taken(name, self.named(name)?));
            }
            other => other?,
        }
        names.sync()?;
        container.record.name = name.clone();
        self.rewrite(&container)?;
        // Takes the former name away, as it would take the new one away before.
        if let Some(lamina_store::UndoError::Path(error)) = operation.undo().into_iter().next() {
            return Err(error.into());
        }
        names.sync()?;
        // The monitor of a run tells of the end under this name; where it cannot be told, under
        // the former.
        self.tell_name(id, name);
        if let Ok(mut session) = self.reach(&container) {
            let _ = session.rename(name);
        }
        let former = format!("/{former}");
        self.note_container(&container.record, "rename", &[("oldName", &former)]);
        Ok(())
    }

    /// Changes the name in the bundle of a run, for a monitor that takes it over; best effort.
    fn tell_name(&self, id: &ContainerId, name: &ContainerName) {
        if let Ok(bundle) = self.run_dir().and_then(|run| run.open_at(id.as_str())) {
            let _ = change_config(&bundle, |config| {
                if let Some(events) = &mut config.events {
                    let name = name.to_string();
                    events.attributes.insert("name".to_owned(), name);
                }
            });
        }
    }

    /// Writes the record of a container again, durably; under its lock.
    pub(crate) fn rewrite(&self, container: &Container) -> Result<(), PathError> {
        let bytes = container.record.to_bytes();
        container
            .dir
            .replace(record::FILE, &bytes, 0o600, Durability::Durable)
    }
}

fn taken(name: &ContainerName, holder: Option<ContainerId>) -> RenameError {
    RenameError::Taken {
        name: name.to_string(),
        holder: holder.map(|id| id.to_string()).unwrap_or_default(),
    }
}
