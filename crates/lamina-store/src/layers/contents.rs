//! Where a layer's contents are: in its tree, by the path of their entry, or in the pool.
//!
//! A path leads to the right file unless the tar replaced something: then a later file may stand
//! there, and the former one, or what a replaced link led to, is in `replaced/` or behind another
//! path. Such layers are rare; in one, every file is hashed first and then found by its id.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Root};
use lamina_layer::{Contents, Entry, Kind, ObjectId, ObjectRef, StoredParts, clean_path};
use lamina_types::DiffId;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::{LayerError, PLAIN, REPLACED};
use crate::store::Store;

/// How many files are tried as what a lost one with holes was.
const CANDIDATES: usize = 64;

/// The contents of one layer.
#[derive(Debug)]
pub struct LayerContents {
    store: Store,
    tree: Option<Root>,
    /// The files of a layer whose tar replaced something.
    odd: Option<Odd>,
}

/// Files by what is in them.
#[derive(Debug, Default)]
struct Odd {
    files: HashMap<ObjectId, (Place, PathBuf)>,
    by_length: Vec<(u64, Place, PathBuf)>,
    replaced: Option<Root>,
}

/// Which of a layer's trees.
#[derive(Debug, Clone, Copy)]
enum Place {
    Tree,
    Replaced,
}

impl LayerContents {
    pub(super) fn open(store: &Store, diff_id: &DiffId) -> Result<Self, LayerError> {
        let layer = store.layers().dir(diff_id)?;
        let root = |name| match layer.open_at(name) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
        let Some(tree) = root(PLAIN)? else {
            return Ok(Self::pooled(store));
        };
        let odd = match root(REPLACED)? {
            None => None,
            Some(replaced) => {
                let index = store.layers().index(diff_id)?.unwrap_or_default();
                let mut search = Search {
                    sizes: index.records().iter().map(|record| record.size).collect(),
                    seen: HashSet::new(),
                    with_holes: Vec::new(),
                    odd: Odd::default(),
                };
                let layer_size = store.layers().get(diff_id)?.map_or(0, |l| l.info.size);
                let failed = |source| lamina_fs::PathError {
                    act: "read",
                    path: layer.path().to_path_buf(),
                    source,
                };
                search.walk(&replaced, Place::Replaced).map_err(failed)?;
                search.walk(&tree, Place::Tree).map_err(failed)?;
                search.hash_holes(layer_size).map_err(failed)?;
                search.odd.replaced = Some(root_of(&replaced)?);
                Some(search.odd)
            }
        };
        Ok(Self {
            store: store.clone(),
            tree: Some(root_of(&tree)?),
            odd,
        })
    }

    /// Those of a layer whose contents are in the pool, whatever tree it has besides.
    pub(crate) fn pooled(store: &Store) -> Self {
        Self {
            store: store.clone(),
            tree: None,
            odd: None,
        }
    }

    /// Opens the file that has an entry's content; its bytes are not hashed.
    pub(crate) fn file(&self, entry: &Entry, object: &ObjectRef) -> io::Result<File> {
        let found = match (&self.tree, &self.odd) {
            (Some(tree), None) => by_path(tree, entry),
            (Some(tree), Some(odd)) => odd.find(tree, entry, object),
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        };
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pooled = self.store.pool().open(&object.id);
                pooled.map_err(io::Error::other)?.ok_or(error)
            }
            other => other,
        }
    }
}

impl Contents for LayerContents {
    fn open(&mut self, entry: &Entry, object: &ObjectRef) -> io::Result<Box<dyn Read + '_>> {
        let file = self.file(entry, object)?;
        Ok(Box::new(StoredParts::of(file, &entry.kind)?))
    }
}

fn root_of(dir: &Dir) -> Result<Root, LayerError> {
    let fd = dir.as_fd().try_clone_to_owned();
    let fd = fd.map_err(|source| lamina_fs::PathError {
        act: "open",
        path: dir.path().to_path_buf(),
        source,
    })?;
    Ok(Root::from_fd(fd))
}

fn by_path(tree: &Root, entry: &Entry) -> io::Result<File> {
    let path = clean_path(&entry.path).ok_or(io::ErrorKind::NotFound)?;
    let path = Path::new(OsStr::from_bytes(&path));
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let fd = tree.open(path, flags).map_err(|error| error.source)?;
    regular(&fd, entry.file_size())
}

