//! Whether an object is what its name says: by its seal on every hit, by its bytes after a power
//! cut.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use lamina_fs::{At, Dir, PathError};
use lamina_layer::ObjectId;
use rustix::fs::{AtFlags, FileType, OFlags, XattrFlags};
use rustix::io::Errno;

use super::{ObjectKey, Pool, PoolError};
use crate::area::Area;
use crate::hash::Hasher;
use crate::store::Store;

const ATTRIBUTE: &CStr = c"user.lamina.object";
const LENGTH: usize = 41;

/// A batch of objects that were linked together.
pub(crate) type Batch = [u8; 8];

/// What an object's attribute says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) id: ObjectId,
    pub(crate) batch: Batch,
    /// The id is not the hash of the bytes.
    pub(crate) holes: bool,
}

impl Seal {
    /// Reads the attribute; `None` for a file that has none or another.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Option<Self>> {
        let mut bytes = [0; LENGTH + 1];
        let length = rustix::fs::fgetxattr(file, ATTRIBUTE, &mut bytes[..]);
        Ok(Self::read(&bytes, length)?)
    }

    /// The same of the file at `path` in the pool, by one system call where the kernel has it.
    fn at(pool: &Dir, path: &str) -> io::Result<Option<Self>> {
        let mut bytes = [0; LENGTH + 1];
        let terminated = CString::new(path)?;
        match lamina_sys::xattr::get_at(pool, &terminated, ATTRIBUTE, &mut bytes) {
            Err(Errno::NOSYS) => {
                let file = pool.open_file(path, OFlags::RDONLY);
                Self::of(file.map_err(|error| error.source)?)
            }
            length => Ok(Self::read(&bytes, length)?),
        }
    }

    fn read(bytes: &[u8; LENGTH + 1], length: Result<usize, Errno>) -> Result<Option<Self>, Errno> {
        let length = match length {
            Err(Errno::NODATA | Errno::RANGE) => return Ok(None),
            other => other?,
        };
        let (Some(id), Some(batch)) = (bytes.first_chunk(), bytes[32..].first_chunk()) else {
            return Ok(None);
        };
        Ok((length == LENGTH).then(|| Self {
            id: ObjectId::from_bytes(*id),
            batch: *batch,
            holes: bytes[40] != 0,
        }))
    }

    /// Writes the attribute.
    pub(super) fn set(&self, file: impl AsFd) -> io::Result<()> {
        let mut bytes = [0; LENGTH];
        bytes[..32].copy_from_slice(self.id.as_bytes());
        bytes[32..40].copy_from_slice(&self.batch);
        bytes[40] = self.holes.into();
        Ok(rustix::fs::fsetxattr(
            file,
            ATTRIBUTE,
            &bytes,
            XattrFlags::empty(),
        )?)
    }
}

/// What is at an object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The object.
    Here {
        /// What it takes on the disk, in units of 512 bytes.
        blocks: u64,
    },
    Missing,
    /// Something that is not whole.
    Damaged,
}

impl Pool<'_> {
    /// Looks for an object by its name: its length, and the whole id that its seal has. Opens
    /// nothing, because that is most of what a look costs.
    pub(crate) fn find(&self, id: &ObjectId, size: u64) -> Result<Found, PoolError> {
        let path = ObjectKey::from(id).path();
        let whole = || self.path().join(&path);
        let pool = self.0.dir(Area::Pool)?;
        let stat = match rustix::fs::statat(pool, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Found::Missing),
            other => other.at("stat", whole())?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(Found::Damaged);
        }
        let seal = match Seal::at(pool, &path) {
            // It went between the two.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            other => other.at("read", whole())?,
        };
        match seal {
            Some(seal) if seal.id != *id => Err(PoolError::Collision {
                path: whole(),
                expected: Box::new(*id),
                found: Box::new(seal.id),
            }),
            Some(_) if u64::try_from(stat.st_size) == Ok(size) => Ok(Found::Here {
                blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            }),
            _ => Ok(Found::Damaged),
        }
    }

    /// Moves what is at an object's name out of the way.
    pub(super) fn drop_damaged(&self, id: &ObjectId) -> Result<(), PathError> {
        let path = ObjectKey::from(id).path();
        let (folder, name) = path.split_once('/').unwrap_or_default();
        let folder = self.0.dir(Area::Pool)?.open_at(folder)?;
        self.0.trash(&folder, name).map(drop)
    }

    /// Moves an object to the trash; returns how long it was, `None` if it was not there. The
    /// caller holds the exclusive store lock.
    pub(crate) fn trash(&self, key: &ObjectKey) -> Result<Option<u64>, PathError> {
        let path = key.path();
        let (folder, name) = path.split_once('/').unwrap_or_default();
        let folder = self.0.dir(Area::Pool)?.open_at(folder)?;
        let stat = folder.stat(name);
        let trashed = self.0.trash(&folder, name)?;
        let size = stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
        Ok(trashed.map(|_| size))
    }

    /// Calls `each` for every object by its folder and key, whatever else lies there left out.
    pub(crate) fn for_each(
        &self,
        mut each: impl FnMut(&Dir, &str, ObjectKey) -> Result<(), PathError>,
    ) -> Result<(), PathError> {
        let pool = self.0.dir(Area::Pool)?;
        for folder in pool.entries()? {
            let Some(folder) = folder.name.to_str().filter(|name| name.len() == 2) else {
                continue;
            };
            let dir = pool.open_at(folder)?;
            for entry in dir.entries()? {
                let Some(name) = entry.name.to_str() else {
                    continue;
                };
                if let Some(key) = ObjectKey::parse(folder, name) {
                    each(&dir, name, key)?;
                }
            }
        }
        Ok(())
    }
}

/// Drops the objects of these batches that are not what they should be: they were linked in
/// another boot and never synced. The caller holds the exclusive store lock.
pub(crate) fn drop_suspects(store: &Store, batches: &HashSet<Batch>) -> Result<(), PathError> {
    let mut dropped = false;
    store.pool().for_each(|dir, name, key| {
        let path = || dir.path().join(name);
        let file = dir.open_file(name, OFlags::RDONLY)?;
        let bad = match Seal::of(&file).at("read", path())? {
            Some(seal) if !batches.contains(&seal.batch) => false,
            Some(seal) => ObjectKey::from(&seal.id) != key || !is_whole(&file, &seal),
            // The attribute and the name are one transaction of a journal; without one, anything
            // may be missing.
            None => true,
        };
        if bad {
            store.trash(dir, name)?;
            dir.sync()?;
            dropped = true;
        }
        Ok(())
    })?;
    if dropped {
        store.dir(Area::Trash)?.sync()?;
    }
    Ok(())
}

/// A file with holes cannot be verified by itself, and an unreadable one is as good as lost: the
/// next pull brings either again.
fn is_whole(file: &File, seal: &Seal) -> bool {
    let mut hash = Hasher::new(lamina_types::Algorithm::Sha256);
    !seal.holes && hash.update_from(file).is_ok() && hash.finish() == seal.id.digest()
}
