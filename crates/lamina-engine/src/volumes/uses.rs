//! The volumes of a container: which it wants, making what is missing, and where they are mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Durability};
use lamina_store::{Area, Line, Operation, Store};
use lamina_types::Rootfs;
use lamina_types::mount::{MountKind, MountSpec};
use lamina_types::oci::Config;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{
    DATA, Driver, FILE, VolumeError, VolumeFile, anonymous_name, check_name, create, names_lock,
};
use crate::Engine;
use crate::container::find::FindError;
use crate::copy;
use crate::process::lexically;
use crate::record::VolumeUse;
use crate::request::CreateRequest;
use crate::rootfs;
use crate::spec::VolumeMount;
use crate::spec::mounts::check_target;

/// A volume that a container wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its name; `None` makes an anonymous one.
    pub name: Option<String>,
    /// Where it goes.
    pub target: PathBuf,
    /// Whether it is filled with what the image has there.
    pub fill: bool,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The part of it that is mounted.
    pub subpath: Option<PathBuf>,
    /// Labels of one that is made.
    pub labels: BTreeMap<String, String>,
    /// The options of one that is made.
    pub options: BTreeMap<String, String>,
}

/// Returns the volumes of a request and its image; an explicit mount takes an image's place.
pub(crate) fn plan(request: &CreateRequest, image: &Config) -> Result<Vec<Wanted>, VolumeError> {
    let mut wanted = Vec::new();
    let mut taken = BTreeSet::new();
    for mount in &request.mounts {
        let target = lexically(&mount.target);
        taken.insert(target.clone());
        if let MountKind::Volume {
            name,
            no_copy,
            subpath,
            labels,
            options,
        } = &mount.kind
        {
            if let Some(name) = name {
                check_name(name)?;
            }
            create::check(name.as_deref().unwrap_or("volume"), None, options)?;
            wanted.push(Wanted {
                name: name.clone(),
                target,
                // A part of a volume is somebody's who made it.
                fill: !no_copy && subpath.is_none(),
                read_only: mount.read_only,
                subpath: subpath.clone(),
                labels: labels.clone(),
                options: options.clone(),
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
                target,
                fill: true,
                ..Wanted::default()
            });
        }
    }
    Ok(wanted)
}

impl Engine {
    /// Adds the volumes and binds of other containers to a request; what it says itself goes
    /// before them.
    pub(crate) fn inherit(&self, request: &mut CreateRequest) -> Result<(), FindError> {
        for from in request.volumes_from.clone() {
            let record = self.load(&self.find(&from.container)?)?.record;
            let volumes = record.volumes.into_iter().map(|volume| MountSpec {
                kind: MountKind::Volume {
                    name: Some(volume.name),
                    no_copy: true,
                    subpath: volume.subpath,
                    labels: BTreeMap::new(),
                    options: BTreeMap::new(),
                },
                target: volume.target,
                read_only: volume.read_only,
                recursive_read_only: false,
            });
            let binds = record.request.mounts.into_iter();
            let binds = binds.filter(|mount| matches!(mount.kind, MountKind::Bind { .. }));
            for mut mount in volumes.chain(binds) {
                let target = lexically(&mount.target);
                let taken = request.mounts.iter();
                if taken
                    .into_iter()
                    .any(|have| lexically(&have.target) == target)
                {
                    continue;
                }
                if let Some(read_only) = from.read_only {
                    mount.read_only = read_only;
                    mount.recursive_read_only &= read_only;
                }
                request.mounts.push(mount);
            }
        }
        Ok(())
    }

    /// Makes what is missing, noted in the operation first, which names those that are used.
    pub(crate) fn ensure_volumes(
        &self,
        operation: &Operation,
        wanted: &[Wanted],
        rootfs: &Rootfs,
        created: &str,
    ) -> Result<Vec<VolumeUse>, VolumeError> {
        if wanted.iter().any(|wanted| wanted.name.is_some()) {
            // Whoever takes one away has done so by now, or sees that this operation uses it.
            drop(names_lock(&self.store, false)?);
        }
        let mut uses = Vec::new();
        for wanted in wanted {
            let (name, anonymous) = match &wanted.name {
                Some(name) => (
                    name.clone(),
                    self.ensure_named(operation, name, wanted, rootfs, created)?,
                ),
                None => {
                    let name = anonymous_name()?;
                    operation.lease(&[Line::Volume(name.clone())])?;
                    self.make_volume(operation, &name, wanted, rootfs, created)?;
                    (name, true)
                }
            };
            uses.push(VolumeUse {
                name,
                target: wanted.target.clone(),
                anonymous,
                read_only: wanted.read_only,
                subpath: wanted.subpath.clone(),
            });
        }
        Ok(uses)
    }

