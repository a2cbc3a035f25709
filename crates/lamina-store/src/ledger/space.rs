//! Every file of the store once, by what it is.

use std::collections::{BTreeMap, HashMap};
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use lamina_fs::{Dir, Entry, PathError};
use lamina_types::{DiffId, Digest};

use super::disk;
use crate::area::Area;
use crate::collect::diff_id_of;
use crate::pool::ObjectKey;
use crate::store::Store;

/// More do not help: what they look at is behind locks of the same folder.
const THREADS: usize = 4;

/// What a store takes on the disk, in bytes of whole blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Space {
    /// Blobs: documents and compressed layers.
    pub blobs: BTreeMap<Digest, u64>,
    /// Unpacked layers; of a pooled one, all but its contents.
    pub layers: BTreeMap<DiffId, u64>,
    /// Contents in the pool.
    pub objects: HashMap<ObjectKey, u64>,
    /// What is generated per image, by file name.
    pub generated: BTreeMap<String, u64>,
    /// Writable layers of containers.
    pub snapshots: BTreeMap<String, u64>,
    /// Records and logs of containers.
    pub containers: BTreeMap<String, u64>,
    /// The logs among them.
    pub logs: BTreeMap<String, u64>,
    /// Volumes.
    pub volumes: BTreeMap<String, u64>,
    /// Downloads that are not complete.
    pub partials: BTreeMap<String, u64>,
    /// What has been removed and can be brought back, by the id of the removal.
    pub removed: BTreeMap<String, u64>,
    /// What has been removed and waits to be unlinked.
    pub trash: u64,
    /// What operations in flight have made and not published.
    pub ops: u64,
    /// The store's own folders, names and locks.
    pub own: u64,
    /// What lies in the store and is nothing of its, by path below the root.
    pub unaccounted: BTreeMap<String, u64>,
}

impl Space {
    /// Returns the sum of all: what `du` says of the root.
    pub fn total(&self) -> u64 {
        let maps = [
            &self.generated,
            &self.snapshots,
            &self.containers,
            &self.volumes,
            &self.partials,
            &self.removed,
            &self.unaccounted,
        ];
        let named: u64 = maps.iter().flat_map(|map| map.values()).sum();
        let blobs: u64 = self.blobs.values().sum();
        let layers: u64 = self.layers.values().sum();
        let objects: u64 = self.objects.values().sum();
        named + blobs + layers + objects + self.trash + self.ops + self.own
    }
}

impl Store {
    /// Measures the store. Takes a stat of every object and of every file of containers and
    /// volumes; the trees of layers are walked once in their lives.
    pub fn space(&self) -> Result<Space, PathError> {
        let mut space = Space::default();
        self.measure_root(&mut space)?;
        self.measure_images(&mut space)?;
        self.measure_containers(&mut space)?;
        for area in [Area::Refs, Area::Unsynced, Area::Locks, Area::Events] {
            space.own += disk::tree(self.root(), area.path().as_ref());
        }
        self.measure(Area::Removed, &mut space, |space, name, size| {
            space.removed.insert(name.to_owned(), size);
        })?;
        let inside = |area: Area| -> Result<u64, PathError> {
            let all = disk::tree(self.root(), area.path().as_ref());
            Ok(all.saturating_sub(disk::own(self.dir(area)?)))
        };
        space.trash = inside(Area::Trash)?;
        space.ops = inside(Area::Ops)?;
        for area in [Area::Trash, Area::Ops] {
            space.own += disk::own(self.dir(area)?);
        }
        Ok(space)
    }

    /// The root, its documents, and what is not the store's.
    fn measure_root(&self, space: &mut Space) -> Result<(), PathError> {
        let root = self.root();
        space.own += disk::own(root);
        for entry in root.entries()? {
            let known = Area::ALL
                .iter()
                .any(|area| Path::new(area.path()).iter().next() == Some(&*entry.name));
            let size = || disk::tree(root, &entry.name);
            if matches!(entry.name.to_str(), Some("meta.json" | "probe.json")) {
                space.own += size();
            } else if !known {
                let name = entry.name.to_string_lossy().into_owned();
                space.unaccounted.insert(name, size());
            }
        }
        Ok(())
    }

