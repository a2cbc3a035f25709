//! From what a person types (a name, an id, the beginning of an id) to a container.

use lamina_fs::{Dir, PathError};
use lamina_store::Area;
use lamina_types::{ContainerId, ContainerName, ErrorKind};

use crate::Engine;
use crate::record::{self, Record, RecordError};

/// Why a container is not found or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Neither a name nor the beginning of an id.
    #[error("no such container: {0}")]
    NotFound(String),
    /// The beginning of several ids.
    #[error("multiple containers found with the prefix {0}")]
    Ambiguous(String),
    /// The container's directory cannot be read.
    #[error("read container {id}")]
    Path {
        /// Which container.
        id: String,
        /// What failed.
        source: PathError,
    },
    /// Its record is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl FindError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Ambiguous(_) => ErrorKind::InvalidArgument,
            Self::Path { source, .. } => source.kind(),
            Self::Record(error) => error.kind(),
        }
    }
}

/// A container that exists: its directory, open, and what it was made from.
#[derive(Debug)]
pub(crate) struct Container {
    pub dir: Dir,
    pub record: Record,
    /// Its record cannot be read, and this one was made up: what is known without it.
    pub damaged: bool,
}

impl Engine {
    /// Finds a container: by its whole id, else its name, else a prefix that only it has.
    pub fn find(&self, text: &str) -> Result<ContainerId, FindError> {
        let failed = |source| FindError::Path {
            id: text.to_owned(),
            source,
        };
        let containers = self.store.dir(Area::Containers).map_err(failed)?;
        if let Ok(id) = text.parse::<ContainerId>()
            && containers.exists(id.as_str()).map_err(failed)?
        {
            return Ok(id);
        }
        // Docker's API writes names with a slash before them.
        let name = text.strip_prefix('/').unwrap_or(text);
        if let Ok(name) = name.parse::<ContainerName>()
            && let Some(id) = self.named(&name).map_err(failed)?
        {
            return Ok(id);
        }
        let hex = !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex {
            return Err(FindError::NotFound(text.chars().take(160).collect()));
        }
        let ids = self.container_ids().map_err(failed)?;
        let mut found = ids.into_iter().filter(|id| id.as_str().starts_with(text));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(FindError::Ambiguous(text.to_owned())),
            (None, _) => Err(FindError::NotFound(text.to_owned())),
        }
    }

    /// Returns the container that has a name.
    pub(crate) fn named(&self, name: &ContainerName) -> Result<Option<ContainerId>, PathError> {
        let names = self.store.dir(Area::Names)?;
        let Ok(target) = rustix::fs::readlinkat(names, name.as_str(), Vec::new()) else {
            return Ok(None);
        };
        let target = target.to_str().unwrap_or_default();
        Ok(target.rsplit('/').next().and_then(|id| id.parse().ok()))
    }

    /// Lists the ids of all containers whose directory exists.
    pub(crate) fn container_ids(&self) -> Result<Vec<ContainerId>, PathError> {
        let entries = self.store.dir(Area::Containers)?.entries()?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry.name.to_str()?.parse().ok())
            .collect())
    }

    /// Opens a container whatever its record is like: one that is damaged is replaced by what the
    /// container's folder, its name and its writable layer tell, which is enough to list and to
    /// remove it.
    pub(crate) fn load_any(&self, id: &ContainerId) -> Result<Container, FindError> {
        let error = match self.load(id) {
            Err(
                error @ (FindError::Record(RecordError::Format { .. }) | FindError::Path { .. }),
            ) => error,
            other => return other,
        };
        let containers = self.store.dir(Area::Containers);
        let Ok(dir) = containers.and_then(|dir| dir.open_at(id.as_str())) else {
            return Err(error);
        };
        let pins = self.store.pins().list().unwrap_or_default();
        let pin = pins
            .into_iter()
            .find(|(one, _)| one.as_str() == id.as_str());
        Ok(Container {
            dir,
            record: Record::made_up(id, self.name_of(id), pin.map(|(_, pin)| pin)),
            damaged: true,
        })
    }

    /// Returns the name that leads to a container.
    fn name_of(&self, id: &ContainerId) -> Option<ContainerName> {
        let entries = self.store.dir(Area::Names).and_then(|dir| dir.entries());
        let names = entries.unwrap_or_default().into_iter();
        let mut names = names.filter_map(|entry| entry.name.to_str()?.parse().ok());
        names.find(|name| matches!(self.named(name), Ok(Some(found)) if found == *id))
    }

    /// Opens a container and reads its record.
    pub(crate) fn load(&self, id: &ContainerId) -> Result<Container, FindError> {
        let failed = |source: PathError| {
            if source.is_not_found() {
                FindError::NotFound(id.to_string())
            } else {
                FindError::Path {
                    id: id.to_string(),
                    source,
                }
            }
        };
        let containers = self.store.dir(Area::Containers).map_err(failed)?;
        let dir = containers.open_at(id.as_str()).map_err(failed)?;
        let bytes = dir.read(record::FILE, record::LIMIT).map_err(failed)?;
        let record = Record::parse(&bytes, || dir.path().join(record::FILE))?;
        Ok(Container {
            dir,
            record,
            damaged: false,
        })
    }
}
