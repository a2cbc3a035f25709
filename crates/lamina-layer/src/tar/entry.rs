//! One entry of a tar, with every extension applied.

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file; its content follows.
    File,
    /// A file with holes: the regions that have content, in order. `size` is with the holes.
    Sparse {
        /// The apparent size.
        size: u64,
        /// The regions whose content follows, in ascending order, apart from each other.
        parts: Vec<SparsePart>,
    },
    /// A directory.
    Directory,
    /// A symbolic link to the target, any bytes but NUL.
    Symlink(Vec<u8>),
    /// Another name of an entry of the same archive.
    Hardlink(Vec<u8>),
    /// A character device.
    Char {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A region of a sparse file that has content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SparsePart {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A point in time: seconds since 1970, which may be negative, and nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below one thousand million.
    pub nanoseconds: u32,
}

/// Who owns an entry, and what else a directory entry says about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// The permission bits with set-uid, set-gid and sticky: 0o7777 at most.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The modification time.
    pub mtime: Time,
    /// Extended attributes, by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as the archive has it, not cleaned.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its metadata.
    pub meta: Meta,
    /// How many bytes of content follow in the archive.
    pub stored: u64,
}

impl Entry {
    /// Returns the length of the file that the entry makes, holes included; 0 for what is none.
    pub fn file_size(&self) -> u64 {
        match self.kind {
            Kind::Sparse { size, .. } => size,
            _ => self.stored,
        }
    }
}
