//! `ps`: a line for each container.

use lamina_fs::PathError;
use lamina_monitor::{LivenessError, Time};
use lamina_types::mount::MountKind;
use lamina_types::oci::Config;
use lamina_types::{ContainerId, ContainerName, ErrorKind, ImageId};
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Engine;
use crate::container::find::{Container, FindError};
use crate::container::state::ContainerState;
use crate::container::{inspect, start};
use crate::record::Record;

/// What is shown of a container in the place of what only its record tells.
const UNKNOWN: &str = "<unknown>";

/// One line of `ps`.
#[derive(Debug, Clone)]
pub struct ContainerSummary {
    /// The container's id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The image as it was asked for, in its familiar form.
    pub image: String,
    /// The image's id.
    pub image_id: ImageId,
    /// The program with its arguments.
    pub command: Vec<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// What it is doing.
    pub state: ContainerState,
    /// The same in words, as Docker writes them.
    pub status: String,
    /// How it fares, `none` where nothing checks it.
    pub health: &'static str,
    /// Its labels, the image's among them.
    pub labels: BTreeMap<String, String>,
    /// What is mounted in it and where: names of volumes, and paths of this machine.
    pub mounts: Vec<(String, PathBuf)>,
    /// How many volumes are mounted in it.
    pub volumes: usize,
    /// The network it is in.
    pub network: &'static str,
}

/// Why containers cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The directory cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A container's record cannot be read.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be said whether a container runs.
    #[error("find out whether container {id} runs")]
    State {
        /// Which container.
        id: ContainerId,
        /// What failed.
        source: LivenessError,
    },
}

impl ListError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Find(error) => error.kind(),
            Self::State { source, .. } => source.kind(),
        }
    }
}

impl Engine {
    /// Lists the running containers, or `all`, the newest first.
    ///
    /// What killed processes left of ended runs is cleaned up on the way.
    pub fn list(&self, all: bool) -> Result<Vec<ContainerSummary>, ListError> {
        let now = Time::now();
        let mut list = Vec::new();
        // One after the other: each holds its folder open.
        for id in self.container_ids()? {
            let Some(container) = self.listed(&id)? else {
                continue;
            };
            let state = self.observe(&container)?;
            if !container.damaged && self.is_left_over(&container, &state) {
                // Best effort: one that cannot be removed is listed.
                let cleaned = self.cleanup(&container.record.id).is_ok();
                if cleaned && container.record.request.remove {
                    continue;
                }
            }
            if all || state.status.is_running() {
                let mut line = summary(container.record, state, now);
                if container.damaged {
                    line.image = UNKNOWN.to_owned();
                    line.status = "Damaged".to_owned();
                }
                list.push(line);
            }
        }
        list.sort_by(|a, b| b.created.cmp(&a.created));
        // Of failed commands too. What cannot be unlinked hurts nobody there.
        let _ = self.store.empty_trash();
        Ok(list)
    }

    /// Reads the record of every container that exists; one that goes away meanwhile is left out.
    pub(crate) fn records(&self) -> Result<Vec<Record>, ListError> {
        let mut records = Vec::new();
        for id in self.container_ids()? {
            records.extend(self.listed(&id)?.map(|container| container.record));
        }
        Ok(records)
    }

    /// Opens a container; `None` where it is being made or removed.
    pub(crate) fn listed(&self, id: &ContainerId) -> Result<Option<Container>, ListError> {
        match self.load_any(id) {
            Ok(container) => Ok(Some(container)),
            Err(FindError::NotFound(_)) => Ok(None),
            // One of another lamina must not hide the others.
            Err(FindError::Record(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns what a container is doing.
pub(crate) fn state_of(container: &Container) -> Result<ContainerState, ListError> {
    container.state().map_err(|source| ListError::State {
        id: container.record.id.clone(),
        source,
    })
}

fn summary(record: Record, state: ContainerState, now: Time) -> ContainerSummary {
    ContainerSummary {
        command: start::command(&record),
        image: record.request.image.familiar(),
        image_id: record.image.clone(),
        labels: labels(&record.request.labels, &record.image_config),
        mounts: mounts(&record),
        volumes: record.volumes.len(),
        network: inspect::network_name(record.request.isolation.network),
        id: record.id,
        name: record.name,
        created: record.created,
        status: state.text(now),
        health: state
            .health_status()
            .map_or("none", |health| health.as_str()),
        state,
    }
}

fn mounts(record: &Record) -> Vec<(String, PathBuf)> {
    let volumes = record.volumes.iter();
    let volumes = volumes.map(|volume| (volume.name.clone(), volume.target.clone()));
    let binds = record.request.mounts.iter();
    let binds = binds.filter_map(|mount| match &mount.kind {
        MountKind::Bind { source, .. } => {
            Some((source.display().to_string(), mount.target.clone()))
        }
        MountKind::Image { source, .. } => Some((source.clone(), mount.target.clone())),
        _ => None,
    });
    volumes.chain(binds).collect()
}

/// Returns the image's labels with the request's over them.
pub(crate) fn labels(asked: &BTreeMap<String, String>, image: &Config) -> BTreeMap<String, String> {
    let mut labels = image.labels.clone();
    labels.extend(asked.clone());
    labels
}
