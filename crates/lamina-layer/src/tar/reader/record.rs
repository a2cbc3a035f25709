//! What splitting and rebuilding need of the reader: the bytes it has passed over, and content that
//! is not in the stream.

use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;

use super::{TarError, TarReader};
use crate::tar::TarSource;

impl<R: BufRead> TarReader<R> {
    /// From here on, keeps every byte that is passed over.
    pub(crate) fn record(&mut self) {
        self.recording = true;
    }

    /// Keeps nothing until [`TarReader::record`] is called again.
    pub(crate) fn pause_recording(&mut self) {
        self.recording = false;
    }

    /// Returns what was kept; the caller empties it.
    pub(crate) fn recorded(&mut self) -> &mut Vec<u8> {
        &mut self.recorded
    }

    /// Takes what is there and returns how much that was; nothing at the end of the stream.
    pub(super) fn pass(&mut self) -> Result<usize, TarError> {
        let available = self.fill()?;
        Ok(self.take(available)?.len())
    }

    /// Passes over the next bytes after the archive's end mark; false at the end of the stream.
    pub(crate) fn read_on(&mut self) -> Result<bool, TarError> {
        self.skip_content()?;
        Ok(self.pass()? > 0)
    }

    /// Takes the current entry's content as read: it is not in the stream.
    pub(crate) fn content_is_elsewhere(&mut self) {
        self.offset = self.offset.saturating_add(self.left);
        self.left = 0;
    }
}

impl<R: TarSource> TarReader<R> {
    /// [`TarReader::chunk`] in the buffer it came in.
    pub(crate) fn shared_chunk(&mut self) -> Result<Bytes, TarError> {
        let length = self.chunk()?.len();
        self.source.share(length).map_err(TarError::Read)
    }
}

impl<R: Read> TarReader<BufReader<R>> {
    /// Returns what is behind the buffer if every byte that was read of it has been passed over.
    pub(crate) fn at_source(&mut self) -> Option<&mut R> {
        self.settle();
        let passed = self.source.buffer().is_empty();
        passed.then(|| self.source.get_mut())
    }
}
