//! A tar into a split stream, in one streaming pass.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::rebuild::id_of;
use super::records::RecordWriter;
use super::{INLINE_LIMIT, IndexRecord, ObjectId, ObjectIndex, ObjectRef, SplitError};
use crate::apply::is_mark;
use crate::tar::{Entry, Kind, TarReader};
use crate::{Limits, TarError};

/// Who takes the contents that the stream only refers to.
///
/// For each of them: [`begin`](Self::begin), [`data`](Self::data) until everything was given, and
/// [`end`](Self::end) with its id. After an error nothing more is asked of it.
pub trait Bodies {
    /// A content begins: `entry.stored` bytes, to lie in the regions that `entry.kind` says.
    fn begin(&mut self, entry: &Entry) -> io::Result<()>;
    /// Its next bytes.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// It is complete. Returns what it takes on the disk, in units of 512 bytes, if that is known.
    fn end(&mut self, entry: &Entry, object: &ObjectRef) -> io::Result<Option<u64>>;
}

/// Nobody: contents are only hashed. They are kept by whoever unpacks the same tar.
impl Bodies for () {
    fn begin(&mut self, _entry: &Entry) -> io::Result<()> {
        Ok(())
    }

    fn data(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _entry: &Entry, _object: &ObjectRef) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// Entries in the tar.
    pub entries: u64,
    /// Bytes of file content, holes not counted.
    pub bytes: u64,
    /// The length of the tar.
    pub tar_bytes: u64,
    /// The contents that are referred to, in the order of the tar, as often as they are.
    pub objects: Vec<IndexRecord>,
}

impl Split {
    /// Returns the index of the layer; `blocks` is what each content takes on the disk, in the
    /// same order as [`Split::objects`], where that is known better.
    pub fn index(&self, blocks: &[u64]) -> ObjectIndex {
        let mut records = self.objects.clone();
        for (record, blocks) in records.iter_mut().zip(blocks) {
            record.blocks = *blocks;
        }
        ObjectIndex::new(records)
    }
}

/// Reads `tar` to its end, writes its split stream to `out` and gives the larger contents to
/// `bodies`.
///
/// Memory is bounded by `limits` and the number of objects. Entries are not checked beyond what
/// the tar reader checks: a name that leads out of the layer is passed on as it is.
pub fn split(
    tar: impl Read,
    out: impl Write,
    bodies: &mut impl Bodies,
    limits: &Limits,
) -> Result<Split, SplitError> {
    let mut reader = TarReader::new(tar, limits.clone());
    reader.record();
    let mut records = RecordWriter::new(out).map_err(SplitError::Write)?;
    let mut result = Split::default();
    while let Some(entry) = reader.next_entry()? {
        result.entries += 1;
        result.bytes = result.bytes.saturating_add(entry.stored);
        let size = entry.file_size();
        check("content bytes", result.bytes, limits.max_bytes)?;
        check("bytes of one file", size, limits.max_file_size)?;
        let sparse = matches!(entry.kind, Kind::Sparse { .. });
        if entry.stored <= INLINE_LIMIT && !sparse {
            continue;
        }
        if is_mark(&entry.path) {
            // Nobody unpacks it: it stays in the stream, however long it is.
            while !reader.chunk()?.is_empty() {
                flush(&mut reader, &mut records)?;
            }
            continue;
        }
        flush(&mut reader, &mut records)?;
        let (object, blocks) = body(&mut reader, &entry, bodies)?;
        records.reference(&object).map_err(SplitError::Write)?;
        result.objects.push(IndexRecord {
            id: object.id,
            size,
            blocks: blocks.unwrap_or(entry.stored.div_ceil(4096) * 8),
        });
    }
    loop {
        flush(&mut reader, &mut records)?;
        if !reader.read_on()? {
            break;
        }
    }
    result.tar_bytes = records.finish().map_err(SplitError::Write)?;
    Ok(result)
}

fn check(what: &'static str, value: u64, limit: u64) -> Result<(), TarError> {
    if value > limit {
        return Err(TarError::Limit { what, limit });
    }
    Ok(())
}

fn flush<R: Read, W: Write>(
    reader: &mut TarReader<R>,
    records: &mut RecordWriter<W>,
) -> Result<(), SplitError> {
    let recorded = reader.recorded();
    records.raw(recorded).map_err(SplitError::Write)?;
    recorded.clear();
    Ok(())
}

/// Hashes one content and passes it on.
fn body<R: Read>(
    reader: &mut TarReader<R>,
    entry: &Entry,
    bodies: &mut impl Bodies,
) -> Result<(ObjectRef, Option<u64>), SplitError> {
    let failed = |source| SplitError::Body {
        path: entry.path.clone(),
        source,
    };
    let mut hash = Sha256::new();
    bodies.begin(entry).map_err(failed)?;
    reader.pause_recording();
    loop {
        let chunk = reader.chunk()?;
        if chunk.is_empty() {
            break;
        }
        hash.update(chunk);
        bodies.data(chunk).map_err(failed)?;
    }
    reader.record();
    let stored = ObjectId::from_bytes(hash.finalize().into());
    let object = ObjectRef {
        id: id_of(&entry.kind, stored),
        stored: entry.stored,
    };
    let blocks = bodies.end(entry, &object).map_err(failed)?;
    Ok((object, blocks))
}
