//! The parts of a layer beside its tree: read, made a tar again, added to a layer of an older
//! store.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use lamina_fs::{At, Dir, Durability};
use lamina_layer::{Content, IndexRecord, Limits, ObjectIndex, SplitError, SplitReader, rebuild};
use lamina_types::DiffId;
use rustix::fs::OFlags;

use super::{INDEX, LayerContents, LayerError, Layers, SPLIT};
use crate::area::Area;
use crate::hash::Hasher;

/// Twenty million contents.
const INDEX_LIMIT: u64 = 1 << 30;

impl Layers<'_> {
    /// Opens the layer's split stream; `None` for a layer that is not here or that an older build
    /// made.
    pub fn split(&self, diff_id: &DiffId) -> Result<Option<File>, LayerError> {
        let name = Path::new(diff_id.0.hex()).join(SPLIT);
        match self.0.dir(Area::Layers)?.open_file(name, OFlags::RDONLY) {
            Err(error) if error.is_not_found() => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    /// Returns which contents the layer refers to; `None` as for [`Layers::split`].
    pub fn index(&self, diff_id: &DiffId) -> Result<Option<ObjectIndex>, LayerError> {
        let name = Path::new(diff_id.0.hex()).join(INDEX);
        let dir = self.0.dir(Area::Layers)?;
        let bytes = match dir.read(&name, INDEX_LIMIT) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        match ObjectIndex::decode(&bytes) {
            Ok(index) => Ok(Some(index)),
            Err(source) => Err(LayerError::Index {
                path: dir.path().join(name),
                source,
            }),
        }
    }

    /// Returns what [`Layers::index`] does by reading the split stream: where the index is lost.
    /// What each content takes on the disk is a guess then.
    pub fn index_of_split(&self, diff_id: &DiffId) -> Result<ObjectIndex, LayerError> {
        let failed = |source: SplitError| LayerError::Rebuild {
            diff_id: diff_id.clone(),
            source: Box::new(source.into()),
        };
        let split = self.split(diff_id)?;
        let split = split.ok_or_else(|| LayerError::NoSplit(diff_id.clone()))?;
        let mut reader = SplitReader::new(split, Limits::default()).map_err(failed)?;
        let mut records = Vec::new();
        while let Some(next) = reader.next_entry().map_err(failed)? {
            if let Content::Object(object) = next.content {
                let size = next.entry.file_size();
                records.push(IndexRecord {
                    id: object.id,
                    size,
                    blocks: object.stored.div_ceil(4096) * 8,
                });
            }
        }
        Ok(ObjectIndex::new(records))
    }

    /// Returns the length of the layer's tar, by reading its split stream; `None` as for
    /// [`Layers::split`].
    pub fn tar_bytes(&self, diff_id: &DiffId) -> Result<Option<u64>, LayerError> {
        let Some(split) = self.split(diff_id)? else {
            return Ok(None);
        };
        let bytes = SplitReader::new(split, Limits::default()).and_then(SplitReader::tar_bytes);
        let bytes = bytes.map_err(|source| LayerError::Rebuild {
            diff_id: diff_id.clone(),
            source: Box::new(source.into()),
        });
        bytes.map(Some)
    }

    /// Returns where the layer's contents are, for making its tar again.
    pub fn contents(&self, diff_id: &DiffId) -> Result<LayerContents, LayerError> {
        LayerContents::open(self.0, diff_id)
    }

    /// Writes the layer's tar to `out` and returns its length. Streaming; every content and, at
    /// the end, the whole is compared with what it was, so an error leaves rubbish in `out`.
    ///
    /// The caller holds the layer: by a lease, or because something it has leased leads to it.
    pub fn rebuild(&self, diff_id: &DiffId, out: impl Write) -> Result<u64, LayerError> {
        let split = self.split(diff_id)?;
        let split = split.ok_or_else(|| LayerError::NoSplit(diff_id.clone()))?;
        let mut contents = self.contents(diff_id)?;
        let mut out = Hashing {
            out,
            hash: Hasher::new(diff_id.0.algorithm()),
        };
        let bytes = rebuild(split, &mut contents, &mut out, &Limits::default());
        let bytes = bytes.map_err(|source| LayerError::Rebuild {
            diff_id: diff_id.clone(),
            source: Box::new(source),
        })?;
        let found = DiffId(out.hash.finish());
        if found != *diff_id {
            return Err(LayerError::WrongTar {
                expected: diff_id.clone(),
                found: Box::new(found),
            });
        }
        Ok(bytes)
    }

    /// Adds what a layer of an older store lacks: its split stream, which `write` fills and for
    /// which it returns the index. Idempotent, durable on return; a reader sees both or none of
    /// use, because the stream comes last.
    pub fn add_split<E: From<LayerError>>(
        &self,
        diff_id: &DiffId,
        write: impl FnOnce(&mut File) -> Result<ObjectIndex, E>,
    ) -> Result<(), E> {
        let layer = self.dir(diff_id)?;
        let mut file = layer.unnamed_file(0o600).map_err(LayerError::from)?;
        let index = write(&mut file)?;
        Ok(publish_split(&layer, &file, &index)?)
    }

    /// Takes back what [`Layers::add_split`] added.
    pub fn remove_split(&self, diff_id: &DiffId) -> Result<(), LayerError> {
        let layer = self.dir(diff_id)?;
        for name in [SPLIT, INDEX] {
            match layer.unlink(name) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(layer.sync()?)
    }

    pub(crate) fn dir(&self, diff_id: &DiffId) -> Result<Dir, LayerError> {
        Ok(self.0.dir(Area::Layers)?.open_at(diff_id.0.hex())?)
    }
}

fn publish_split(layer: &Dir, file: &File, index: &ObjectIndex) -> Result<(), LayerError> {
    layer.replace(INDEX, &index.encode(), 0o600, Durability::Durable)?;
    rustix::fs::fsync(file).at("sync", layer.path().join(SPLIT))?;
    match layer.publish(file, SPLIT) {
        Err(error) if error.is_already_exists() => {}
        other => other?,
    }
    Ok(layer.sync()?)
}

/// Hashes what it passes on.
struct Hashing<W> {
    out: W,
    hash: Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
