//! Contents on their way into the pool, in batches.
//!
//! ```text
//! 1  the keys of a batch are leased            (shared store lock)
//! 2  what is here is left alone; the rest is written into files without a name
//! 3  a marker in unsynced/, then every link    (shared store lock: a sync sees all or none)
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use lamina_fs::{At, PathError};
use lamina_layer::{Bodies, Entry, Kind, ObjectId, ObjectRef, SparsePart};
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::check::{Batch, Found, Seal};
use super::{ObjectKey, PoolError};
use crate::area::Area;
use crate::early::Early;
use crate::ops::{Line, Operation};
use crate::store::Store;
use crate::sync::{self, Unsynced};

/// Contents up to this many bytes are hashed before anything is written: what is here already
/// costs no writing.
const IN_MEMORY: u64 = 1 << 20;
/// The same in a layer most of whose contents were here so far: one of these is held at a time.
const IN_MEMORY_IF_KNOWN: u64 = 64 << 20;
/// Files of a batch are open at once.
const BATCH: usize = 64;
/// Bytes of a batch that are held in memory, and with them the rest of the buffers they came in:
/// for each content two buffers more at the most.
const BATCH_BYTES: usize = 4 << 20;
/// Beyond so many keys an operation leases the whole pool.
const MANY: u64 = 1 << 20;

/// Puts the contents of a layer into the pool, as the [`Bodies`] of [`split`](lamina_layer::split()).
///
/// What it took is complete after [`PoolWriter::finish`]. Killed before, it leaves objects that
/// nobody refers to, for the collector.
#[derive(Debug)]
pub struct PoolWriter<'a> {
    store: &'a Store,
    op: &'a Operation,
    early: Option<Early>,
    shared: Option<&'a HashMap<&'a [u8], &'a File>>,
    current: Option<Current>,
    pending: Vec<Pending>,
    /// How many bytes of the batch have no file yet.
    held: usize,
    /// What each content takes, in the order they came.
    blocks: Vec<u64>,
    /// How many contents were here, and how many were not.
    known: u64,
    unknown: u64,
    failure: Option<PoolError>,
}

#[derive(Debug)]
enum Current {
    /// In the buffers that it came in.
    Held(Vec<Bytes>),
    File(File),
    /// In a file that has it already.
    Shared(File),
    /// With the regions that are left.
    Parts(File, Vec<SparsePart>),
}

#[derive(Debug)]
struct Pending {
    /// Its place in `blocks`.
    place: usize,
    id: ObjectId,
    size: u64,
    holes: bool,
    content: Current,
}

impl<'a> PoolWriter<'a> {
    /// Starts to take contents for `op`, which leases them.
    pub fn new(store: &'a Store, op: &'a Operation) -> Self {
        Self {
            store,
            op,
            early: None,
            shared: None,
            current: None,
            pending: Vec::new(),
            held: 0,
            blocks: Vec::new(),
            known: 0,
            unknown: 0,
            failure: None,
        }
    }

    /// Has new contents written to the disk while others still come.
    #[must_use]
    pub fn writing_early(self, early: Option<Early>) -> Self {
        Self { early, ..self }
    }

    /// Takes the contents of these paths as the files they are, without a name and on the store's
    /// filesystem, instead of writing them; nobody else may write into those.
    #[must_use]
    pub fn sharing(self, shared: Option<&'a HashMap<&'a [u8], &'a File>>) -> Self {
        Self { shared, ..self }
    }

    /// Stores what is left and returns what each content takes on the disk, in units of 512 bytes,
    /// in the order they were given.
    pub fn finish(mut self) -> Result<Vec<u64>, PoolError> {
        self.store_batch()?;
        Ok(self.blocks)
    }

    /// Returns why taking a content failed; the error that [`Bodies`] gave says less.
    pub fn failure(&mut self) -> Option<PoolError> {
        self.failure.take()
    }

    /// Puts one content at hand into the pool; [`PoolWriter::finish`] makes sure that it is there.
    pub fn put(&mut self, bytes: &[u8]) -> Result<ObjectId, PoolError> {
        let id = ObjectId::of(bytes);
        let content = Current::Held(vec![Bytes::copy_from_slice(bytes)]);
        self.add(id, bytes.len() as u64, false, content)?;
        Ok(id)
    }

