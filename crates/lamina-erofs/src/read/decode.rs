//! The structures on the disk, read.

use std::collections::BTreeMap;

use super::ReadError;
use crate::format::{BLOCK_BITS, MAGIC};
use crate::tree::{Metadata, Time};
use crate::xattr::{HEADER, prefix};

fn bad<T>(what: &'static str) -> Result<T, ReadError> {
    Err(ReadError::Malformed(what))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u16::from_le_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

/// What is needed of a superblock.
pub(super) struct Superblock {
    pub(super) root: u16,
    pub(super) xattr_block: u32,
}

impl Superblock {
    pub(super) fn decode(bytes: &[u8; 128]) -> Result<Self, ReadError> {
        if u32_at(bytes, 0) != MAGIC {
            return bad("not an EROFS image");
        }
        if bytes[12] != BLOCK_BITS || u32_at(bytes, 40) != 0 {
            return bad("not an image of ours");
        }
        Ok(Self {
            root: u16_at(bytes, 14),
            xattr_block: u32_at(bytes, 44),
        })
    }
}

/// What is needed of an inode.
pub(super) struct Fields {
    pub(super) layout: u16,
    pub(super) xattr_length: usize,
    /// The type, as a mode has it.
    pub(super) kind: u16,
    pub(super) size: u64,
    pub(super) place: u32,
    pub(super) metadata: Metadata,
}

impl Fields {
    pub(super) fn decode(bytes: &[u8; 64]) -> Result<Self, ReadError> {
        let format = u16_at(bytes, 0);
        if format & 1 == 0 {
            return bad("a compact inode");
        }
        let mode = u16_at(bytes, 4);
        let count = usize::from(u16_at(bytes, 2));
        Ok(Self {
            layout: format >> 1,
            xattr_length: if count == 0 {
                0
            } else {
                HEADER + (count - 1) * 4
            },
            kind: mode & 0o170_000,
            size: u64_at(bytes, 8),
            place: u32_at(bytes, 16),
            metadata: Metadata {
                mode: u32::from(mode & 0o7777),
                uid: u32_at(bytes, 24),
                gid: u32_at(bytes, 28),
                mtime: Time {
                    seconds: u64_at(bytes, 32).cast_signed(),
                    nanoseconds: u32_at(bytes, 40),
                },
                xattrs: BTreeMap::new(),
            },
        })
    }
}

/// Goes through the names of one block of a directory.
pub(super) fn entries(block: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), ReadError>> {
    const ENTRY: usize = 12;
    let offset = |n: usize| usize::from(u16_at(block, n * ENTRY + 8));
    let count = (offset(0) / ENTRY).min(block.len() / ENTRY);
    (0..count).map(move |n| {
        let end = if n + 1 < count {
            offset(n + 1)
        } else {
            block.len()
        };
        let Some(name) = block.get(offset(n)..end) else {
            return bad("a name in a directory");
        };
        // The last name of a block ends at its end or at a zero.
        let length = name.iter().position(|byte| *byte == 0);
        Ok((
            u64_at(block, n * ENTRY),
            &name[..length.unwrap_or(name.len())],
        ))
    })
}

/// Reads the attributes that follow an inode.
pub(super) fn xattrs(
    body: &[u8],
    shared: impl Fn(u32) -> Result<Vec<u8>, ReadError>,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReadError> {
    let mut found = BTreeMap::new();
    if body.is_empty() {
        return Ok(found);
    }
    let places = usize::from(body[4]);
    for n in 0..places {
        let entry = shared(u32_at(body, HEADER + n * 4))?;
        let (pair, _) = pair(&entry)?;
        found.extend([pair]);
    }
    let mut rest = body.get(HEADER + places * 4..).unwrap_or_default();
    while rest.len() >= 4 {
        let (pair, length) = pair(rest)?;
        found.extend([pair]);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// A name with its value.
type Pair = (Vec<u8>, Vec<u8>);

/// Reads one attribute, and how long it is.
fn pair(entry: &[u8]) -> Result<(Pair, usize), ReadError> {
    const ENTRY: usize = 4;
    let Some([name_length, index, _, _]) = entry.first_chunk::<ENTRY>() else {
        return bad("an attribute");
    };
    let name_end = ENTRY + usize::from(*name_length);
    let end = name_end + usize::from(u16_at(entry, 2));
    let (Some(prefix), Some(suffix), Some(value)) = (
        prefix(*index),
        entry.get(ENTRY..name_end),
        entry.get(name_end..end),
    ) else {
        return bad("an attribute");
    };
    Ok((([prefix, suffix].concat(), value.to_vec()), end))
}
