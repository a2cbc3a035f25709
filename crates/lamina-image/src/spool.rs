//! A layer's tar on its way into the store, in a file without a name; the large contents may be
//! files of their own, which share their blocks with those they were copied from.
//!
//! What a container wrote is on the disk already, on the store's own filesystem. Where that can
//! share blocks (FICLONE: XFS, btrfs), a commit writes none of them again: a content becomes a file
//! in a moment, the tar has a gap in its place, and the file is what the pool gets.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use lamina_fs::{Dir, PathError};
use lamina_store::{Area, Store};
use lamina_types::Digest;
use rustix::fs::ioctl_ficlone;

use crate::hash;

/// Contents that are shared have so many bytes at least: the pool writes shorter ones only after it
/// has looked whether they are here.
const SHARED_FROM: u64 = 1 << 20;
/// So many are shared at most; each holds a descriptor until the layer is published.
const MOST_SHARED: usize = 256;

/// A tar that was written; it goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    shared: Vec<Shared>,
}

/// A content that stands beside the tar.
#[derive(Debug)]
struct Shared {
    /// Where it begins in the tar.
    at: u64,
    size: u64,
    path: Vec<u8>,
    file: File,
}

impl From<File> for Spool {
    fn from(file: File) -> Self {
        let shared = Vec::new();
        Self { file, shared }
    }
}

impl Spool {
    /// Reads the tar from `offset` on.
    pub(crate) fn read_from(&self, offset: u64) -> SpoolReader<'_> {
        let mut reader = SpoolReader {
            spool: self,
            at: offset,
            passed: 0,
            beside: 0,
        };
        reader.pass();
        reader
    }

    /// Returns the digest of the tar.
    pub(crate) fn digest(&self) -> io::Result<Digest> {
        hash::sha256_of(&mut self.read_from(0))
    }

    /// Returns the contents that are files already, by their paths.
    pub(crate) fn shared(&self) -> HashMap<&[u8], &File> {
        let files = self.shared.iter();
        files.map(|one| (&*one.path, &one.file)).collect()
    }
}

/// Reads a [`Spool`].
#[derive(Debug)]
pub(crate) struct SpoolReader<'s> {
    spool: &'s Spool,
    /// The place in the tar.
    at: u64,
    /// How many shared contents are before it, and their bytes, which the tar's file lacks.
    passed: usize,
    beside: u64,
}

impl SpoolReader<'_> {
    fn pass(&mut self) {
        while let Some(one) = self.spool.shared.get(self.passed)
            && self.at >= one.at + one.size
        {
            self.passed += 1;
            self.beside += one.size;
        }
    }
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let own = (&self.spool.file, self.at - self.beside);
        let ((file, offset), left) = match self.spool.shared.get(self.passed) {
            Some(one) if self.at >= one.at => {
                let within = self.at - one.at;
                ((&one.file, within), one.size - within)
            }
            Some(one) => (own, one.at - self.at),
            None => (own, u64::MAX),
        };
        let most = usize::try_from(left).map_or(into.len(), |left| left.min(into.len()));
        let count = file.read_at(&mut into[..most], offset)?;
        self.at += count as u64;
        self.pass();
        Ok(count)
    }
}

/// Takes a layer's tar.
#[derive(Debug)]
pub struct SpoolWriter<'s> {
    out: BufWriter<File>,
    /// The length of the tar so far.
    at: u64,
    shared: Vec<Shared>,
    pool: &'s Dir,
    /// Whether the filesystem has not refused to share yet.
    may_share: bool,
}

impl<'s> SpoolWriter<'s> {
    pub(crate) fn new(store: &'s Store, file: File) -> Result<Self, PathError> {
        Ok(Self {
            out: BufWriter::with_capacity(1 << 18, file),
            at: 0,
            shared: Vec::new(),
            pool: store.dir(Area::Pool)?,
            may_share: true,
        })
    }

    /// Takes the content of `path`, `size` bytes of `file`, by sharing its blocks; returns `false`
    /// where it has to be written: the file is small or has another length now, or the filesystem
    /// does not share.
    pub fn share(&mut self, path: &[u8], file: &File, size: u64) -> io::Result<bool> {
        if !self.may_share || size < SHARED_FROM || self.shared.len() >= MOST_SHARED {
            return Ok(false);
        }
        let copy = self.pool.unnamed_file(0o400).map_err(io::Error::other)?;
        if ioctl_ficlone(&copy, file).is_err() {
            self.may_share = false;
            return Ok(false);
        }
        if copy.metadata()?.len() != size {
            return Ok(false);
        }
        self.shared.push(Shared {
            at: self.at,
            size,
            path: path.to_vec(),
            file: copy,
        });
        self.at += size;
        Ok(true)
    }

    /// Returns the tar and its length.
    pub(crate) fn finish(self) -> io::Result<(Spool, u64)> {
        let file = self.out.into_inner().map_err(|e| e.into_error())?;
        let shared = self.shared;
        Ok((Spool { file, shared }, self.at))
    }
}

impl Write for SpoolWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_the_tar_is_read_in_its_place() {
        let file = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file
        };
        let shared = |at, bytes: &[u8]| Shared {
            at,
            size: bytes.len() as u64,
            path: bytes.to_vec(),
            file: file(bytes),
        };
        let spool = Spool {
            file: file(b"abghmn"),
            shared: vec![shared(2, b"cdef"), shared(8, b"ij"), shared(10, b"kl")],
        };
        let whole = b"abcdefghijklmn";
        for offset in 0..=whole.len() {
            let mut read = Vec::new();
            let mut reader = spool.read_from(offset as u64);
            reader.read_to_end(&mut read).unwrap();
            assert_eq!(read, whole[offset..], "from {offset}");
        }
        assert_eq!(spool.digest().unwrap(), hash::digest(whole));
        assert_eq!(spool.shared().len(), 3);
    }
}
