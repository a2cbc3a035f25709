//! The tar format: reading it strictly and writing it deterministically. No filesystem here.

mod entry;
mod error;
mod header;
mod pax;
mod reader;
mod source;
mod sparse;
mod writer;

pub use entry::{Entry, Kind, Meta, SparsePart, Time};
pub use error::TarError;
pub use reader::TarReader;
pub use source::TarSource;
pub use writer::{TarWriter, WriteError};

/// The unit everything in a tar is padded to.
pub(crate) const BLOCK: usize = 512;
