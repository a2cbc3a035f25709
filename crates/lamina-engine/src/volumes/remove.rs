//! `volume rm`, and the end of anonymous volumes.

use lamina_store::{Area, Removal};

use super::{VolumeError, VolumeFile, names_lock};
use crate::Engine;
use crate::record::Record;

impl Engine {
    /// Removes a volume as a part of a command's removals, which may be undone; never one that a
    /// container uses, running or not.
    pub fn remove_volume(&self, removal: &mut Removal, name: &str) -> Result<(), VolumeError> {
        let _alone = names_lock(&self.store, true)?;
        self.volume_file(name)?;
        self.refuse_used("remove", name)?;
        removal.volume(name)?;
        self.note_volume("destroy", name);
        Ok(())
    }

    /// Refuses what a container or an operation uses; the caller holds the names.
    pub(super) fn refuse_used(&self, act: &'static str, name: &str) -> Result<(), VolumeError> {
        let Some(users) = self.volume_users()?.remove(name) else {
            return Ok(());
        };
        Err(VolumeError::InUse {
            act,
            name: name.to_owned(),
            users: users.into_iter().collect::<Vec<_>>().join(", "),
        })
    }

    /// Returns the volumes that go with a container: those that were made for it alone and that
    /// no other has been given since.
    pub(crate) fn own_volumes(&self, record: &Record) -> Result<Vec<String>, VolumeError> {
        self.own_volumes_among(record, &|user| user == record.id.as_str())
    }

    /// The same for a container that goes with others: a volume goes with the last of those that
    /// it was given to.
    pub(crate) fn own_volumes_among(
        &self,
        record: &Record,
        goes: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<String>, VolumeError> {
        let mut own = Vec::new();
        for volume in record.volumes.iter().filter(|volume| volume.anonymous) {
            let Ok(dir) = self.store.dir(Area::Volumes)?.open_at(&volume.name) else {
                continue;
            };
            if VolumeFile::read(&dir).shared {
                let users = self.volume_users()?.remove(&volume.name);
                let others = users.unwrap_or_default();
                if !others.iter().all(|user| goes(user)) {
                    continue;
                }
            }
            own.push(volume.name.clone());
        }
        Ok(own)
    }

    /// Removes the volumes that go with a container.
    pub(crate) fn remove_own_volumes(&self, record: &Record) -> Result<(), VolumeError> {
        if !record.volumes.iter().any(|volume| volume.anonymous) {
            return Ok(());
        }
        let _alone = names_lock(&self.store, true)?;
        for name in self.own_volumes(record)? {
            self.store.dir(Area::Volumes)?.remove_tree(&name)?;
            self.note_volume("destroy", &name);
        }
        Ok(())
    }
}
