//! All blobs of a push, in parallel.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lamina_distribution::{BlobSource, FetchError, Sent, Upload};
use lamina_types::Digest;
use lamina_types::oci::Manifest;

use super::plan::Blob;
use super::{Push, PushError};
use crate::documents::{MAX_DOCUMENT, parse_manifest};
use crate::fault::StoreFault;
use crate::progress::Phase;

/// Blobs at a time.
const PARALLEL: usize = 6;
/// Names that are looked at for repositories to mount from.
const NAMES_MAX: usize = 1000;

impl Push<'_> {
    /// Sends every blob that is not there. The first failure stops the others.
    pub(super) fn send_blobs(&self, blobs: &[Blob]) -> Result<(), PushError> {
        let neighbours = self.neighbours()?;
        let mut order: Vec<&Blob> = blobs.iter().collect();
        // The largest first, so that none of them is what everybody waits for at the end.
        order.sort_by_key(|blob| std::cmp::Reverse(blob.descriptor.size));
        for blob in &order {
            self.progress
                .layer(&blob.descriptor.digest, Phase::Preparing);
        }
        let stop = AtomicBool::new(false);
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<PushError>> = Mutex::new(None);
        let work = || {
            while let Some(blob) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Err(error) = self.send_blob(blob, &neighbours, &stop) {
                    let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert(error);
                    stop.store(true, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..order.len().min(PARALLEL) {
                scope.spawn(work);
            }
            work();
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    fn send_blob(
        &self,
        blob: &Blob,
        neighbours: &HashMap<Digest, Vec<String>>,
        stop: &AtomicBool,
    ) -> Result<(), PushError> {
        let Blob { descriptor, packed } = blob;
        let digest = &descriptor.digest;
        let total = descriptor.size;
        let none = Vec::new();
        let source = Bytes {
            push: self,
            digest,
            packed: packed.as_ref(),
            stop,
        };
        let sent = self.client.push_blob(
            self.name,
            &Upload {
                descriptor,
                source: &source,
                mount_from: neighbours.get(digest).unwrap_or(&none),
                progress: &|done| self.progress.layer(digest, Phase::Pushing { done, total }),
            },
        );
        let phase = match sent {
            Ok(Sent::Existed) => Phase::Present,
            Ok(Sent::Mounted(_)) => Phase::Mounted,
            Ok(Sent::Uploaded) => Phase::Pushed,
            Err(FetchError::Source { source }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(self.missing(format!("blob {digest}")));
            }
            Err(error) => return Err(self.refused(error)),
        };
        self.progress.layer(digest, phase);
        Ok(())
    }

    /// Returns, for each blob, the other repositories of the registry that images here have it
    /// from or under.
    fn neighbours(&self) -> Result<HashMap<Digest, Vec<String>>, StoreFault> {
        let mut found: HashMap<Digest, Vec<String>> = HashMap::new();
        let mut names = self.images.entries()?;
        names.retain(|entry| {
            entry.name.domain() == self.name.domain() && entry.name.path() != self.name.path()
        });
        for entry in names.iter().take(NAMES_MAX) {
            let blobs = self.images.store.blobs();
            // What cannot be read is no place to look.
            let bytes = blobs.read(&entry.manifest.digest, MAX_DOCUMENT);
            let manifest: Option<Manifest> = bytes.ok().and_then(|b| parse_manifest(&b).ok());
            for layer in manifest.into_iter().flat_map(|manifest| manifest.layers) {
                let places = found.entry(layer.digest).or_default();
                if !places.iter().any(|path| path == entry.name.path()) {
                    places.push(entry.name.path().to_owned());
                }
            }
        }
        Ok(found)
    }
}

/// A blob's bytes: the store's, or a layer's that was packed anew.
struct Bytes<'a> {
    push: &'a Push<'a>,
    digest: &'a Digest,
    packed: Option<&'a File>,
    stop: &'a AtomicBool,
}

impl BlobSource for Bytes<'_> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let reader: Box<dyn Read + '_> = match self.packed {
            Some(file) => Box::new(At { file, offset }),
            None => {
                let blobs = self.push.images.store.blobs();
                let mut file = blobs.open(self.digest).map_err(|error| error.source)?;
                file.seek(SeekFrom::Start(offset))?;
                Box::new(file)
            }
        };
        Ok(Box::new(Stoppable {
            reader,
            stop: self.stop,
        }))
    }
}

/// Reads a file that others read too.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Ends when another blob has failed.
struct Stoppable<'a> {
    reader: Box<dyn Read + 'a>,
    stop: &'a AtomicBool,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("another blob failed"));
        }
        self.reader.read(buffer)
    }
}