    fn add(
        &mut self,
        id: ObjectId,
        size: u64,
        holes: bool,
        content: Current,
    ) -> Result<(), PoolError> {
        let content = match content {
            // In the processor's cache it costs less than later.
            Current::Held(pieces) if !self.looks_first() => Current::File(self.file_of(&pieces)?),
            Current::Held(pieces) => {
                self.held += pieces.iter().map(Bytes::len).sum::<usize>();
                Current::Held(pieces)
            }
            written => written,
        };
        let place = self.blocks.len();
        self.blocks.push(0);
        self.pending.push(Pending {
            place,
            id,
            size,
            holes,
            content,
        });
        if self.pending.len() >= BATCH || self.held >= BATCH_BYTES {
            self.store_batch()?;
        }
        Ok(())
    }

    fn store_batch(&mut self) -> Result<(), PoolError> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            self.store_pending(pending)?;
        }
        self.held = 0;
        Ok(())
    }

    fn store_pending(&mut self, pending: Vec<Pending>) -> Result<(), PoolError> {
        self.lease(&pending)?;
        let pool = self.store.pool();
        let batch = new_batch();
        let mut written = Vec::new();
        let look = self.looks_first();
        for one in pending {
            match if look {
                pool.find(&one.id, one.size)?
            } else {
                Found::Missing
            } {
                Found::Here { blocks } => {
                    self.blocks[one.place] = blocks;
                    self.known += 1;
                    continue;
                }
                Found::Damaged => pool.drop_damaged(&one.id)?,
                Found::Missing => {}
            }
            written.push(self.write(one, batch)?);
        }
        if written.is_empty() {
            return Ok(());
        }
        let _lock = self.store.lock_shared()?;
        sync::mark(self.store, &Unsynced::batch(&HEXLOWER.encode(&batch)))?;
        for (place, id, size, file) in written {
            let unknown = self.unknown;
            self.blocks[place] = self.link(&id, size, &file)?;
            if let (Some(early), true) = (&self.early, self.unknown > unknown) {
                early.offer(file, size);
            }
        }
        Ok(())
    }

    fn lease(&self, pending: &[Pending]) -> Result<(), PoolError> {
        let keys: Vec<ObjectKey> = pending.iter().map(|one| (&one.id).into()).collect();
        let before = self.op.count_objects(keys.len() as u64);
        let line = match before {
            0..MANY => Line::Objects(keys),
            before if before < MANY + BATCH as u64 * 2 => Line::Pool,
            _ => return Ok(()),
        };
        Ok(self.op.lease(&[line])?)
    }

    /// Gives a content its file, whole and sealed, without a name.
    fn write(&self, one: Pending, batch: Batch) -> Result<(usize, ObjectId, u64, File), PoolError> {
        let file = match one.content {
            Current::File(file) | Current::Shared(file) | Current::Parts(file, _) => file,
            Current::Held(pieces) => self.file_of(&pieces)?,
        };
        let seal = Seal {
            id: one.id,
            batch,
            holes: one.holes,
        };
        seal.set(&file)
            .at("seal an object in", self.store.pool().path())?;
        Ok((one.place, one.id, one.size, file))
    }

    fn file_of(&self, pieces: &[Bytes]) -> Result<File, PathError> {
        let mut file = unnamed(self.store)?;
        for piece in pieces {
            file.write_all(piece)
                .at("write", self.store.pool().path())?;
        }
        Ok(file)
    }

    /// Returns whether it is looked for contents before they are written. Where next to none were
    /// here, looking costs more than what is written in vain: giving a file its name finds those
    /// that are here, too.
    fn looks_first(&self) -> bool {
        self.unknown < BATCH as u64 || self.known * 8 > self.unknown
    }

    /// Links a file to its name, which an equal one may have.
    fn link(&mut self, id: &ObjectId, size: u64, file: &File) -> Result<u64, PoolError> {
        let pool = self.store.dir(Area::Pool)?;
        let path = ObjectKey::from(id).path();
        for _ in 0..3 {
            match link(file, pool, &path) {
                Ok(()) => {
                    self.unknown += 1;
                    let stat = rustix::fs::fstat(file).at("stat", pool.path().join(&path))?;
                    return Ok(u64::try_from(stat.st_blocks).unwrap_or(0));
                }
                Err(Errno::NOENT) => {
                    let folder = path.split('/').next().unwrap_or_default();
                    pool.ensure_dir(folder, 0o700)?;
                }
                Err(Errno::EXIST) => match self.store.pool().find(id, size)? {
                    Found::Here { blocks } => {
                        self.known += 1;
                        return Ok(blocks);
                    }
                    Found::Damaged => self.store.pool().drop_damaged(id)?,
                    Found::Missing => {}
                },
                Err(error) => return Err(error).at("create", pool.path().join(&path))?,
            }
        }
        Err(Errno::AGAIN).at("create", pool.path().join(&path))?
    }

    fn note(&mut self, failure: PoolError) -> io::Error {
        let error = io::Error::other(failure.to_string());
        self.failure.get_or_insert(failure);
        error
    }

    /// Returns how long a content may be to be hashed before anything is written. Writing the long
    /// ones as they come is faster where they are new, and in vain where they are not.
    fn in_memory(&self) -> u64 {
        match self.known > self.unknown {
            true => IN_MEMORY_IF_KNOWN,
            false => IN_MEMORY,
        }
    }

    fn begin_file(&mut self, entry: &Entry) -> Result<Current, PoolError> {
        let at = || self.store.pool().path();
        if let Kind::Sparse { size, parts } = &entry.kind {
            let file = unnamed(self.store)?;
            file.set_len(*size).at("write", at())?;
            let parts = parts.iter().rev().copied().collect();
            return Ok(Current::Parts(file, parts));
        }
        if let Some(file) = self.shared.and_then(|files| files.get(&*entry.path)) {
            return Ok(Current::Shared(file.try_clone().at("duplicate", at())?));
        }
        if entry.stored > self.in_memory() {
            return Ok(Current::File(unnamed(self.store)?));
        }
        Ok(Current::Held(Vec::new()))
    }
}

