//! The image itself, from its first byte to its last.

use std::io::{self, Write};

use crate::crc32c::crc32c;
use crate::error::WriteError;
use crate::format::{
    BLOCK, BLOCK_LENGTH, CHECKSUM, DataLayout, HOLE, InodeFields, SLOT, SUPERBLOCK, Superblock,
    chunks, device, kind,
};
use crate::layout::{Layout, Place};
use crate::tree::{Node, Tree};
use crate::xattr;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The length of the image.
    pub bytes: u64,
    /// How many inodes it has.
    pub inodes: u64,
}

/// Writes a tree as an EROFS image.
///
/// The bytes depend on the tree and `uuid` alone. Nothing is written if the tree cannot be an
/// image; what was written before the output failed is worthless.
pub fn write(tree: &Tree, uuid: [u8; 16], to: impl Write) -> Result<Written, WriteError> {
    let layout = Layout::new(tree)?;
    let mut image = Image::new(to);
    let superblock = Superblock {
        inodes: layout.places.len() as u64,
        blocks: layout.blocks,
        root: u16::try_from(layout.places[0].offset / SLOT).map_err(|_| WriteError::TooLarge)?,
        xattr_block: layout.xattr_block,
        chunked: layout
            .places
            .iter()
            .any(|place| place.layout == DataLayout::Chunks),
        uuid,
    };
    image.pad_to(SUPERBLOCK as u64)?;
    image.put(&superblock.bytes())?;
    for (number, place) in layout.places.iter().enumerate() {
        let number = u32::try_from(number + 1).map_err(|_| WriteError::TooLarge)?;
        put_inode(&layout, place, number, &mut image)?;
    }
    image.pad_to(u64::from(layout.xattr_block) * BLOCK)?;
    image.put(layout.shared.area())?;
    for place in layout.places.iter().filter(|place| place.blocks > 0) {
        image.pad_to(u64::from(place.first_block) * BLOCK)?;
        let (blocks, _) = content(&layout, place);
        image.put(&blocks)?;
    }
    let bytes = u64::from(layout.blocks) * BLOCK;
    image.pad_to(bytes)?;
    image.finish()?;
    Ok(Written {
        bytes,
        inodes: layout.places.len() as u64,
    })
}

fn put_inode(
    layout: &Layout<'_>,
    place: &Place,
    number: u32,
    image: &mut Image<impl Write>,
) -> Result<(), WriteError> {
    let node = layout.tree.node(place.inode);
    let metadata = layout.tree.metadata(place.inode);
    let (shift, count) = chunks(place.size);
    let fields = InodeFields {
        layout: place.layout,
        xattr_count: xattr::count(place.xattrs.len())
            .ok_or(WriteError::Attributes(place.xattrs.len()))?,
        mode: kind(node).0 | u16::try_from(metadata.mode & 0o7777).unwrap_or(0),
        size: place.size,
        place: match node {
            Node::Char { major, minor } | Node::Block { major, minor } => {
                device(*major, *minor).unwrap_or(0)
            }
            _ if place.layout == DataLayout::Chunks => shift,
            _ => place.first_block,
        },
        number,
        links: place.links,
        metadata,
    };
    image.pad_to(place.offset)?;
    image.put(&fields.bytes())?;
    image.put(&place.xattrs)?;
    match place.layout {
        DataLayout::Plain => {}
        DataLayout::Inline => image.put(&content(layout, place).1)?,
        DataLayout::Chunks => {
            for _ in 0..count {
                image.put(&HOLE.to_le_bytes())?;
            }
        }
    }
    Ok(())
}

/// Returns what goes into whole blocks, and what follows the inode.
fn content(layout: &Layout<'_>, place: &Place) -> (Vec<u8>, Vec<u8>) {
    let mut blocks = match layout.tree.node(place.inode) {
        Node::Directory(_) => layout.directory(place),
        Node::File(content) => content.clone(),
        Node::Symlink(target) => target.clone(),
        _ => Vec::new(),
    };
    let whole = usize::try_from(u64::from(place.blocks) * BLOCK).unwrap_or(usize::MAX);
    let tail = match place.layout {
        DataLayout::Inline => blocks.split_off(whole.min(blocks.len())),
        _ => Vec::new(),
    };
    (blocks, tail)
}

/// How much is handed to the output at once.
const BUFFER: usize = 1 << 20;

/// The output, as far as it has come. The first block is held back for its checksum.
struct Image<W> {
    to: W,
    buffer: Vec<u8>,
    flushed: u64,
}

impl<W: Write> Image<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            buffer: Vec::new(),
            flushed: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn pad_to(&mut self, offset: u64) -> io::Result<()> {
        const ZEROES: [u8; BLOCK_LENGTH] = [0; BLOCK_LENGTH];
        loop {
            let missing = offset.saturating_sub(self.flushed + self.buffer.len() as u64);
            if missing == 0 {
                return Ok(());
            }
            let part = missing.min(BLOCK);
            self.put(&ZEROES[..usize::try_from(part).unwrap_or(0)])?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.flushed == 0 && self.buffer.len() >= BLOCK_LENGTH {
            let crc = crc32c(!0, &self.buffer[SUPERBLOCK..BLOCK_LENGTH]);
            self.buffer[CHECKSUM..CHECKSUM + 4].copy_from_slice(&crc.to_le_bytes());
        }
        self.to.write_all(&self.buffer)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.to.flush()
    }
}
