//! `create`: an image and a request become a container that can be started.
//!
//! What is made, in this order: name, directory, writable layer, volumes, generated files, and the
//! record last. Each is noted in the operation before it is made; a container exists for others
//! once its record does and the operation is finished.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lamina_fs::{At, Dir, Durability, PathError};
use lamina_image::{EnsureError, Image, Progress};
use lamina_monitor::Time;
use lamina_snapshot::{ImageLayers, PrepareOptions};
use lamina_store::{Area, Line, OpError, Operation};
use lamina_types::explain::Explainer;
use lamina_types::mount::MountKind;
use lamina_types::{ContainerId, ContainerName, ErrorKind, Rootfs};
use rustix::io::Errno;

use crate::Engine;
use crate::container::find::FindError;
use crate::events;
use crate::files::write_etc;
use crate::logging::{self, LogRequestError};
use crate::names;
use crate::process::{self, ProcessError};
use crate::record::{self, ImageUse, Record};
use crate::request::CreateRequest;
use crate::rootfs::RootfsError;
use crate::spec::{self, SpecError};
use crate::volumes::{self, VolumeError, Wanted};

/// How often a default name is tried before giving up; from the fifth on there are millions.
const NAME_ATTEMPTS: u32 = 64;
/// How often an image is looked for that goes while its container is being made.
const IMAGE_ATTEMPTS: u32 = 5;

