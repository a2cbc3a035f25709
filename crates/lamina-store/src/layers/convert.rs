//! From one form of a layer to the other: contents into the pool, or a tree out of it.
//!
//! A layer may have both. Both ways verify every content, do nothing where the form is there, hold
//! the layer's lock, and have everything on the disk before the layer says that it has it: what
//! was acknowledged is never marked as doubtful again.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, PipeReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use bytes::Bytes;
use lamina_fs::{At, Dir, Durability};
use lamina_layer::{
    Bodies, Content, Contents, Entry, Kind, Limits, ObjectId, ObjectRef, RebuildError, SplitReader,
    apply,
};
use lamina_types::DiffId;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::{INFO, LayerError, Layers, PLAIN, Stored};
use crate::area::Area;
use crate::meta::POOL;
use crate::ops::{Line, Operation};
use crate::pool::PoolWriter;

/// Bytes of a content that are passed on at once.
const CHUNK: usize = 256 << 10;

impl Layers<'_> {
    /// Returns whether the layer is unpacked, in the tree that [`Layers::tree`] names.
    pub fn has_tree(&self, diff_id: &DiffId) -> Result<bool, LayerError> {
        let name = Path::new(diff_id.0.hex()).join(PLAIN);
        let layers = self.0.dir(Area::Layers)?;
        match rustix::fs::statat(layers, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error).at("stat", layers.path().join(name))?,
        }
    }

    /// Puts a layer's contents into the pool; its tree stays. Idempotent, durable on return; leases
    /// the layer for `op`.
    ///
    /// Fails with [`LayerError::NoSplit`] for a layer of an older store that was not converted.
    pub fn pool(&self, op: &Operation, diff_id: &DiffId) -> Result<(), LayerError> {
        op.lease(&[Line::Layer(diff_id.clone())])?;
        let is_pooled = || -> Result<bool, LayerError> {
            Ok(self.get(diff_id)?.is_some_and(|layer| layer.info.pooled))
        };
        if is_pooled()? {
            return Ok(());
        }
        let _lock = self.lock(diff_id, &mut |_| true)?;
        if is_pooled()? {
            return Ok(());
        }
        self.copy_to_pool(op, diff_id)?;
        self.0.require(POOL)?;
        self.set_pooled(diff_id)
    }

    /// Puts the contents of a layer's tree into the pool as far as they are not there, whatever the
    /// layer says. Durable on return; leases the layer for `op`.
    pub(crate) fn pool_again(&self, op: &Operation, diff_id: &DiffId) -> Result<(), LayerError> {
        op.lease(&[Line::Layer(diff_id.clone())])?;
        let _lock = self.lock(diff_id, &mut |_| true)?;
        self.copy_to_pool(op, diff_id)
    }

    fn copy_to_pool(&self, op: &Operation, diff_id: &DiffId) -> Result<(), LayerError> {
        let split = self.split(diff_id)?;
        let split = split.ok_or_else(|| LayerError::NoSplit(diff_id.clone()))?;
        let mut contents = self.contents(diff_id)?;
        let mut writer = PoolWriter::new(self.0, op);
        let copied = copy(split, &mut contents, &mut writer);
        if let Some(failure) = writer.failure() {
            return Err(LayerError::Pool(Box::new(failure)));
        }
        copied.map_err(|source| LayerError::Rebuild {
            diff_id: diff_id.clone(),
            source: Box::new(source),
        })?;
        writer
            .finish()
            .map_err(|failure| LayerError::Pool(Box::new(failure)))?;
        Ok(self.0.root().syncfs()?)
    }

    fn set_pooled(&self, diff_id: &DiffId) -> Result<(), LayerError> {
        let Some(mut layer) = self.get(diff_id)? else {
            // It was collected: nobody held it.
            return Ok(());
        };
        layer.info.pooled = true;
        let dir = self.dir(diff_id)?;
        let stored = serde_json::to_vec(&Stored::new(&layer.info));
        let bytes = stored.map_err(|source| LayerError::Info {
            path: dir.path().join(INFO),
            source,
        })?;
        Ok(dir.replace(INFO, &bytes, 0o600, Durability::Durable)?)
    }

    /// Unpacks a layer whose contents are in the pool; they stay there. Idempotent, durable on
    /// return; leases the layer for `op`.
    pub fn unpack(&self, op: &Operation, diff_id: &DiffId) -> Result<(), LayerError> {
        op.lease(&[Line::Layer(diff_id.clone())])?;
        if self.has_tree(diff_id)? {
            return Ok(());
        }
        let _lock = self.lock(diff_id, &mut |_| true)?;
        if self.has_tree(diff_id)? {
            return Ok(());
        }
        let draft = op.draft()?;
        let tree = draft.dir().mkdir(PLAIN, 0o755)?;
        self.unpack_into(diff_id, &tree)?;
        self.0.root().syncfs()?;
        let layer = self.dir(diff_id)?;
        draft
            .dir()
            .rename_to(PLAIN, &layer, PLAIN, Durability::Durable)?;
        Ok(())
    }

    /// Makes the layer's tar again and unpacks it at once.
    fn unpack_into(&self, diff_id: &DiffId, tree: &Dir) -> Result<(), LayerError> {
        let (reader, writer) = io::pipe().at("make a pipe to", tree.path())?;
        let unpack = |reader: PipeReader| {
            apply(
                BufReader::with_capacity(CHUNK, reader),
                tree.as_fd(),
                &Limits::default(),
            )
            .map_err(|source| LayerError::Unpack {
                diff_id: diff_id.clone(),
                source,
            })
        };
        thread::scope(|scope| {
            let unpacked = scope.spawn(|| unpack(reader));
            let rebuilt = self.rebuild(diff_id, BufWriter::with_capacity(CHUNK, writer));
            let unpacked = unpacked.join().map_err(|_| {
                LayerError::from(lamina_fs::PathError {
                    act: "unpack a layer into",
                    path: tree.path().to_path_buf(),
                    source: io::ErrorKind::Interrupted.into(),
                })
            })?;
            match rebuilt {
                // The other side has ended and knows why.
                Err(LayerError::Rebuild { source, .. }) if is_closed(&source) => unpacked.map(drop),
                Err(error) => Err(error),
                Ok(_) => unpacked.map(drop),
            }
        })
    }
}

