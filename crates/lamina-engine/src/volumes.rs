//! Volumes: `volumes/<name>/{volume.json,_data}`.
//!
//! An anonymous volume is made for one container, by the image's `VOLUME` or `-v /path`, and goes
//! with it. A new volume is filled with what the image has in its place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Durability, PathError, RemoveError};
use lamina_store::{Area, Draft, Line, OpError, Operation, Store};
use lamina_types::mount::MountKind;
use lamina_types::oci::Config;
use lamina_types::{ContainerName, ErrorKind, Rootfs};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::copy;
use crate::process::lexically;
use crate::record::VolumeUse;
use crate::request::CreateRequest;
use crate::rootfs::{self, RootfsError};
use crate::spec::mounts::check_target;
use crate::spec::{SpecError, VolumeMount};

/// The version of `volume.json`.
const VERSION: u32 = 1;
/// The directory that is mounted.
const DATA: &str = "_data";
/// What is known of the volume.
const FILE: &str = "volume.json";

/// Why a volume cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A file or directory cannot be worked on.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The operation cannot be noted.
    #[error(transparent)]
    Op(#[from] OpError),
    /// It cannot be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// The name has characters that no volume's has.
    #[error("invalid volume name {0:?}, only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    Name(String),
    /// It may not be mounted there.
    #[error(transparent)]
    Target(#[from] SpecError),
    /// The image cannot be looked into.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
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
            Self::Remove(error) => error.kind(),
            Self::Name(_) => ErrorKind::InvalidArgument,
            Self::Target(error) => error.kind(),
            Self::Rootfs(error) => error.kind(),
            Self::Random(_) => ErrorKind::Internal,
        }
    }
}

/// `volume.json`.
#[derive(Debug, Serialize, Deserialize)]
struct VolumeFile {
    version: u32,
    created: String,
    anonymous: bool,
}

/// A volume that a container wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its name; `None` makes an anonymous one.
    pub name: Option<String>,
    /// Where it goes.
    pub target: PathBuf,
    /// Whether it is filled with what the image has there.
    pub fill: bool,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// Returns the volumes of a request and its image; an explicit mount takes an image's place.
pub(crate) fn plan(request: &CreateRequest, image: &Config) -> Result<Vec<Wanted>, VolumeError> {
    let mut wanted = Vec::new();
    let mut taken = BTreeSet::new();
    for mount in &request.mounts {
        let target = lexically(&mount.target);
        taken.insert(target.clone());
        if let MountKind::Volume { name, no_copy } = &mount.kind {
            if let Some(name) = name {
                // One grammar for what becomes a file name.
                name.parse::<ContainerName>()
                    .map_err(|_| VolumeError::Name(name.chars().take(160).collect()))?;
            }
            wanted.push(Wanted {
                name: name.clone(),
                target,
                fill: !no_copy,
                read_only: mount.read_only,
            });
        }
    }
    for path in image.volumes.keys() {
        // The image's author chose the path: `..` stops at the root (CVE-2022-23648), and what
        // isolation rests on is refused.
        let target = lexically(Path::new(path));
        check_target(&target, None)?;
        if taken.insert(target.clone()) {
            wanted.push(Wanted {
                name: None,
                target,
                fill: true,
                read_only: false,
            });
        }
    }
    Ok(wanted)
}

/// Makes what is missing, noted in the operation first.
pub(crate) fn ensure(
    store: &Store,
    operation: &Operation,
    wanted: &[Wanted],
    rootfs: &Rootfs,
    created: &str,
) -> Result<Vec<VolumeUse>, VolumeError> {
    wanted
        .iter()
        .map(|wanted| {
            let name = match &wanted.name {
                Some(name) => name.clone(),
                None => anonymous_name()?,
            };
            let anonymous = wanted.name.is_none();
            let volumes = store.dir(Area::Volumes)?;
            if anonymous || !volumes.exists(&name)? {
                // A named volume is anybody's as soon as it is there: it is never undone.
                if anonymous {
                    operation.lease(&[Line::Volume(name.clone())])?;
                }
                make(operation.draft()?, volumes, &name, wanted, rootfs, created)?;
            }
            Ok(VolumeUse {
                name,
                target: wanted.target.clone(),
                anonymous,
                read_only: wanted.read_only,
            })
        })
        .collect()
}