/// Why a container cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The image cannot be had.
    #[error(transparent)]
    Image(#[from] Box<EnsureError>),
    /// An image that is to be mounted is not here.
    #[error(transparent)]
    Mounted(#[from] lamina_image::FindError),
    /// Image and request do not make a process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The request breaks a rule.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The output cannot go where it is to go.
    #[error(transparent)]
    Log(#[from] LogRequestError),
    /// The name is taken.
    #[error("the container name {name:?} is already in use by container {holder}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// A file of the host's that is to be mounted does not exist.
    #[error("bind source path does not exist: {path}", path = .0.display())]
    BindSource(PathBuf),
    /// The file for the id exists.
    #[error("container ID file found, make sure the other container isn't running or delete {path}", path = .0.display())]
    CidFile(PathBuf),
    /// A volume cannot be made.
    #[error("make a volume")]
    Volume(#[from] VolumeError),
    /// The container whose volumes are wanted is not there.
    #[error(transparent)]
    VolumesFrom(#[from] FindError),
    /// The writable layer cannot be made.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The operation cannot be noted.
    #[error("note the operation")]
    Op(#[from] OpError),
    /// A file of the container's cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is no randomness for an id.
    #[error("get random bytes")]
    Random(#[source] getrandom::Error),
}

impl CreateError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Image(error) => error.kind(),
            Self::Mounted(error) => error.kind(),
            Self::Process(error) => error.kind(),
            Self::Spec(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::NameTaken { .. } | Self::CidFile(_) => ErrorKind::AlreadyExists,
            Self::BindSource(_) => ErrorKind::InvalidArgument,
            Self::Volume(error) => error.kind(),
            Self::VolumesFrom(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
            Self::Op(error) => error.kind(),
            Self::Path(error) => error.kind(),
            Self::Random(_) => ErrorKind::Internal,
        }
    }
}

/// A container that was made, under an operation that is not finished.
#[derive(Debug)]
pub(crate) struct Made {
    pub operation: Operation,
    pub record: Record,
    pub dir: Dir,
    pub rootfs: Rootfs,
}

impl Engine {
    /// Makes a container.
    ///
    /// Survives a kill at any line: either the container is there, or the next open removes what
    /// had been made of it.
    pub fn create(
        &self,
        request: &CreateRequest,
        progress: &dyn Progress,
        explain: &mut Explainer,
    ) -> Result<ContainerId, CreateError> {
        let made = self.make(request, &random_id()?, progress, explain)?;
        made.operation.finish()?;
        self.tell(&[events::created(&made.record)]);
        Ok(made.record.id)
    }

    /// Finds or gets the image, makes a container and leaves the operation open, for a start that
    /// belongs to it.
    ///
    /// An image that was found is held only when the operation names it. One that was removed in
    /// between is looked for again, as if it had been removed before.
    pub(crate) fn make(
        &self,
        request: &CreateRequest,
        id: &ContainerId,
        progress: &dyn Progress,
        explain: &mut Explainer,
    ) -> Result<Made, CreateError> {
        let mut attempt = 1;
        loop {
            let image = self.resolve(request, progress, explain)?;
            match self.make_of(request.clone(), &image, id.clone(), explain) {
                Err(CreateError::Rootfs(error)) if error.is_gone() && attempt < IMAGE_ATTEMPTS => {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// Finds the image, or gets it.
    fn resolve(
        &self,
        request: &CreateRequest,
        progress: &dyn Progress,
        explain: &mut Explainer,
    ) -> Result<Image, CreateError> {
        check(request)?;
        Ok(explain.step(
            "find the image",
            "a name leads to a manifest, and that to a configuration and layers, all by digest",
            || format!("lamina image inspect {}", request.image.familiar()),
            || self.image(request, progress),
        )?)
    }

    fn make_of(
        &self,
        mut request: CreateRequest,
        image: &Image,
        id: ContainerId,
        explain: &mut Explainer,
    ) -> Result<Made, CreateError> {
        // Everything that can be refused is refused before anything is made.
        process::plan(&request, &image.config.config, &id)?;
        self.inherit(&mut request)?;
        spec::check(&request, &id)?;
        logging::check(&request, &id)?;
        let wanted = volumes::plan(&request, &image.config.config)?;
        let images = self.find_mounted(&request)?;

        let first_name = match &request.name {
            Some(name) => name.clone(),
            None => default_name(0)?,
        };
        let operation = self.begin(image, &images, &id, &first_name, &request, &wanted)?;
        let name = self.take_name(&operation, first_name, request.name.is_some(), &id)?;
        let dir = self
            .store
            .dir(Area::Containers)?
            .mkdir(id.as_str(), 0o700)?;
        let rootfs = self.prepare(&request, image, &images, &id, explain)?;
        let created = Time::now().to_string();
        let volumes = self.ensure_volumes(&operation, &wanted, &rootfs, &created)?;
        write_etc(&dir, &request, &id)?;
        let record = Record {
            version: Record::current_version(),
            id,
            name,
            created,
            image: image.id.clone(),
            layers: image.diff_ids().to_vec(),
            image_config: image.config.config.clone(),
            request,
            volumes,
            images,
        };
        let durability = durability(&record.request);
        explain.step(
            "write the record",
            "what was asked for is kept, so that the container can be started again and inspected",
            || format!("cat > {}", dir.path().join(record::FILE).display()),
            || dir.create_exclusive(record::FILE, &record.to_bytes(), 0o600, durability),
        )?;
        if let Some(path) = &record.request.cidfile {
            write_cidfile(path, &record.id)?;
        }
        Ok(Made {
            operation,
            record,
            dir,
            rootfs,
        })
    }

    /// Notes everything that is about to be made, and what a start under the same
    /// operation makes: one write instead of three.
    fn begin(
        &self,
        image: &Image,
        images: &[ImageUse],
        id: &ContainerId,
        name: &ContainerName,
        request: &CreateRequest,
        volumes: &[Wanted],
    ) -> Result<Operation, OpError> {
        let mut lines = self.run_lines(id, request)?;
        lines.extend([
            Line::Image(image.manifest.digest.clone()),
            Line::Container(id.clone()),
            Line::Snapshot(id.into()),
            Line::Name {
                name: name.clone(),
                container: id.clone(),
            },
        ]);
        let named = volumes.iter().filter_map(|volume| volume.name.clone());
        lines.extend(named.map(Line::UsesVolume));
        let mounted = images.iter().filter_map(|one| one.pin.manifest.clone());
        lines.extend(mounted.map(Line::Image));
        self.store.ops().begin("create", &lines)
    }

    fn prepare(
        &self,
        request: &CreateRequest,
        image: &Image,
        mounted: &[ImageUse],
        id: &ContainerId,
        explain: &mut Explainer,
    ) -> Result<Rootfs, CreateError> {
        let snapshotter = self.snapshotter()?;
        let layers = ImageLayers {
            diff_ids: image.diff_ids().to_vec(),
            image: Some(image.id.clone()),
            manifest: Some(image.manifest.digest.clone()),
            mounted: mounted.iter().map(|one| one.pin.clone()).collect(),
        };
        let options = PrepareOptions {
            volatile: request.remove,
        };
        let upper = self.store.path(Area::Snap).join(id.as_str());
        let prepared = explain.step(
            "prepare the writable layer",
            "the image's layers are read-only and shared; what this container writes goes into a \
             directory of its own",
            || format!("mkdir -p {0}/upper {0}/work", upper.display()),
            || snapshotter.prepare(&id.into(), &layers, &options),
        );
        Ok(prepared.map_err(RootfsError::from)?)
    }

    /// Reserves a name by a link to the container, which only one process can make; `name` is
    /// noted in the operation already.
    fn take_name(
        &self,
        operation: &Operation,
        mut name: ContainerName,
        is_asked: bool,
        id: &ContainerId,
    ) -> Result<ContainerName, CreateError> {
        let names = self.store.dir(Area::Names)?;
        for attempt in 1..=NAME_ATTEMPTS {
            match names.symlink(name.as_str(), format!("../{id}")) {
                Ok(()) => return Ok(name),
                Err(error) if error.is_already_exists() => {
                    if is_asked || attempt == NAME_ATTEMPTS {
                        let holder = self.named(&name)?;
                        return Err(CreateError::NameTaken {
                            name: name.to_string(),
                            holder: holder.map(|id| id.to_string()).unwrap_or_default(),
                        });
                    }
                }
                Err(error) => return Err(error.into()),
            }
            name = default_name(attempt)?;
            operation.lease(&[Line::Name {
                name: name.clone(),
                container: id.clone(),
            }])?;
        }
        Err(Errno::EXIST).at("reserve a name in", names.path())?
    }
}

fn default_name(attempt: u32) -> Result<ContainerName, CreateError> {
    let mut random = [0; 3];
    getrandom::fill(&mut random).map_err(CreateError::Random)?;
    let name = names::generate(random, attempt);
    Ok(name
        .parse()
        .expect("the words are valid names, as their test says"))
}

pub(crate) fn random_id() -> Result<ContainerId, CreateError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(CreateError::Random)?;
    Ok(ContainerId::from_random(bytes))
}

/// What a container that goes with its exit leaves need not survive a power cut.
pub(crate) fn durability(request: &CreateRequest) -> Durability {
    if request.remove {
        Durability::Volatile
    } else {
        Durability::Durable
    }
}

/// Looks at what the request names on the host.
fn check(request: &CreateRequest) -> Result<(), CreateError> {
    if let Some(path) = &request.cidfile
        && path.symlink_metadata().is_ok()
    {
        return Err(CreateError::CidFile(path.clone()));
    }
    for mount in &request.mounts {
        if let MountKind::Bind { source, .. } = &mount.kind {
            match rustix::fs::stat(source) {
                Ok(_) => {}
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    return Err(CreateError::BindSource(source.clone()));
                }
                Err(error) => return Err(error).at("stat", source)?,
            }
        }
    }
    Ok(())
}

fn write_cidfile(path: &Path, id: &ContainerId) -> Result<(), CreateError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let dir = Dir::open(parent.unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or(OsStr::new(""));
    match dir.create_exclusive(name, id.as_str().as_bytes(), 0o644, Durability::Volatile) {
        Err(error) if error.is_already_exists() => Err(CreateError::CidFile(path.to_owned())),
        other => Ok(other?),
    }
}