fn is_closed(error: &RebuildError) -> bool {
    matches!(error, RebuildError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

/// Gives every content that the split stream refers to, verified, to `bodies`.
fn copy(
    split: File,
    contents: &mut impl Contents,
    bodies: &mut impl Bodies,
) -> Result<(), RebuildError> {
    let mut reader = SplitReader::new(split, Limits::default())?;
    let mut buffer = vec![0; CHUNK];
    while let Some(next) = reader.next_entry()? {
        let Content::Object(object) = next.content else {
            continue;
        };
        let entry = next.entry;
        let id = content(&entry, &object, contents, bodies, &mut buffer).map_err(|source| {
            RebuildError::Content {
                path: entry.path.clone(),
                source,
            }
        })?;
        if id != object.id {
            return Err(RebuildError::Changed {
                path: entry.path,
                expected: object.id,
            });
        }
        // Only now: what it is not must not get its name.
        let ended = bodies.end(&entry, &object);
        ended.map_err(RebuildError::Write)?;
    }
    Ok(())
}

/// Reads one content and returns its id.
pub(crate) fn content_id(
    entry: &Entry,
    object: &ObjectRef,
    contents: &mut impl Contents,
) -> io::Result<ObjectId> {
    content(entry, object, contents, &mut (), &mut vec![0; CHUNK])
}

/// Passes one content on and returns its id.
fn content(
    entry: &Entry,
    object: &ObjectRef,
    contents: &mut impl Contents,
    bodies: &mut impl Bodies,
    buffer: &mut [u8],
) -> io::Result<ObjectId> {
    let mut from = contents.open(entry, object)?;
    let mut hash = Sha256::new();
    bodies.begin(entry)?;
    let mut left = object.stored;
    while left > 0 {
        let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = match from.read(&mut buffer[..want]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(&buffer[..count]);
        bodies.data(Bytes::copy_from_slice(&buffer[..count]))?;
        left -= count as u64;
    }
    let stored = ObjectId::from_bytes(hash.finalize().into());
    Ok(match &entry.kind {
        Kind::Sparse { size, parts } => ObjectId::sparse(*size, parts, stored),
        _ => stored,
    })
}
