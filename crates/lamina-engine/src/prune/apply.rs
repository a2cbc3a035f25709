//! Removing what a plan has.

use std::collections::BTreeSet;

use lamina_image::{Removed, StoreFault, UsedBy};
use lamina_store::{Area, Finished, RemovedId};
use lamina_types::{ContainerId, ImageId};

use super::{PlannedImage, PruneError, PrunePlan};
use crate::Engine;
use crate::container::remove::RemoveOptions;
use crate::record::{self, Record};
use crate::volumes::VolumeError;

/// Something of a plan that was not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// What was removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Containers.
    pub containers: Vec<ContainerId>,
    /// Names of images, and images.
    pub images: Vec<Removed>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// Partial downloads.
    pub partials: Vec<String>,
    /// Removals of before that can no longer be undone.
    pub expired: Vec<RemovedId>,
    /// How many bytes that frees, now or when it can no longer be undone.
    pub bytes: u64,
    /// What has come into use since the plan was made.
    pub skipped: Vec<Skipped>,
    /// By what it can be undone.
    pub finished: Finished,
}

impl Engine {
    /// Removes what a plan has and nothing else. With one that cannot be undone also what was removed
    /// before is freed.
    ///
    /// What is used by now, or is gone, is passed over and said. Killed in the middle, part of it
    /// is removed, and can be brought back.
    pub fn apply_prune(&self, plan: &PrunePlan) -> Result<Pruned, PruneError> {
        let mut pruned = Pruned {
            bytes: plan.bytes(),
            ..Pruned::default()
        };
        let mut removal = self.removal(plan.now);
        for container in &plan.containers {
            match self.remove_into(&mut removal, &container.id, RemoveOptions::default()) {
                Ok(()) => pruned.containers.push(container.id.clone()),
                Err(error) => pruned.skip(&container.name, &error, container.size),
            }
        }
        for image in &plan.images {
            self.prune_image(&mut removal, image, &mut pruned)?;
        }
        for (name, size) in &plan.volumes {
            match self.remove_volume(&mut removal, name) {
                Ok(()) => pruned.volumes.push(name.clone()),
                // Somebody has begun to use it, or it is gone.
                Err(error @ (VolumeError::InUse { .. } | VolumeError::NotFound(_))) => {
                    pruned.skip(&format!("volume {name}"), &error, *size);
                }
                Err(error) => return Err(error.into()),
            }
        }
        pruned.finished = removal.finish()?;
        if plan.rest {
            let planned = |name: &str| plan.partials.iter().any(|(known, _)| known == name);
            let collected = self.store.collect_with(&planned)?;
            pruned.partials = collected.partials.into_keys().collect();
        }
        let expired = self.store.removed().expire(&self.config.window, plan.now)?;
        if !plan.now {
            pruned.bytes += expired.collected.map_or(0, |collected| collected.bytes());
        }
        pruned.expired = expired.ids;
        Ok(pruned)
    }

    fn prune_image(
        &self,
        removal: &mut lamina_store::Removal,
        image: &PlannedImage,
        pruned: &mut Pruned,
    ) -> Result<(), PruneError> {
        let users: Vec<UsedBy> = self.image_users(&image.id)?;
        if let Some(user) = users.first() {
            let reason = format!("container {} uses it", user.container);
            pruned.skip(&image.id, &reason, image.freed);
            return Ok(());
        }
        let names = removal.refs(&image.names, None)?;
        let left = self.names_of(&image.id)?;
        pruned
            .images
            .extend(names.into_iter().map(Removed::Untagged));
        match left {
            0 => pruned.images.push(Removed::Deleted(image.id.clone())),
            _ => pruned.skip(&image.id, &"it has been given another name", image.freed),
        }
        Ok(())
    }

    fn names_of(&self, image: &ImageId) -> Result<usize, PruneError> {
        let names = self.store.refs().list().map_err(StoreFault::from)?;
        Ok(names.iter().filter(|entry| entry.image == *image).count())
    }

    /// Returns the volumes that the records of removed containers name, which can be brought back.
    pub(super) fn removed_records(&self) -> Result<BTreeSet<String>, PruneError> {
        let mut volumes = BTreeSet::new();
        let removed = self.store.dir(Area::Removed)?;
        for entry in self.store.removed().list()? {
            for container in &entry.containers {
                let path = format!("{}/container-{}/{}", entry.id, container.id, record::FILE);
                let Ok(bytes) = removed.read(&path, record::LIMIT) else {
                    continue;
                };
                if let Ok(record) = Record::parse(&bytes, || removed.path().join(&path)) {
                    volumes.extend(record.volumes.into_iter().map(|volume| volume.name));
                }
            }
        }
        Ok(volumes)
    }
}

impl Pruned {
    fn skip(&mut self, what: &dyn std::fmt::Display, reason: &dyn std::fmt::Display, size: u64) {
        self.bytes = self.bytes.saturating_sub(size);
        self.skipped.push(Skipped {
            what: what.to_string(),
            reason: reason.to_string(),
        });
    }
}
