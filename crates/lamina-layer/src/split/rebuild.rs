//! A layer's tar out of its split stream and its files.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256};

use super::{Content, ObjectId, ObjectRef, RebuildError, SplitReader};
use crate::Limits;
use crate::tar::{Entry, Kind, SparsePart};

/// Where contents are kept.
pub trait Contents {
    /// Opens what the tar stores of `entry`'s content: all bytes of a regular file, the regions of
    /// one with holes one after the other ([`StoredParts`]). What it gives is hashed by the caller.
    fn open(&mut self, entry: &Entry, object: &ObjectRef) -> io::Result<Box<dyn Read + '_>>;
}

/// Writes the tar that `split` was made of to `out`, and returns its length.
///
/// Streaming. Every content is hashed on its way, and one that is not what it was ends the work
/// with an error that names the file; `out` has a part of the tar then. Nothing more is promised:
/// the caller compares the hash of the whole with the diff id.
pub fn rebuild(
    split: impl Read,
    contents: &mut impl Contents,
    mut out: impl Write,
    limits: &Limits,
) -> Result<u64, RebuildError> {
    let mut reader = SplitReader::new(split, limits.clone())?;
    reader.record();
    let mut total = 0;
    let mut buffer = vec![0; 256 << 10];
    while let Some(next) = reader.next_only()? {
        // Of this entry only what stands before content that is elsewhere.
        total += pass(reader.recorded(), &mut out)?;
        while reader.skip_on()? {
            total += pass(reader.recorded(), &mut out)?;
        }
        if let Content::Object(object) = next.content {
            let entry = next.entry;
            let failed = |source| RebuildError::Content {
                path: entry.path.clone(),
                source,
            };
            let mut content = contents.open(&entry, &object).map_err(failed)?;
            let stored = copy(&mut content, object.stored, &mut out, &mut buffer)
                .map_err(|error| error.with(&entry.path))?;
            if id_of(&entry.kind, stored) != object.id {
                return Err(RebuildError::Changed {
                    path: entry.path,
                    expected: object.id,
                });
            }
            total += object.stored;
        }
    }
    // What follows the last entry is as long as it likes.
    loop {
        total += pass(reader.recorded(), &mut out)?;
        if !reader.read_on()? {
            break;
        }
    }
    out.flush().map_err(RebuildError::Write)?;
    Ok(total)
}

/// Returns the id of an entry's content by the hash of what its tar stores.
pub(super) fn id_of(kind: &Kind, stored: ObjectId) -> ObjectId {
    match kind {
        Kind::Sparse { size, parts } => ObjectId::sparse(*size, parts, stored),
        _ => stored,
    }
}

fn pass(recorded: &mut Vec<u8>, out: &mut impl Write) -> Result<u64, RebuildError> {
    out.write_all(recorded).map_err(RebuildError::Write)?;
    let count = recorded.len() as u64;
    recorded.clear();
    Ok(count)
}

/// Which side of a copy failed.
enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl CopyError {
    fn with(self, path: &[u8]) -> RebuildError {
        match self {
            Self::Write(error) => RebuildError::Write(error),
            Self::Read(source) => RebuildError::Content {
                path: path.to_vec(),
                source,
            },
        }
    }
}

fn copy(
    from: &mut dyn Read,
    size: u64,
    out: &mut impl Write,
    buffer: &mut [u8],
) -> Result<ObjectId, CopyError> {
    let mut hash = Sha256::new();
    let mut left = size;
    while left > 0 {
        let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = match from.read(&mut buffer[..want]) {
            Ok(0) => return Err(CopyError::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        hash.update(&buffer[..count]);
        out.write_all(&buffer[..count]).map_err(CopyError::Write)?;
        left -= count as u64;
    }
    Ok(ObjectId::from_bytes(hash.finalize().into()))
}

/// The regions of a file one after the other, as a tar stores a file with holes.
#[derive(Debug)]
pub struct StoredParts {
    file: File,
    parts: std::vec::IntoIter<SparsePart>,
    at: u64,
    left: u64,
}

impl StoredParts {
    /// Reads what a tar stores of `file`, the file of an entry of this kind.
    pub fn of(file: File, kind: &Kind) -> io::Result<Self> {
        let parts = match kind {
            Kind::Sparse { parts, .. } => parts.clone(),
            _ => vec![SparsePart {
                offset: 0,
                length: file.metadata()?.len(),
            }],
        };
        Ok(Self {
            file,
            parts: parts.into_iter(),
            at: 0,
            left: 0,
        })
    }
}

impl Read for StoredParts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            match self.parts.next() {
                None => return Ok(0),
                Some(part) => (self.at, self.left) = (part.offset, part.length),
            }
        }
        let want = usize::try_from(self.left).map_or(into.len(), |left| left.min(into.len()));
        let count = self.file.read_at(&mut into[..want], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