    fn measure_images(&self, space: &mut Space) -> Result<(), PathError> {
        let oci = self.dir(Area::Oci)?;
        space.own += disk::own(oci);
        for entry in oci.entries()? {
            let size = || disk::tree(oci, &entry.name);
            match entry.name.to_str() {
                Some("blobs") => space.own += disk::own(&oci.open_at("blobs")?),
                Some("index.json" | "oci-layout") => space.own += size(),
                _ => space.unaccount(Area::Oci, &entry.name.to_string_lossy(), size()),
            }
        }
        for (area, algorithm) in [(Area::BlobsSha256, "sha256"), (Area::BlobsSha512, "sha512")] {
            self.measure(area, space, |space, name, size| {
                match format!("{algorithm}:{name}").parse() {
                    Ok(digest) => drop(space.blobs.insert(digest, size)),
                    Err(_) => space.unaccount(area, name, size),
                }
            })?;
        }
        let layers = self.dir(Area::Layers)?;
        space.own += disk::own(layers);
        for entry in layers.entries()? {
            let name = entry.name.to_string_lossy();
            match diff_id_of(&name) {
                Some(diff_id) => {
                    let size = disk::layer(layers, &entry.name);
                    space.layers.insert(diff_id, size);
                }
                None => space.unaccount(Area::Layers, &name, disk::tree(layers, &entry.name)),
            }
        }
        self.measure(Area::Images, space, |space, name, size| {
            space.generated.insert(name.to_owned(), size);
        })?;
        self.measure(Area::Partial, space, |space, name, size| {
            space.partials.insert(name.to_owned(), size);
        })?;
        self.measure_pool(space)
    }

    /// Looks at every object, from a few threads at a time: the kernel finds an inode by its name
    /// in about two microseconds, and there are tens of thousands.
    fn measure_pool(&self, space: &mut Space) -> Result<(), PathError> {
        let pool = self.dir(Area::Pool)?;
        space.own += disk::own(pool);
        let folders = pool.entries()?;
        let threads = thread::available_parallelism().map_or(1, |count| count.get().min(THREADS));
        let share = folders.len().div_ceil(threads).max(1);
        let parts: Vec<_> = thread::scope(|scope| {
            let work = |folders| move || measure_folders(pool, folders);
            let others = folders.chunks(share).skip(1);
            let others: Vec<_> = others.map(|part| scope.spawn(work(part))).collect();
            let first = folders.chunks(share).next().map(|part| work(part)());
            let others = others
                .into_iter()
                .map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
            first.into_iter().chain(others).collect()
        });
        for part in parts {
            let part = part?;
            space.own += part.own;
            space.objects.extend(part.objects);
            for (name, size) in part.unaccounted {
                space.unaccount(Area::Pool, &name, size);
            }
        }
        Ok(())
    }

    /// Returns what a volume takes; nothing if there is none of that name.
    pub fn volume_size(&self, name: &str) -> Result<u64, PathError> {
        Ok(disk::tree(self.dir(Area::Volumes)?, name.as_ref()))
    }

    fn measure_containers(&self, space: &mut Space) -> Result<(), PathError> {
        self.measure(Area::Snap, space, |space, name, size| {
            space.snapshots.insert(name.to_owned(), size);
        })?;
        self.measure(Area::Volumes, space, |space, name, size| {
            space.volumes.insert(name.to_owned(), size);
        })?;
        self.measure(Area::Containers, space, |space, name, size| {
            if name == "names" {
                space.own += size;
            } else {
                space.containers.insert(name.to_owned(), size);
            }
        })?;
        let containers = self.dir(Area::Containers)?;
        for (name, log) in space.containers.keys().map(|name| {
            let dir = containers.open_at(name);
            (
                name.clone(),
                dir.map_or(0, |dir| disk::tree(&dir, "log".as_ref())),
            )
        }) {
            space.logs.insert(name, log);
        }
        Ok(())
    }

    /// Calls `each` with the name and size of everything in a folder.
    fn measure(
        &self,
        area: Area,
        space: &mut Space,
        mut each: impl FnMut(&mut Space, &str, u64),
    ) -> Result<(), PathError> {
        let dir = self.dir(area)?;
        space.own += disk::own(dir);
        for entry in dir.entries()? {
            let size = disk::tree(dir, &entry.name);
            each(space, &entry.name.to_string_lossy(), size);
        }
        Ok(())
    }
}

impl Space {
    fn unaccount(&mut self, area: Area, name: &str, size: u64) {
        let path = format!("{}/{name}", area.path());
        self.unaccounted.insert(path, size);
    }
}

/// What some folders of the pool take.
#[derive(Debug, Default)]
struct PoolPart {
    own: u64,
    objects: Vec<(ObjectKey, u64)>,
    unaccounted: Vec<(String, u64)>,
}

fn measure_folders(pool: &Dir, folders: &[Entry]) -> Result<PoolPart, PathError> {
    let mut part = PoolPart::default();
    for folder in folders {
        let name = folder.name.to_string_lossy();
        let Ok(dir) = pool.open_at(&folder.name) else {
            let size = disk::tree(pool, &folder.name);
            part.unaccounted.push((name.into_owned(), size));
            continue;
        };
        part.own += disk::own(&dir);
        for entry in dir.entries()? {
            let file = entry.name.to_string_lossy();
            match ObjectKey::parse(&name, &file) {
                Some(key) => {
                    let size = dir.stat(&entry.name).map_or(0, |stat| disk::blocks(&stat));
                    part.objects.push((key, size));
                }
                None => {
                    let size = disk::tree(&dir, &entry.name);
                    part.unaccounted.push((format!("{name}/{file}"), size));
                }
            }
        }
    }
    Ok(part)
}