    /// Makes a named volume, or gets the one that is there ready; returns whether that one is
    /// anonymous.
    fn ensure_named(
        &self,
        operation: &Operation,
        name: &str,
        wanted: &Wanted,
        rootfs: &Rootfs,
        created: &str,
    ) -> Result<bool, VolumeError> {
        let volumes = self.store.dir(Area::Volumes)?;
        let volume = match volumes.open_at(name) {
            // A named volume is anybody's as soon as it is there: it is never undone.
            Err(error) if error.is_not_found() => {
                self.make_volume(operation, name, wanted, rootfs, created)?;
                return Ok(false);
            }
            other => other?,
        };
        let mut file = VolumeFile::read(&volume);
        if file.anonymous && !file.shared {
            // From now on it goes with the last of its containers.
            file.shared = true;
            let _alone = names_lock(&self.store, true)?;
            volume.replace(FILE, &file.to_bytes(), 0o600, Durability::Durable)?;
        }
        if wanted.fill && file.driver().is_none() {
            self.fill_empty(operation, &volume, wanted, rootfs)?;
        }
        Ok(file.anonymous)
    }

    /// Fills a volume that is there and empty. The contents appear at once, where no container
    /// has its directory yet.
    fn fill_empty(
        &self,
        operation: &Operation,
        volume: &Dir,
        wanted: &Wanted,
        rootfs: &Rootfs,
    ) -> Result<(), VolumeError> {
        if !is_empty(volume)? {
            return Ok(());
        }
        let draft = operation.draft()?;
        let filled = draft.dir().mkdir(DATA, 0o755)?;
        if !fill(&filled, wanted, rootfs)? {
            return Ok(());
        }
        let _alone = names_lock(&self.store, true)?;
        let name = wanted.name.as_deref().unwrap_or_default();
        let used = self.volumes_of_containers()?.contains_key(name);
        if used || filled.entries()?.is_empty() {
            if is_empty(volume)? {
                copy::tree(&filled, &volume.open_at(DATA)?, None)?;
            }
            return Ok(());
        }
        match draft
            .dir()
            .rename_to(DATA, volume, DATA, Durability::Volatile)
        {
            // Somebody else was first.
            Err(error) if matches!(error.errno(), Some(Errno::EXIST | Errno::NOTEMPTY)) => Ok(()),
            other => Ok(other?),
        }
    }

    /// A volume appears under its name when it is complete: until then it is the operation's draft.
    fn make_volume(
        &self,
        operation: &Operation,
        name: &str,
        wanted: &Wanted,
        rootfs: &Rootfs,
        created: &str,
    ) -> Result<(), VolumeError> {
        let draft = operation.draft()?;
        let data = draft.dir().mkdir(DATA, 0o755)?;
        let file = VolumeFile {
            labels: wanted.labels.clone(),
            options: wanted.options.clone(),
            ..VolumeFile::new(created, wanted.name.is_none())
        };
        if wanted.fill && file.driver().is_none() {
            fill(&data, wanted, rootfs)?;
        }
        draft
            .dir()
            .create_exclusive(FILE, &file.to_bytes(), 0o600, Durability::Volatile)?;
        // Of two makers one wins, and both use the same volume.
        if draft.publish(self.store.dir(Area::Volumes)?, name)? {
            self.note_volume("create", name);
        }
        Ok(())
    }
}

/// Returns whether a volume has nothing in it. Where somebody else fills it in this moment, it has.
fn is_empty(volume: &Dir) -> Result<bool, VolumeError> {
    match volume.open_at(DATA)?.entries() {
        Err(error) if error.is_not_found() => Ok(false),
        other => Ok(other?.is_empty()),
    }
}

/// Copies what the image has in the place of a volume; false where it has no directory there.
fn fill(data: &Dir, wanted: &Wanted, rootfs: &Rootfs) -> Result<bool, VolumeError> {
    let root = rootfs::open(rootfs)?;
    let relative = wanted.target.strip_prefix("/").unwrap_or(&wanted.target);
    match root.open(relative, OFlags::DIRECTORY | OFlags::RDONLY) {
        Ok(from) => {
            copy::tree(&from, data, None)?;
            Ok(true)
        }
        // The image has nothing there, or a file: the volume starts empty.
        Err(error) if error.is_not_found() || error.errno() == Some(Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns where the data of a volume are.
pub(crate) fn data(store: &Store, name: &str) -> PathBuf {
    store.path(Area::Volumes).join(name).join(DATA)
}

/// Returns what is mounted where.
pub(crate) fn mounts(store: &Store, uses: &[VolumeUse]) -> Result<Vec<VolumeMount>, VolumeError> {
    let mount = |volume: &VolumeUse| {
        let driver = file_of(store, volume)?.driver();
        let driver = driver.unwrap_or_else(|| Driver {
            kind: "bind".to_owned(),
            device: data(store, &volume.name),
            options: Vec::new(),
        });
        Ok(VolumeMount {
            kind: driver.kind,
            source: driver.device,
            options: driver.options,
            subpath: volume.subpath.clone(),
            target: volume.target.clone(),
            read_only: volume.read_only,
        })
    };
    uses.iter().map(mount).collect()
}

fn file_of(store: &Store, volume: &VolumeUse) -> Result<VolumeFile, VolumeError> {
    match store.dir(Area::Volumes)?.open_at(&volume.name) {
        Err(error) if error.is_not_found() => Err(VolumeError::NotFound(volume.name.clone())),
        other => Ok(VolumeFile::read(&other?)),
    }
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
            kind: MountKind::volume(Some("db".to_owned()), true),
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
                read_only: true,
                ..Wanted::default()
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
