//! `commit`: a container's changes become an image; the container stays as it was.

use std::os::fd::AsFd;

use lamina_fs::{Dir, LockError, PathError, Root};
use lamina_image::{CommitBase, CommitOptions, Silent, SpoolWriter};
use lamina_layer::{CaptureError, capture};
use lamina_monitor::LivenessError;
use lamina_monitor::events::Kind;
use lamina_types::oci::Config;
use lamina_types::{ContainerId, ErrorKind, ImageId, Reference};
use serde_json::{Map, Value};

use crate::Engine;
use crate::container::cleanup;
use crate::container::find::{Container, FindError};
use crate::container::health;
use crate::container::list::labels;
use crate::container::pause::PauseError;
use crate::process::configured_env;
use crate::record::Record;
use crate::rootfs::{self, RootfsError};

/// What a container is to become.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The image's name; without one it is found by its id.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: String,
    /// A message for its history.
    pub message: String,
    /// Dockerfile instructions that alter the configuration.
    pub changes: Vec<String>,
    /// Whether a running container is held still while its changes are copied.
    pub pause: bool,
}

/// Why a container cannot become an image.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// There is no such container, or its record is damaged.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Somebody else holds the container for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be said whether it runs.
    #[error(transparent)]
    Liveness(#[from] LivenessError),
    /// It cannot be held still.
    #[error("hold the container still")]
    Pause(#[source] PauseError),
    /// Its root filesystem is not there, or has no writable layer.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// What its image is made of is not known.
    #[error("the image of container {0} is not known")]
    NoBase(ContainerId),
    /// The pins of the store cannot be read.
    #[error(transparent)]
    Pin(#[from] lamina_store::PinError),
    /// A directory cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The image cannot be made.
    #[error(transparent)]
    Image(#[from] lamina_image::CommitError),
}

impl CommitError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Liveness(error) => error.kind(),
            Self::Pause(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
            Self::NoBase(_) => ErrorKind::DataLoss,
            Self::Pin(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Image(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Makes an image of a container's image and what the container has changed.
    ///
    /// Holds the container's lock while the changes are copied, so that nobody starts or removes
    /// it; the image is made after that. Durable when it returns; killed before, nothing is left,
    /// and a container that was held still goes on with the next command.
    pub fn commit(
        &self,
        id: &ContainerId,
        request: &CommitRequest,
    ) -> Result<ImageId, CommitError> {
        let missing = || FindError::NotFound(id.to_string());
        let lock = cleanup::lock(&self.load_supervised(id)?)?.ok_or_else(missing)?;
        let container = self.load(id)?;
        let images = self.images();
        let options = options(&container.record, request);
        let mut commit = images.begin_commit(&self.base(&container)?, options)?;
        let held = match request.pause && cleanup::is_alive(&container)? {
            true => match self.hold_still(&container, commit.operation()) {
                // It has ended in this moment.
                Err(PauseError::NotRunning(_)) => None,
                other => other.map_err(CommitError::Pause)?,
            },
            false => None,
        };
        let (upper, below, merged) = self.trees(id)?;
        commit.capture(|out| {
            let share = |out: &mut &mut SpoolWriter<'_>, path: &[u8], file: &_, size| {
                out.share(path, file, size)
            };
            let (_, entries) = capture(upper.as_fd(), &below, &merged, out, Some(share))?;
            Ok::<_, CaptureError>(entries)
        })?;
        drop((held, lock));
        let image = commit.publish(&Silent)?;
        self.note_commit(&container.record, request, &image);
        Ok(image)
    }

    fn note_commit(&self, record: &Record, request: &CommitRequest, image: &ImageId) {
        let id = image.to_string();
        let name = request.name.as_ref().map(Reference::familiar);
        let name = name.unwrap_or_default();
        if !name.is_empty() {
            self.note(Kind::Image, "tag", &id, &[("name", &name)]);
        }
        let comment = request.message.as_str();
        let more = [
            ("comment", comment),
            ("imageID", &*id),
            ("imageRef", &*name),
        ];
        self.note_container(record, "commit", &more);
    }

    /// Returns the writable layer, what is below it, and both as the container sees them.
    fn trees(&self, id: &ContainerId) -> Result<(Dir, Root, Root), CommitError> {
        let rootfs = self.existing_rootfs(id)?;
        let merged = rootfs::open(&rootfs)?;
        let (upper, below) =
            rootfs::split(rootfs).ok_or_else(|| CommitError::NoBase(id.clone()))?;
        let below = rootfs::open(&below)?;
        Ok((Dir::open(upper)?, below, merged))
    }

    /// Returns the documents of the image that a container stands on, which its layer keeps.
    fn base(&self, container: &Container) -> Result<CommitBase, CommitError> {
        let record = &container.record;
        let pins = self.store.pins().list()?.into_iter();
        let mut pins = pins.filter(|(snapshot, _)| snapshot.as_str() == record.id.as_str());
        let manifest = pins.next().and_then(|(_, pin)| pin.manifest);
        Ok(CommitBase {
            image: record.image.clone(),
            manifest: manifest.ok_or_else(|| CommitError::NoBase(record.id.clone()))?,
            diff_ids: record.layers.clone(),
        })
    }
}

fn options(record: &Record, request: &CommitRequest) -> CommitOptions {
    let config = config(record);
    CommitOptions {
        name: request.name.clone(),
        author: request.author.clone(),
        message: request.message.clone(),
        // As Docker: the arguments, not the entrypoint.
        created_by: config.cmd.join(" "),
        config,
        changes: request.changes.clone(),
    }
}

/// Returns what a container runs with: its image's configuration with its own request over it.
fn config(record: &Record) -> Config {
    let (request, process) = (&record.request, &record.request.process);
    let mut config = record.image_config.clone();
    config.labels = labels(&request.labels, &record.image_config);
    if let Some(entrypoint) = &process.entrypoint {
        config.entrypoint.clone_from(entrypoint);
        config.cmd.clear();
    }
    if !process.args.is_empty() {
        config.cmd.clone_from(&process.args);
    }
    config.env = configured_env(request, &record.image_config);
    if let Some(user) = &process.user {
        config.user = user.to_string();
    }
    if let Some(directory) = &process.workdir {
        config.working_dir = directory.display().to_string();
    }
    if let Some(signal) = process.stop_signal {
        config.stop_signal = signal.to_string();
    }
    if let Some(check) = health::merged(record) {
        let check = serde_json::to_value(check).unwrap_or_default();
        config.other.insert("Healthcheck".to_owned(), check);
    }
    let anonymous = record.volumes.iter().filter(|volume| volume.anonymous);
    for volume in anonymous {
        let target = volume.target.display().to_string();
        let empty = || Value::Object(Map::new());
        config.volumes.entry(target).or_insert_with(empty);
    }
    config
}
