//! Contents on their way into a tar that is only hashed, and the holes between them.

use std::fs::File;
use std::io::{self, Read};

use lamina_layer::{Contents, Entry, Kind, ObjectRef, SparsePart, StoredParts};
use rustix::fs::SeekFrom;

use super::Work;
use crate::hash::Hasher;
use crate::layers::LayerContents;

/// Contents of a layer; those of files with holes must have nothing in the holes.
pub(super) struct Checking<'w, 's> {
    pub(super) inner: LayerContents,
    pub(super) work: &'w Work<'s>,
}

impl Contents for Checking<'_, '_> {
    fn open(&mut self, entry: &Entry, object: &ObjectRef) -> io::Result<Box<dyn Read + '_>> {
        let file = self.inner.file(entry, object)?;
        if let Kind::Sparse { size, parts } = &entry.kind {
            holes_are_empty(&file, *size, parts)?;
        }
        self.work.read(object.stored);
        Ok(Box::new(StoredParts::of(file, &entry.kind)?))
    }
}

/// Reads what a file has between the regions that its layer stored: there must be nothing.
pub(super) fn holes_are_empty(file: &File, size: u64, parts: &[SparsePart]) -> io::Result<()> {
    let mut at = 0;
    let end = SparsePart {
        offset: size,
        length: 0,
    };
    for part in parts.iter().chain([&end]) {
        is_zero(file, at, part.offset)?;
        at = part.offset + part.length;
    }
    Ok(())
}

fn is_zero(file: &File, mut at: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0; 64 << 10];
    while at < end {
        at = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let left = end.saturating_sub(at);
        let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = file.read_at(&mut buffer[..want], at)?;
        if count == 0 {
            return Ok(());
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            let text = "it has bytes where there should be none";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        at += count as u64;
    }
    Ok(())
}

/// Hashes what is written.
pub(super) struct Hashing(pub(super) Hasher);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
