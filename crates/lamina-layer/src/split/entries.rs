//! The entries of a layer out of its split stream.

use std::io::{BufReader, Read};

use super::error::tar_error;
use super::records::{Next, RecordReader};
use super::{MAX_INLINE, ObjectRef, SplitError};
use crate::Limits;
use crate::apply::is_mark;
use crate::tar::{Entry, Kind, TarReader};

/// Bytes of the tar that are read at a time.
const WINDOW: usize = 64 << 10;

/// An entry and where its content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitEntry {
    /// The entry as the tar has it.
    pub entry: Entry,
    /// Its content.
    pub content: Content,
}

/// Where the content of an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Here: all of a regular file's bytes, at most 64 KiB. Empty for an empty file, for
    /// everything that is no file, and for whiteouts, whatever stands behind them.
    Inline(Vec<u8>),
    /// In an object. Always so for a file with holes, whatever it stores; the object is then the
    /// whole file with its holes.
    Object(ObjectRef),
}

/// Reads the entries of a layer, in the order of its tar.
///
/// The same strictness and the same bounds as reading the tar itself.
pub struct SplitReader<R: Read> {
    tar: TarReader<BufReader<RecordReader<R>>>,
}

impl<R: Read> std::fmt::Debug for SplitReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SplitReader").finish_non_exhaustive()
    }
}

impl<R: Read> SplitReader<R> {
    /// Starts reading; needs no buffered reader.
    pub fn new(split: R, limits: Limits) -> Result<Self, SplitError> {
        let records = BufReader::with_capacity(WINDOW, RecordReader::new(split)?);
        Ok(Self {
            tar: TarReader::new(records, limits),
        })
    }

    /// Returns the next entry, `None` after the last; then everything has been read and verified
    /// to be whole.
    pub fn next_entry(&mut self) -> Result<Option<SplitEntry>, SplitError> {
        let next = self.next_only()?;
        if next.is_none() {
            while self.read_on()? {}
        }
        Ok(next)
    }

    /// Reads to the end and returns the length of the tar.
    pub fn tar_bytes(mut self) -> Result<u64, SplitError> {
        while self.next_entry()?.is_some() {}
        self.tar.finish().map_err(tar_error)
    }

    /// Returns the next entry; after the last, what follows the archive is still to be read.
    pub(super) fn next_only(&mut self) -> Result<Option<SplitEntry>, SplitError> {
        let Some(entry) = self.tar.next_entry().map_err(tar_error)? else {
            return Ok(None);
        };
        let content = self.content(&entry)?;
        Ok(Some(SplitEntry { entry, content }))
    }

    /// Passes over a piece of content that was not looked at; false if there is none.
    pub(super) fn skip_on(&mut self) -> Result<bool, SplitError> {
        Ok(!self.tar.chunk().map_err(tar_error)?.is_empty())
    }

    /// Passes over a piece of what follows the archive; false at the end.
    pub(super) fn read_on(&mut self) -> Result<bool, SplitError> {
        self.tar.read_on().map_err(tar_error)
    }

    /// Keeps the bytes of the tar that are in the stream.
    pub(super) fn record(&mut self) {
        self.tar.record();
    }

    /// Returns the bytes that were kept; the caller empties it.
    pub(super) fn recorded(&mut self) -> &mut Vec<u8> {
        self.tar.recorded()
    }

    fn content(&mut self, entry: &Entry) -> Result<Content, SplitError> {
        if is_mark(&entry.path) {
            return Ok(Content::Inline(Vec::new()));
        }
        let file = matches!(entry.kind, Kind::File | Kind::Sparse { .. });
        let next = self.tar.at_source().map(|records| records.next());
        if let (true, Some(Next::Object(object))) = (file, next) {
            if object.stored != entry.stored {
                return Err(SplitError::Malformed("a reference of another size"));
            }
            if entry.kind == Kind::File && object.stored == 0 {
                return Err(SplitError::Malformed("a reference to nothing"));
            }
            if let Some(records) = self.tar.at_source() {
                records.take_reference()?;
            }
            self.tar.content_is_elsewhere();
            return Ok(Content::Object(object));
        }
        if matches!(entry.kind, Kind::Sparse { .. }) {
            return Err(SplitError::Malformed("a file with holes has no reference"));
        }
        if entry.stored > MAX_INLINE {
            return Err(SplitError::Malformed("a large file has no reference"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(entry.stored).unwrap_or(0));
        loop {
            let chunk = self.tar.chunk().map_err(tar_error)?;
            if chunk.is_empty() {
                return Ok(Content::Inline(bytes));
            }
            bytes.extend_from_slice(chunk);
        }
    }
}
