//! How much a layer may ask for.

/// Bounds on one layer. A layer that reaches one is refused with an error that names it.
///
/// The defaults are far above what real images hold and far below what hurts: an image may have
/// millions of files or hundreds of gigabytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Entries, those skipped and the headers between them included. Default: 8 million.
    pub max_entries: u64,
    /// Bytes of file content written; holes do not count. Default: 1 TiB.
    pub max_bytes: u64,
    /// The apparent size of one file, holes included. Default: 8 TiB.
    pub max_file_size: u64,
    /// Bytes of one path or link target. Default: 4095 (`PATH_MAX` without its NUL).
    pub max_path: usize,
    /// Bytes of metadata (PAX records, GNU long names, sparse maps) before one entry: default
    /// 2 MiB, room for a file with several of the largest extended attributes.
    pub max_metadata: u64,
    /// Data regions of one sparse file. Default: 262 144.
    pub max_sparse_parts: usize,
    /// Bytes of all directory names together, which are kept in memory until the end. Default:
    /// 512 MiB.
    pub max_directory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 8_000_000,
            max_bytes: 1 << 40,
            max_file_size: 1 << 43,
            max_path: 4095,
            max_metadata: 2 << 20,
            max_sparse_parts: 1 << 18,
            max_directory_bytes: 512 << 20,
        }
    }
}
