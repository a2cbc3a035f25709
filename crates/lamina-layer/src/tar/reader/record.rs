//! What splitting and rebuilding need of the reader: the bytes it has passed over, and content that
//! is not in the stream.

use std::io::Read;

use super::{TarError, TarReader};

impl<R: Read> TarReader<R> {
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

    /// Passes over the next bytes after the archive's end mark; false at the end of the stream.
    pub(crate) fn read_on(&mut self) -> Result<bool, TarError> {
        self.skip_content()?;
        let available = self.fill(1)?;
        self.take(available);
        Ok(available > 0)
    }

    /// Returns the source if every byte that was read of it has been passed over.
    pub(crate) fn at_source(&self) -> Option<&R> {
        (self.start == self.end).then_some(&self.source)
    }

    /// Returns the source.
    pub(crate) fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// Takes the current entry's content as read: it is not in the stream.
    pub(crate) fn content_is_elsewhere(&mut self) {
        self.offset = self.offset.saturating_add(self.left);
        self.left = 0;
    }
}
