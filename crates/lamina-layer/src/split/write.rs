//! A tar into a split stream, in one streaming pass.

use std::io::{self, Write};

use bytes::Bytes;
use lamina_types::{DiffId, Digest};

use super::hashes::Hash;
use super::rebuild::id_of;
use super::records::RecordWriter;
use super::{Content, INLINE_LIMIT, IndexRecord, ObjectId, ObjectIndex, ObjectRef, SplitError};
use crate::apply::{ApplyError, is_mark};
use crate::tar::{Entry, Kind, TarReader, TarSource};
use crate::tree::LayerTree;
use crate::{Limits, TarError};

/// Bytes that both hashes take in turn, where the processor does not do both at once: the second
/// finds them in the fastest cache.
const PIECE: usize = 16 << 10;

/// Who takes the contents that the stream only refers to.
///
/// For each of them: [`begin`](Self::begin), [`data`](Self::data) until everything was given, and
/// [`end`](Self::end) with its id. After an error nothing more is asked of it.
pub trait Bodies {
    /// A content begins: `entry.stored` bytes, to lie in the regions that `entry.kind` says.
    fn begin(&mut self, entry: &Entry) -> io::Result<()>;
    /// Its next bytes, which may be held on to: they are the buffer of the source.
    fn data(&mut self, bytes: Bytes) -> io::Result<()>;
    /// It is complete. Returns what it takes on the disk, in units of 512 bytes, if that is known.
    fn end(&mut self, entry: &Entry, object: &ObjectRef) -> io::Result<Option<u64>>;
}

/// Nobody: contents are only hashed. They are kept by whoever unpacks the same tar.
impl Bodies for () {
    fn begin(&mut self, _entry: &Entry) -> io::Result<()> {
        Ok(())
    }

    fn data(&mut self, _bytes: Bytes) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _entry: &Entry, _object: &ObjectRef) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// The hash of the whole tar.
    pub diff_id: DiffId,
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
/// `bodies`; hashes the whole on its way, with the contents in one pass.
///
/// Memory is bounded by `limits` and the number of objects. Entries are not checked beyond what
/// the tar reader checks: a name that leads out of the layer is passed on as it is.
pub fn split(
    tar: impl TarSource,
    out: impl Write,
    bodies: &mut impl Bodies,
    limits: &Limits,
) -> Result<Split, SplitError> {
    run(tar, out, bodies, limits, None).map(|(split, _)| split)
}

/// The same, with what [`LayerTree::read`] would make of the stream: without reading it again. An
/// entry that the tree refuses ends the tree, not the splitting.
pub fn split_with_tree(
    tar: impl TarSource,
    out: impl Write,
    bodies: &mut impl Bodies,
    limits: &Limits,
) -> Result<(Split, Result<LayerTree<Content>, ApplyError>), SplitError> {
    let (split, tree) = run(tar, out, bodies, limits, Some(LayerTree::new(limits)))?;
    // One was given.
    Ok((split, tree.unwrap_or_else(|| Ok(LayerTree::new(limits)))))
}

type Tree = Result<LayerTree<Content>, ApplyError>;

fn run(
    tar: impl TarSource,
    out: impl Write,
    bodies: &mut impl Bodies,
    limits: &Limits,
    tree: Option<LayerTree<Content>>,
) -> Result<(Split, Option<Tree>), SplitError> {
    let mut reader = TarReader::new(tar, limits.clone());
    reader.record();
    let mut splitter = Splitter {
        reader,
        records: RecordWriter::new(out).map_err(SplitError::Write)?,
        bodies,
        hash: Hash::new(),
        tree: tree.map(Ok),
    };
    let (mut entries, mut bytes, mut objects) = (0, 0_u64, Vec::new());
    while let Some(entry) = splitter.reader.next_entry()? {
        entries += 1;
        bytes = bytes.saturating_add(entry.stored);
        check("content bytes", bytes, limits.max_bytes)?;
        check("bytes of one file", entry.file_size(), limits.max_file_size)?;
        objects.extend(splitter.entry(entry)?);
    }
    loop {
        splitter.flush()?;
        if !splitter.reader.read_on()? {
            break;
        }
    }
    let tar_bytes = splitter.records.finish().map_err(SplitError::Write)?;
    let split = Split {
        diff_id: DiffId(Digest::from_sha256(splitter.hash.finish())),
        entries,
        bytes,
        tar_bytes,
        objects,
    };
    Ok((split, splitter.tree))
}