impl Bodies for PoolWriter<'_> {
    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        match self.begin_file(entry) {
            Ok(current) => {
                self.current = Some(current);
                Ok(())
            }
            Err(failure) => Err(self.note(failure)),
        }
    }

    fn data(&mut self, bytes: Bytes) -> io::Result<()> {
        let written = match &mut self.current {
            None | Some(Current::Shared(_)) => Ok(()),
            Some(Current::Held(pieces)) => {
                pieces.push(bytes);
                Ok(())
            }
            Some(Current::File(file)) => file.write_all(&bytes),
            Some(Current::Parts(file, parts)) => write_parts(file, parts, &bytes),
        };
        written
            .at("write", self.store.pool().path())
            .map_err(|error| self.note(error.into()))
    }

    fn end(&mut self, entry: &Entry, object: &ObjectRef) -> io::Result<Option<u64>> {
        let (size, holes) = match entry.kind {
            Kind::Sparse { size, .. } => (size, true),
            _ => (object.stored, false),
        };
        if let Some(content) = self.current.take() {
            self.add(object.id, size, holes, content)
                .map_err(|failure| self.note(failure))?;
        }
        Ok(None)
    }
}

/// Writes content where its regions are; `parts` has those that are left, the next one last.
fn write_parts(file: &File, parts: &mut Vec<SparsePart>, mut bytes: &[u8]) -> io::Result<()> {
    while let (false, Some(part)) = (bytes.is_empty(), parts.last_mut()) {
        let take = usize::try_from(part.length).map_or(bytes.len(), |left| left.min(bytes.len()));
        file.write_all_at(&bytes[..take], part.offset)?;
        bytes = &bytes[take..];
        part.offset += take as u64;
        part.length -= take as u64;
        if part.length == 0 {
            parts.pop();
        }
    }
    Ok(())
}

fn unnamed(store: &Store) -> Result<File, PathError> {
    store.dir(Area::Pool)?.unnamed_file(0o400)
}

fn link(file: &File, pool: impl AsFd, path: &str) -> Result<(), Errno> {
    match rustix::fs::linkat(file, "", &pool, path, AtFlags::EMPTY_PATH) {
        // Without CAP_DAC_READ_SEARCH, before 6.10; or the folder is missing.
        Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
            let by_proc = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, by_proc, pool, path, AtFlags::SYMLINK_FOLLOW)
        }
        other => other,
    }
}

fn new_batch() -> Batch {
    let mut batch = [0; 8];
    // As for the names of operations: what fails here fails everywhere.
    getrandom::fill(&mut batch).expect("the kernel has random bytes");
    batch
}
