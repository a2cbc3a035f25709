//! Looking single names up in an image without mounting it.
//!
//! Only what [`write`](crate::write()) writes is understood: extended inodes in blocks of 4 KiB,
//! numbered from the start of the image. Everything read is bounded; an image that is damaged
//! gives an error or a wrong answer, never a panic.

mod decode;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::format::{BLOCK, DataLayout, INODE, MAX_NAME, SLOT, SUPERBLOCK};
use crate::tree::Metadata;
use decode::{Fields, Superblock, entries, xattrs};

/// The longest content that is read of a file or directory.
const MAX_CONTENT: u64 = 256 << 20;

/// Something that bytes can be read from at a place.
pub trait ReadAt {
    /// Fills `buffer` from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let bytes = self.get(start..end);
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// An image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed, or is too short.
    #[error("read the image")]
    Io(#[from] io::Error),
    /// It is no image, or not one that is written here.
    #[error("the image is malformed: {0}")]
    Malformed(&'static str),
}

/// An image opened for looking into.
#[derive(Debug)]
pub struct Image<'s, S: ReadAt + ?Sized> {
    source: &'s S,
    root: u64,
    shared: u64,
}

/// What one inode has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its metadata; the attributes by which overlayfs finds external content are left out.
    pub metadata: Metadata,
    /// Its content.
    pub content: Content,
    place: Place,
}

/// What an inode's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A directory's names, to be looked up.
    Directory,
    /// A file that is in the image.
    File,
    /// A file that is in the data-only layer.
    External {
        /// Where in that layer, as `/ab/cdef`.
        object: Vec<u8>,
    },
    /// A symbolic link, its target in the image.
    Symlink,
    /// A device, pipe or socket.
    Special,
}

/// Where the bytes of an inode's content are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    size: u64,
    /// Of whole blocks.
    blocks: u64,
    /// Of what follows the inode, if anything does.
    tail: Option<u64>,
}

impl<'s, S: ReadAt + ?Sized> Image<'s, S> {
    /// Opens an image.
    pub fn open(source: &'s S) -> Result<Self, ReadError> {
        let mut bytes = [0; 128];
        source.read_exact_at(&mut bytes, SUPERBLOCK as u64)?;
        let superblock = Superblock::decode(&bytes)?;
        Ok(Self {
            source,
            root: superblock.root.into(),
            shared: u64::from(superblock.xattr_block) * BLOCK,
        })
    }

    /// Returns the root directory.
    pub fn root(&self) -> Result<Found, ReadError> {
        self.inode(self.root)
    }

    /// Looks a name up in a directory.
    pub fn lookup(&self, directory: &Found, name: &[u8]) -> Result<Option<Found>, ReadError> {
        if directory.content != Content::Directory || name.len() > MAX_NAME {
            return Ok(None);
        }
        let content = self.read(directory, MAX_CONTENT)?;
        for block in content.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX)) {
            for entry in entries(block) {
                let (number, found) = entry?;
                if found == name {
                    return self.inode(number).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Reads a file's content, a link's target or a directory's blocks; at most `limit` bytes.
    pub fn read(&self, found: &Found, limit: u64) -> Result<Vec<u8>, ReadError> {
        let Place { size, blocks, tail } = found.place;
        if size > limit.min(MAX_CONTENT) || matches!(found.content, Content::External { .. }) {
            return Err(ReadError::Malformed("a file is too large"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let whole = match tail {
            Some(_) => size / BLOCK * BLOCK,
            None => size,
        };
        let (first, rest) = bytes.split_at_mut(usize::try_from(whole).unwrap_or(0));
        if !first.is_empty() {
            self.source.read_exact_at(first, blocks)?;
        }
        if let Some(tail) = tail
            && !rest.is_empty()
        {
            self.source.read_exact_at(rest, tail)?;
        }
        Ok(bytes)
    }

    fn inode(&self, number: u64) -> Result<Found, ReadError> {
        let offset = number
            .checked_mul(SLOT)
            .ok_or(ReadError::Malformed("an inode's number"))?;
        let mut bytes = [0; 64];
        self.source.read_exact_at(&mut bytes, offset)?;
        let fields = Fields::decode(&bytes)?;
        let mut body = vec![0; fields.xattr_length];
        let after = offset.saturating_add(INODE);
        if !body.is_empty() {
            self.source.read_exact_at(&mut body, after)?;
        }
        let mut metadata = fields.metadata;
        metadata.xattrs = xattrs(&body, |place| self.shared_xattr(place))?;
        metadata.xattrs.remove(crate::xattr::METACOPY);
        let object = metadata.xattrs.remove(crate::xattr::REDIRECT);
        let content = match (fields.kind, object) {
            (0o040_000, _) => Content::Directory,
            (0o100_000, Some(object)) => Content::External { object },
            (0o100_000, None) => Content::File,
            (0o120_000, _) => Content::Symlink,
            _ => Content::Special,
        };
        let place = Place {
            size: fields.size,
            blocks: u64::from(fields.place) * BLOCK,
            tail: (fields.layout == DataLayout::Inline as u16)
                .then_some(after.saturating_add(body.len() as u64)),
        };
        Ok(Found {
            metadata,
            content,
            place,
        })
    }

    /// Reads one attribute of the shared area.
    fn shared_xattr(&self, place: u32) -> Result<Vec<u8>, ReadError> {
        let offset = self.shared.saturating_add(u64::from(place) * 4);
        let mut head = [0; 4];
        self.source.read_exact_at(&mut head, offset)?;
        let length = usize::from(head[0]) + usize::from(u16::from_le_bytes([head[2], head[3]]));
        let mut entry = vec![0; 4 + length];
        self.source.read_exact_at(&mut entry, offset)?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests;