/// A volume appears under its name when it is complete: until then it is the operation's draft.
fn make(
    draft: Draft,
    volumes: &Dir,
    name: &str,
    wanted: &Wanted,
    rootfs: &Rootfs,
    created: &str,
) -> Result<(), VolumeError> {
    let data = draft.dir().mkdir(DATA, 0o755)?;
    fill(&data, wanted, rootfs)?;
    let file = VolumeFile {
        version: VERSION,
        created: created.to_owned(),
        anonymous: wanted.name.is_none(),
    };
    let bytes = serde_json::to_vec(&file).expect("plain fields always serialise");
    draft
        .dir()
        .create_exclusive(FILE, &bytes, 0o600, Durability::Volatile)?;
    // Of two makers one wins, and both use the same volume.
    draft.publish(volumes, name)?;
    Ok(())
}

fn fill(data: &Dir, wanted: &Wanted, rootfs: &Rootfs) -> Result<(), VolumeError> {
    if !wanted.fill {
        return Ok(());
    }
    let root = rootfs::open(rootfs)?;
    let relative = wanted.target.strip_prefix("/").unwrap_or(&wanted.target);
    match root.open(relative, OFlags::DIRECTORY | OFlags::RDONLY) {
        Ok(from) => Ok(copy::tree(&from, data)?),
        // The image has nothing there, or a file: the volume starts empty.
        Err(error) if error.is_not_found() || error.errno() == Some(rustix::io::Errno::NOTDIR) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn anonymous_name() -> Result<String, VolumeError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(VolumeError::Random)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// Returns what is mounted where.
pub(crate) fn mounts(store: &Store, uses: &[VolumeUse]) -> Vec<VolumeMount> {
    let dir = store.path(Area::Volumes);
    uses.iter()
        .map(|volume| VolumeMount {
            data: dir.join(&volume.name).join(DATA),
            target: volume.target.clone(),
            read_only: volume.read_only,
        })
        .collect()
}

/// Removes the volumes that were made for one container.
pub(crate) fn remove_anonymous(store: &Store, uses: &[VolumeUse]) -> Result<(), VolumeError> {
    let anonymous = uses.iter().filter(|volume| volume.anonymous);
    for volume in anonymous {
        store.dir(Area::Volumes)?.remove_tree(&volume.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lamina_types::mount::MountSpec;
    use serde_json::Value;

    use super::*;
    use crate::process::tests::request;

    fn image(paths: &[&str]) -> Config {
        Config {
            volumes: paths
                .iter()
                .map(|path| ((*path).to_owned(), Value::Null))
                .collect(),
            ..Config::default()
        }
    }

    #[test]
    fn an_images_volumes_stay_below_its_root() {
        let wanted = plan(&request(), &image(&["/../../../canary", "data/", "/a/./b"])).unwrap();
        let targets: Vec<_> = wanted
            .iter()
            .map(|w| w.target.display().to_string())
            .collect();
        assert_eq!(targets, ["/canary", "/a/b", "/data"]);
        for bad in ["/proc", "/proc/self", "/sys", ".", "", "/", "/x/.."] {
            assert!(plan(&request(), &image(&[bad])).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_explicit_mount_takes_the_place_of_an_images_volume() {
        let mut asked = request();
        asked.mounts = vec![MountSpec {
            kind: MountKind::Volume {
                name: Some("db".to_owned()),
                no_copy: true,
            },
            target: "/data".into(),
            read_only: true,
            recursive_read_only: false,
        }];
        let wanted = plan(&asked, &image(&["/data", "/data/"])).unwrap();
        assert_eq!(
            wanted,
            [Wanted {
                name: Some("db".to_owned()),
                target: "/data".into(),
                fill: false,
                read_only: true,
            }]
        );
        for bad in ["../x", "a/b", ".x", ""] {
            if let MountKind::Volume { name, .. } = &mut asked.mounts[0].kind {
                *name = Some(bad.to_owned());
            }
            assert!(plan(&asked, &image(&[])).is_err(), "{bad:?}");
        }
    }
}
