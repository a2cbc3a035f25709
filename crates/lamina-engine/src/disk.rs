//! `df`: what containers and volumes are, for the sizes that the store has measured.

use std::collections::BTreeSet;

use lamina_fs::PathError;
use lamina_types::ContainerId;

use crate::Engine;
use crate::container::state::ContainerStatus;
use crate::record::VolumeUse;

/// A container as `df` knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUse {
    /// The container's id.
    pub id: ContainerId,
    /// Its name; empty where its record is damaged.
    pub name: String,
    /// The image as it was asked for; empty where its record is damaged.
    pub image: String,
    /// What it is doing, in one word.
    pub status: String,
    /// Whether it runs.
    pub running: bool,
    /// The volumes it uses.
    pub volumes: BTreeSet<String>,
}

impl Engine {
    /// Lists every container, the damaged ones too: they take space like others. Changes nothing.
    pub fn container_uses(&self) -> Result<Vec<ContainerUse>, PathError> {
        let mut uses = Vec::new();
        for id in self.container_ids()? {
            let found = self.load(&id);
            // One that is being made or removed, or whose record is damaged.
            let Ok(container) = found else {
                uses.push(ContainerUse {
                    id,
                    name: String::new(),
                    image: String::new(),
                    status: "damaged".to_owned(),
                    running: false,
                    volumes: BTreeSet::new(),
                });
                continue;
            };
            let status = container
                .state()
                .map_or(ContainerStatus::Dead, |state| state.status);
            let record = container.record;
            let name = |volume: VolumeUse| volume.name;
            uses.push(ContainerUse {
                id,
                name: record.name.to_string(),
                image: record.request.image.familiar(),
                status: status.as_str().to_owned(),
                running: status.is_running(),
                volumes: record.volumes.into_iter().map(name).collect(),
            });
        }
        Ok(uses)
    }
}
