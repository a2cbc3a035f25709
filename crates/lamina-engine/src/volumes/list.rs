//! `volume ls` and `volume inspect`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lamina_fs::PathError;
use lamina_store::Area;
use rustix::fs::FileType;

use super::{DATA, VolumeError, VolumeFile};
use crate::Engine;
use crate::container::find::FindError;

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339; empty where that is not known.
    pub created: String,
    /// Whether it was made for one container, or without a name.
    pub anonymous: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The options of its driver.
    pub options: BTreeMap<String, String>,
    /// Where its data are.
    pub mountpoint: PathBuf,
}

impl Engine {
    /// Lists the volumes by name. Changes nothing.
    pub fn volumes(&self) -> Result<Vec<Volume>, VolumeError> {
        let mut volumes = Vec::new();
        for entry in self.store.dir(Area::Volumes)?.entries()? {
            let Some(name) = entry.name.to_str() else {
                continue;
            };
            if entry.kind != FileType::Directory {
                continue;
            }
            match self.volume(name) {
                Err(VolumeError::NotFound(_)) => {}
                other => volumes.push(other?),
            }
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Finds a volume by its whole name.
    pub fn volume(&self, name: &str) -> Result<Volume, VolumeError> {
        let file = self.volume_file(name)?;
        Ok(Volume {
            name: name.to_owned(),
            created: file.created,
            anonymous: file.anonymous,
            labels: file.labels,
            options: file.options,
            mountpoint: self.store.path(Area::Volumes).join(name).join(DATA),
        })
    }

    pub(super) fn volume_file(&self, name: &str) -> Result<VolumeFile, VolumeError> {
        let missing = || VolumeError::NotFound(name.chars().take(160).collect());
        // What is no name cannot be one component either.
        super::check_name(name).map_err(|_| missing())?;
        match self.store.dir(Area::Volumes)?.open_at(name) {
            Err(error) if error.is_not_found() => Err(missing()),
            other => Ok(VolumeFile::read(&other?)),
        }
    }

    /// Lists who uses which volume: containers by id, running or not, and operations.
    pub fn volume_users(&self) -> Result<BTreeMap<String, BTreeSet<String>>, PathError> {
        // Operations first: one that ends meanwhile has left its container's record by then.
        let mut users = self.store.ops().volumes()?;
        for (volume, ids) in self.volumes_of_containers()? {
            users.entry(volume).or_default().extend(ids);
        }
        Ok(users)
    }

    /// The same of containers whose records are written.
    pub(super) fn volumes_of_containers(
        &self,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, PathError> {
        let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for id in self.container_ids()? {
            let volumes = match self.load(&id) {
                Ok(container) => container.record.volumes,
                Err(FindError::Path { source, .. }) => return Err(source),
                // Being made or removed, damaged, or of a later lamina.
                Err(_) => continue,
            };
            for volume in volumes {
                let ids = users.entry(volume.name).or_default();
                ids.insert(id.to_string());
            }
        }
        Ok(users)
    }
}
