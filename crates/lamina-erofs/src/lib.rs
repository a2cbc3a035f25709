//! A pure EROFS image writer: metadata images with inline small files, and external ones in an
//! overlay's data layer.
//!
//! [`Tree`] is a file system as a value; [`write()`] makes an image of it, and [`Image`] looks single
//! names up in one. Nothing here opens a file. The same tree gives the same bytes, whatever order it was built in.
//!
//! ```text
//! 0      1024         1152                                       meta end       (blocks of 4 KiB)
//! ┌──────┬────────────┬──────────────────────────────────────────┬──────────────┬──────────────┐
//! │ zero │ superblock │ inodes: 64 bytes, attributes, inline tail│ shared xattrs│ whole blocks │
//! └──────┴────────────┴──────────────────────────────────────────┴──────────────┴──────────────┘
//! ```
//!
//! - Every inode is an extended one: 32-bit owners, whole times with nanoseconds. An inode's number
//!   is its offset divided by 32; the root comes first, because its number has 16 bits.
//! - Directories are sorted entries in blocks. What does not fill a block, of a directory, file or
//!   link, follows its inode if it fits into the same block.
//! - An *external* file has a size and no blocks: a chunk map of holes, and the two attributes by
//!   which overlayfs finds the content in a data-only layer (`metacopy` and `redirect`).
//! - Attributes that several inodes have alike are stored once.
//!
//! Source: `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst` of Linux 6.18. Kernels
//! from 5.16 read every form that is written here. Errors have no `ErrorKind`, because this crate
//! depends on nothing of ours; whoever writes an image wraps them.

#![forbid(unsafe_code)]

mod crc32c;
mod directory;
mod error;
mod format;
mod layout;
mod read;
mod tree;
mod write;
mod xattr;

pub use error::WriteError;
pub use format::{MAX_NAME, MAX_TARGET};
pub use read::{Content, Found, Image, ReadAt, ReadError};
pub use tree::{Directory, InodeId, Metadata, Node, Time, Tree};
pub use write::{Written, write};
