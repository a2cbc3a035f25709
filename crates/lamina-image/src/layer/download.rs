//! A blob's bytes on their way in: from a registry or an archive, into the partial file and into
//! the pipeline at once.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use lamina_distribution::{Client, FetchError};
use lamina_store::Partial;
use lamina_types::Reference;
use lamina_types::oci::Descriptor;

use super::UnpackError;
use super::buffers::CHUNK;
use super::pipe::Sink;
use crate::archive::{Files, PackedLayer};
use crate::progress::{Phase, Progress};

/// Where blobs come from.
pub(crate) trait Origin: Sync {
    /// Opens the blob at `offset`.
    fn open(&self, blob: &Descriptor, offset: u64) -> Result<Box<dyn Read + '_>, UnpackError>;

    /// Returns whether reading means transferring, for progress.
    fn is_remote(&self) -> bool;
}

/// A registry's repository.
#[derive(Debug)]
pub(crate) struct Registry<'a> {
    pub(crate) client: &'a Client,
    pub(crate) reference: &'a Reference,
}

impl Origin for Registry<'_> {
    fn open(&self, blob: &Descriptor, offset: u64) -> Result<Box<dyn Read + '_>, UnpackError> {
        Ok(Box::new(self.client.blob(self.reference, blob, offset)?))
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// One layer's file in an archive.
#[derive(Debug)]
pub(crate) struct InArchive<'a> {
    pub(crate) files: &'a Files,
    pub(crate) layer: PackedLayer,
}

impl Origin for InArchive<'_> {
    fn open(&self, _blob: &Descriptor, offset: u64) -> Result<Box<dyn Read + '_>, UnpackError> {
        let mut section = self.layer.open(self.files)?;
        section.skip(offset);
        Ok(Box::new(section))
    }

    fn is_remote(&self) -> bool {
        false
    }
}

/// One blob being fetched; tells its progress and listens whether it is still wanted.
pub(crate) struct BlobSource<'a> {
    pub(crate) blob: &'a Descriptor,
    pub(crate) origin: &'a dyn Origin,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) stop: &'a AtomicBool,
}

impl BlobSource<'_> {
    /// Sends the whole blob into `sink`: first what `partial` has, then the rest, which it gets.
    pub(crate) fn download(
        &self,
        partial: &mut Partial,
        sink: &mut Sink,
    ) -> Result<(), UnpackError> {
        let here = partial.len();
        if here > 0 {
            let mut reader = partial.reader()?.take(here);
            self.copy(sink, 0, |buffer| read_full(&mut reader, buffer))?;
        }
        self.append_rest(partial, |read| self.copy(sink, here, read))
    }

    /// Fetches what `partial` lacks without unpacking it.
    pub(crate) fn complete(&self, partial: &mut Partial) -> Result<(), UnpackError> {
        let mut buffer = vec![0; CHUNK];
        self.append_rest(partial, |read| {
            while read(&mut buffer)? > 0 {}
            Ok(())
        })
    }

    /// Calls `each` with a reader of blocks that appends what it reads to `partial`.
    fn append_rest(
        &self,
        partial: &mut Partial,
        each: impl FnOnce(
            &mut dyn FnMut(&mut [u8]) -> Result<usize, UnpackError>,
        ) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        if partial.len() == partial.expected() {
            return Ok(());
        }
        let mut remote = self.origin.open(self.blob, partial.len())?;
        each(&mut |buffer| {
            if self.stop.load(Ordering::Relaxed) {
                return Err(UnpackError::Cancelled);
            }
            let count = read_full(&mut remote, buffer)?;
            partial.append(&buffer[..count])?;
            Ok(count)
        })
    }

    /// Sends a blob that is here already.
    pub(crate) fn unpack_from(
        &self,
        file: &mut impl Read,
        sink: &mut Sink,
    ) -> Result<(), UnpackError> {
        self.copy(sink, 0, |buffer| read_full(file, buffer))
    }

    fn copy(
        &self,
        sink: &mut Sink,
        from: u64,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, UnpackError>,
    ) -> Result<(), UnpackError> {
        let total = self.blob.size;
        let mut done = from;
        loop {
            let count = sink.fill(&mut read)?;
            if count == 0 {
                return Ok(());
            }
            done += count as u64;
            let phase = if self.origin.is_remote() {
                Phase::Downloading { done, total }
            } else {
                Phase::Extracting { done, total }
            };
            self.progress.layer(&self.blob.digest, phase);
        }
    }
}

/// Fills `buffer` as far as there are bytes: one write and one hash for many small reads.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, UnpackError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(from_io(e)),
        }
    }
    Ok(filled)
}

/// Returns the registry's error that an I/O error carries, if it carries one.
fn from_io(error: io::Error) -> UnpackError {
    match FetchError::from_io(error) {
        Ok(fetch) => UnpackError::Fetch(fetch),
        Err(other) => UnpackError::Read(other),
    }
}