fn check(what: &'static str, value: u64, limit: u64) -> Result<(), TarError> {
    if value > limit {
        return Err(TarError::Limit { what, limit });
    }
    Ok(())
}

/// One tar on its way. Every byte of it is in what the reader has recorded or in a content, and is
/// hashed there.
struct Splitter<'b, R, W: Write, B> {
    reader: TarReader<R>,
    records: RecordWriter<W>,
    bodies: &'b mut B,
    /// That of the tar.
    hash: Hash,
    tree: Option<Tree>,
}

impl<R: TarSource, W: Write, B: Bodies> Splitter<'_, R, W, B> {
    /// Passes an entry on; returns its object if its content is referred to.
    fn entry(&mut self, entry: Entry) -> Result<Option<IndexRecord>, SplitError> {
        let sparse = matches!(entry.kind, Kind::Sparse { .. });
        if is_mark(&entry.path) {
            // Nobody unpacks it: it stays in the stream, however long it is.
            while !self.reader.chunk()?.is_empty() {
                self.flush()?;
            }
            self.grow(entry, Content::Inline(Vec::new()));
            return Ok(None);
        }
        if entry.stored <= INLINE_LIMIT && !sparse {
            if self.tree.is_some() {
                let content = self.inline(&entry)?;
                self.grow(entry, content);
            }
            return Ok(None);
        }
        self.flush()?;
        let (object, blocks) = self.body(&entry)?;
        self.records.reference(&object).map_err(SplitError::Write)?;
        let record = IndexRecord {
            id: object.id,
            size: entry.file_size(),
            blocks: blocks.unwrap_or(entry.stored.div_ceil(4096) * 8),
        };
        self.grow(entry, Content::Object(object));
        Ok(Some(record))
    }

    /// Reads a content that is short.
    fn inline(&mut self, entry: &Entry) -> Result<Content, SplitError> {
        let mut bytes = Vec::with_capacity(usize::try_from(entry.stored).unwrap_or(0));
        loop {
            let chunk = self.reader.chunk()?;
            if chunk.is_empty() {
                return Ok(Content::Inline(bytes));
            }
            bytes.extend_from_slice(chunk);
        }
    }

    /// Adds an entry to the tree, where there is one and it has refused none.
    fn grow(&mut self, entry: Entry, content: Content) {
        if let Some(Ok(tree)) = &mut self.tree
            && let Err(refused) = tree.add(entry, content)
        {
            self.tree = Some(Err(refused));
        }
    }

    fn flush(&mut self) -> Result<(), SplitError> {
        let recorded = self.reader.recorded();
        self.hash.update(recorded);
        self.records.raw(recorded).map_err(SplitError::Write)?;
        recorded.clear();
        Ok(())
    }

    /// Hashes one content and passes it on.
    fn body(&mut self, entry: &Entry) -> Result<(ObjectRef, Option<u64>), SplitError> {
        let failed = |source| SplitError::Body {
            path: entry.path.clone(),
            source,
        };
        let mut hash = Hash::new();
        self.bodies.begin(entry).map_err(failed)?;
        self.reader.pause_recording();
        loop {
            let chunk = self.reader.shared_chunk()?;
            if chunk.is_empty() {
                break;
            }
            for piece in chunk.chunks(PIECE) {
                Hash::update_both(&mut self.hash, &mut hash, piece);
            }
            self.bodies.data(chunk).map_err(failed)?;
        }
        self.reader.record();
        let stored = ObjectId::from_bytes(hash.finish());
        let object = ObjectRef {
            id: id_of(&entry.kind, stored),
            stored: entry.stored,
        };
        let blocks = self.bodies.end(entry, &object).map_err(failed)?;
        Ok((object, blocks))
    }
}
