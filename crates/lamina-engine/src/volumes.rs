//! Volumes: `volumes/<name>/{volume.json,_data}`.
//!
//! An anonymous volume is made for one container, by the image's `VOLUME` or `-v /path`, and goes
//! with it. A new volume is filled with what the image has in its place.
//!
//! A volume appears under its name when it is complete, by one rename, and goes by one. Whoever
//! begins to use one that is there notes that in its operation first, and looks for it under the
//! lock `volumes`, shared; whoever takes one away holds that lock alone, and looks for users in
//! `ops/` before it looks in the records. So a used volume is never removed.
//!
//! A volume with options (`type`, `o`, `device`) has no data here: it is mounted by every
//! container for itself, in its own mount namespace, and nothing is mounted on the host.

mod archive;
mod clone;
mod create;
mod list;
mod remove;
mod rename;
mod uses;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lamina_fs::{Dir, Lock, LockError, PathError, Rank, RemoveError};
use lamina_layer::ExtractError;
use lamina_store::{Area, OpError, RemovalError, Store};
use lamina_types::{ContainerId, ContainerName, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::container::export::ExportError;
use crate::rootfs::RootfsError;
use crate::spec::SpecError;

pub use create::VolumeRequest;
pub use list::Volume;
pub(crate) use uses::{Wanted, data, mounts, plan};

/// The version of `volume.json`.
const VERSION: u32 = 1;
/// The directory that is mounted.
const DATA: &str = "_data";
/// What is known of the volume.
const FILE: &str = "volume.json";
/// The largest `volume.json` that is read: labels may be large, but not this large.
const LIMIT: u64 = 1 << 20;
/// The lock of the names.
const LOCK: &str = "volumes";

/// Why a volume cannot be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A file or directory cannot be worked on.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The operation cannot be noted.
    #[error(transparent)]
    Op(#[from] OpError),
    /// Somebody else changes the names of volumes for too long.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// It cannot be moved to where it can be brought back from.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// There is none of that name.
    #[error("get {0}: no such volume")]
    NotFound(String),
    /// A container uses it.
    #[error("{act} {name}: volume is in use - [{users}]")]
    InUse {
        /// What was to be done.
        act: &'static str,
        /// Its name.
        name: String,
        /// The ids of containers, and words for operations.
        users: String,
    },
    /// There is one of that name.
    #[error("volume {0} already exists")]
    Exists(String),
    /// The name has characters that no volume's has.
    #[error(
        "create {0}: {0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Name(String),
    /// The name has one character.
    #[error(
        "create {0}: volume name is too short, names should be at least two alphanumeric characters"
    )]
    Short(String),
    /// There is one driver.
    #[error("create {name}: error looking up volume plugin {driver}: plugin {driver:?} not found")]
    Driver {
        /// The volume's name.
        name: String,
        /// The driver that was asked for.
        driver: String,
    },
    /// An option is unknown, or another is missing.
    #[error("create {name}: {why}")]
    Option {
        /// The volume's name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// What it has is not here but is mounted by each container.
    #[error("volume {0} is mounted by its containers: there is nothing to {1} here")]
    Elsewhere(String, &'static str),
    /// It may not be mounted there.
    #[error(transparent)]
    Target(#[from] SpecError),
    /// The image cannot be looked into.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// It cannot be archived.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// An archive cannot be extracted into it.
    #[error("import into volume {name}")]
    Extract {
        /// Its name.
        name: String,
        /// What failed.
        source: ExtractError,
    },
    /// There is no randomness for a name.
    #[error("get random bytes")]
    Random(#[source] getrandom::Error),
}

impl VolumeError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Op(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Remove(error) => error.kind(),
            Self::Removal(error) => error.kind(),
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::InUse { .. } | Self::Elsewhere(..) => ErrorKind::FailedPrecondition,
            Self::Exists(_) => ErrorKind::AlreadyExists,
            Self::Name(_) | Self::Short(_) | Self::Option { .. } => ErrorKind::InvalidArgument,
            Self::Driver { .. } => ErrorKind::NotFound,
            Self::Target(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
            Self::Export(error) => error.kind(),
            Self::Extract { source, .. } => source.kind(),
            Self::Random(_) => ErrorKind::Internal,
        }
    }
}

/// `volume.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct VolumeFile {
    version: u32,
    /// RFC 3339.
    created: String,
    /// Whether it was made for one container, or without a name.
    anonymous: bool,
    /// Whether other containers may use it although it is anonymous.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
}

impl VolumeFile {
    fn new(created: &str, anonymous: bool) -> Self {
        Self {
            version: VERSION,
            created: created.to_owned(),
            anonymous,
            ..Self::default()
        }
    }

    /// Reads what is known of a volume; one whose file is damaged is a named one without labels.
    fn read(volume: &Dir) -> Self {
        let bytes = volume.read(FILE, LIMIT).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain fields and string keys serialise")
    }

    /// Returns how it is mounted, where it has options.
    fn driver(&self) -> Option<Driver> {
        let option = |key: &str| self.options.get(key).cloned().unwrap_or_default();
        let options = option("o");
        let options = options.split(',').filter(|option| !option.is_empty());
        let options: Vec<String> = options.map(str::to_owned).collect();
        let bind = options
            .iter()
            .any(|option| option == "bind" || option == "rbind");
        (!option("device").is_empty()).then(|| Driver {
            kind: match bind {
                true => "bind".to_owned(),
                false => option("type"),
            },
            device: PathBuf::from(option("device")),
            options,
        })
    }
}

/// What a volume with options mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Driver {
    kind: String,
    device: PathBuf,
    options: Vec<String>,
}

/// Holds the names of volumes still, for who looks for one or for who takes one away.
fn names_lock(store: &Store, alone: bool) -> Result<Lock, VolumeError> {
    let locks = store.dir(Area::Locks)?;
    Ok(match alone {
        true => Lock::exclusive(locks, LOCK, Rank::Volume)?,
        false => Lock::shared(locks, LOCK, Rank::Volume)?,
    })
}

/// One grammar for what becomes a file name.
fn check_name(name: &str) -> Result<(), VolumeError> {
    let clipped = || name.chars().take(160).collect();
    if name.len() == 1 {
        return Err(VolumeError::Short(clipped()));
    }
    name.parse::<ContainerName>()
        .map(drop)
        .map_err(|_| VolumeError::Name(clipped()))
}

fn anonymous_name() -> Result<String, VolumeError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(VolumeError::Random)?;
    Ok(ContainerId::from_random(bytes).to_string())
}
