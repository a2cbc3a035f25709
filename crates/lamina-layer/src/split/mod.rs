//! The split stream: a layer's exact tar without the files' contents.
//!
//! A layer is kept twice by other engines, packed and unpacked. Here the packed form is what the
//! files do not say: headers, padding, what follows the end mark, byte by byte, with the content of
//! small files in between and a reference in the place of larger ones. From it and the files
//! [`rebuild()`] makes the identical tar again, so the diff id stays true; and [`SplitReader`] yields
//! the layer's entries without touching a file, for whoever merges layers.
//!
//! ```text
//! "LAMSPLIT"  version (u32)  0 (u32)          not compressed; numbers are little-endian
//! one zstd frame with a checksum, of records:
//!   length (u32, 1 ..= 1 MiB)  length bytes   the next bytes of the tar as they are
//!   0xffff_ffff  id (32)  size (u64)          `size` bytes of the tar: content of the object `id`
//!   0            size (u64)                   the end: the length of the whole tar
//! ```
//! A reference stands exactly where the content of a regular entry begins and covers all of it.
//! Content of at most [`INLINE_LIMIT`] bytes is not referred to; the content of a file with holes
//! always is, even where it is empty, because the file behind it is not what the tar stores; that of
//! whiteouts never is, because nobody unpacks it.
//!
//! Which objects a layer refers to, for the collector and the ledger, is in its [`ObjectIndex`].

mod entries;
mod error;
mod hashes;
mod index;
mod object;
mod rebuild;
mod records;
mod write;

pub use entries::{Content, SplitEntry, SplitReader};
pub use error::{IndexError, RebuildError, SplitError};
pub use index::{IndexRecord, ObjectIndex};
pub use object::{ObjectId, ObjectRef};
pub use rebuild::{Contents, StoredParts, rebuild};
pub use write::{Bodies, Split, split, split_with_tree};

/// Content up to this many bytes stays in the stream: half of an image's files, for a fiftieth of
/// its bytes. Each would be a file of its own, which is what a pull pays for beside inflating.
pub const INLINE_LIMIT: u64 = 4096;

/// The version this build writes, and the only one it reads.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"LAMSPLIT";
/// Bytes of the tar in one record.
const MAX_RAW: usize = 1 << 20;
const REFERENCE: u32 = u32::MAX;
/// Inline content a reader accepts: room for another limit in a later build.
const MAX_INLINE: u64 = 64 << 10;

#[cfg(test)]
mod tests;