/// Opens a file for reading once it is known to be one: opening a device can do anything.
fn regular(fd: &OwnedFd, length: u64) -> io::Result<File> {
    let stat = rustix::fs::fstat(fd)?;
    let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !file || u64::try_from(stat.st_size) != Ok(length) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let by_proc = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, by_proc, flags, Mode::empty())?.into())
}

impl Odd {
    fn find(&self, tree: &Root, entry: &Entry, object: &ObjectRef) -> io::Result<File> {
        let open = |place: &Place, path: &Path| {
            let root = match place {
                Place::Tree => Some(tree),
                Place::Replaced => self.replaced.as_ref(),
            };
            let root = root.ok_or(io::ErrorKind::NotFound)?;
            let fd = root.open(path, OFlags::PATH | OFlags::NOFOLLOW);
            regular(&fd.map_err(|error| error.source)?, entry.file_size())
        };
        let Kind::Sparse { size, parts } = &entry.kind else {
            let (place, path) = self.files.get(&object.id).ok_or(io::ErrorKind::NotFound)?;
            return open(place, path);
        };
        let candidates = self.by_length.iter().filter(|(len, ..)| len == size);
        for (_, place, path) in candidates.take(CANDIDATES) {
            let file = open(place, path)?;
            let mut stored = StoredParts::of(file.try_clone()?, &entry.kind)?;
            let id = hash(&mut stored, u64::MAX)?;
            if ObjectId::sparse(*size, parts, id) == object.id {
                return Ok(file);
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Walks the trees of an odd layer.
struct Search {
    /// Only files of these lengths matter.
    sizes: HashSet<u64>,
    /// Inodes: a file may have several names.
    seen: HashSet<u64>,
    /// Files that take less than their length: hashed last, because holes cost a tar nothing.
    with_holes: Vec<(File, Place, PathBuf)>,
    odd: Odd,
}

impl Search {
    fn walk(&mut self, root: &Dir, place: Place) -> io::Result<()> {
        let mut pending = vec![PathBuf::new()];
        while let Some(at) = pending.pop() {
            let dir = if at.as_os_str().is_empty() {
                root.try_clone().map_err(|error| error.source)?
            } else {
                root.open_at(&at).map_err(|error| error.source)?
            };
            for entry in lamina_fs::list(dir.as_fd())? {
                let path = at.join(&entry.name);
                let stat =
                    rustix::fs::statat(&dir, &entry.name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => pending.push(path),
                    FileType::RegularFile => {
                        let file = root.open_file(&path, OFlags::RDONLY);
                        self.file(file.map_err(|error| error.source)?, place, path)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, file: File, place: Place, path: PathBuf) -> io::Result<()> {
        let metadata = file.metadata()?;
        let length = metadata.len();
        if !self.sizes.contains(&length) || !self.seen.insert(metadata.ino()) {
            return Ok(());
        }
        self.odd.by_length.push((length, place, path.clone()));
        if metadata.blocks().saturating_mul(512) < length {
            if self.with_holes.len() < CANDIDATES {
                self.with_holes.push((file, place, path));
            }
            return Ok(());
        }
        let id = hash(&mut At(&file, 0), length)?;
        self.odd.files.entry(id).or_insert((place, path));
        Ok(())
    }

    /// Hashes files that seem to have holes: a filesystem may compress. No more bytes than the
    /// layer has.
    fn hash_holes(&mut self, mut budget: u64) -> io::Result<()> {
        for (file, place, path) in self.with_holes.drain(..) {
            let length = file.metadata()?.len();
            if length <= budget {
                budget -= length;
                let id = hash(&mut At(&file, 0), length)?;
                self.odd.files.entry(id).or_insert((place, path));
            }
        }
        Ok(())
    }
}

/// Reads a file from its beginning whatever its offset.
struct At<'f>(&'f File, u64);

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read_at(into, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }
}

fn hash(from: &mut impl Read, length: u64) -> io::Result<ObjectId> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut from = from.take(length);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(ObjectId::from_bytes(hash.finalize().into())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
