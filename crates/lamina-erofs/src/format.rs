//! The structures on the disk, all little-endian (`erofs_fs.h`).

use crate::tree::{Metadata, Node};

/// The unit of the image, and the page size of every machine that reads it.
pub(crate) const BLOCK: u64 = 4096;
/// The same, as a length in memory.
pub(crate) const BLOCK_LENGTH: usize = 4096;
pub(crate) const BLOCK_BITS: u8 = 12;
/// Inode numbers count these.
pub(crate) const SLOT: u64 = 32;
/// Where the superblock is.
pub(crate) const SUPERBLOCK: usize = 1024;
/// Where the root's inode is: after the superblock.
pub(crate) const FIRST_INODE: u64 = 1024 + 128;
/// The length of an extended inode.
pub(crate) const INODE: u64 = 64;
const INODE_LENGTH: usize = 64;
/// The longest name in a directory.
pub const MAX_NAME: usize = 255;
/// The longest target of a symbolic link: `PATH_MAX` without its zero.
pub const MAX_TARGET: usize = 4095;
/// Where the checksum is in the superblock.
pub(crate) const CHECKSUM: usize = SUPERBLOCK + 4;

pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;
/// The superblock has a checksum; inodes have modification times.
const COMPAT: u32 = 0x1 | 0x2;
const INCOMPAT_CHUNKED: u32 = 0x4;

/// How the content of an inode is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataLayout {
    /// In whole blocks, the last padded.
    Plain = 0,
    /// In whole blocks, and the rest after the inode.
    Inline = 2,
    /// By a map of chunks after the inode.
    Chunks = 4,
}

/// A chunk that is a hole.
pub(crate) const HOLE: u32 = u32::MAX;
/// A chunk is one block shifted by five bits of the inode at most.
const MAX_CHUNK_SHIFT: u32 = 31;

/// Returns the shift of the smallest chunk that holds `size` bytes, and how many it takes.
pub(crate) fn chunks(size: u64) -> (u32, u64) {
    let blocks = size.div_ceil(BLOCK).max(1);
    let shift = (64 - (blocks - 1).leading_zeros()).min(MAX_CHUNK_SHIFT);
    (shift, blocks.div_ceil(1 << shift))
}

/// The numbers of a superblock.
#[derive(Debug)]
pub(crate) struct Superblock {
    pub(crate) inodes: u64,
    pub(crate) blocks: u32,
    pub(crate) root: u16,
    pub(crate) xattr_block: u32,
    pub(crate) chunked: bool,
    pub(crate) uuid: [u8; 16],
}

impl Superblock {
    /// Returns the 128 bytes, the checksum zero.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(COMPAT.to_le_bytes());
        bytes.extend([BLOCK_BITS, 0]);
        bytes.extend(self.root.to_le_bytes());
        bytes.extend(self.inodes.to_le_bytes());
        // The time that compact inodes count from: there are none, and images are reproducible.
        bytes.extend([0; 12]);
        bytes.extend(self.blocks.to_le_bytes());
        // Inode numbers count from the start of the image.
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(self.xattr_block.to_le_bytes());
        bytes.extend(self.uuid);
        bytes.extend([0; 16]);
        let incompat = if self.chunked { INCOMPAT_CHUNKED } else { 0 };
        bytes.extend(incompat.to_le_bytes());
        bytes.resize(128, 0);
        bytes
    }
}

/// The numbers of an inode.
#[derive(Debug)]
pub(crate) struct InodeFields<'a> {
    pub(crate) layout: DataLayout,
    /// The length of its attributes in units of four bytes, as the kernel counts.
    pub(crate) xattr_count: u16,
    pub(crate) mode: u16,
    pub(crate) size: u64,
    /// First block, device number or form of the chunks.
    pub(crate) place: u32,
    pub(crate) number: u32,
    pub(crate) links: u32,
    pub(crate) metadata: &'a Metadata,
}

impl InodeFields<'_> {
    /// Returns the 64 bytes.
    pub(crate) fn bytes(&self) -> [u8; INODE_LENGTH] {
        let mut bytes = [0; INODE_LENGTH];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        let metadata = self.metadata;
        // The lowest bit says that it is an extended inode.
        put(&(1 | (self.layout as u16) << 1).to_le_bytes());
        put(&self.xattr_count.to_le_bytes());
        put(&self.mode.to_le_bytes());
        put(&[0; 2]);
        put(&self.size.to_le_bytes());
        put(&self.place.to_le_bytes());
        put(&self.number.to_le_bytes());
        put(&metadata.uid.to_le_bytes());
        put(&metadata.gid.to_le_bytes());
        put(&metadata.mtime.seconds.to_le_bytes());
        put(&metadata.mtime.nanoseconds.to_le_bytes());
        put(&self.links.to_le_bytes());
        bytes
    }
}

/// Returns the type as it is in a mode (inode(7)) and in a directory entry.
pub(crate) fn kind(node: &Node) -> (u16, u8) {
    match node {
        Node::File(_) | Node::External { .. } => (0o100_000, 1),
        Node::Directory(_) => (0o040_000, 2),
        Node::Char { .. } => (0o020_000, 3),
        Node::Block { .. } => (0o060_000, 4),
        Node::Fifo => (0o010_000, 5),
        Node::Socket => (0o140_000, 6),
        Node::Symlink(_) => (0o120_000, 7),
    }
}

/// Returns a device's numbers as the kernel keeps them, if they fit (`new_encode_dev`).
pub(crate) fn device(major: u32, minor: u32) -> Option<u32> {
    let fits = major < 1 << 12 && minor < 1 << 20;
    fits.then_some((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_files_of_every_size() {
        let tera = 1_u64 << 40;
        let table = [
            (1, (0, 1)),
            (4096, (0, 1)),
            (4097, (1, 1)),
            (5 << 30, (21, 1)),
            (8 * tera, (31, 1)),
            (8 * tera + 1, (31, 2)),
        ];
        for (size, expected) in table {
            assert_eq!(chunks(size), expected, "{size}");
        }
    }

    #[test]
    fn the_superblock_has_its_length() {
        let superblock = Superblock {
            inodes: 1,
            blocks: 1,
            root: 36,
            xattr_block: 0,
            chunked: true,
            uuid: [7; 16],
        };
        let bytes = superblock.bytes();
        assert_eq!(bytes.len(), 128);
        assert_eq!(bytes[14..16], [36, 0], "the root's number");
        assert_eq!(bytes[48..64], [7; 16], "the uuid");
        assert_eq!(bytes[80], 4, "the incompatible features");
    }
}
