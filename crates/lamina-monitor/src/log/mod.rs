//! A container's output on disk: Docker's json-file format, or the program's own bytes in frames;
//! rotated by default.
//!
//! ```text
//! <state_dir>/log/
//!   json.log         {"log":"text\n","stream":"stdout","time":"2026-01-31T09:30:00.000000001Z"}
//!   json.8.log       the full file before it, not packed yet
//!   json.7.log.gz    the one before that; the oldest is dropped
//! ```
//! The driver `local` writes `local.log`, … in the same way; `framed.rs` says what is in them.
//!
//! A line of output longer than 16 KiB becomes several entries, of which only the last ends with
//! `\n`; so does output that ends without a newline. stdout and stderr are cut into lines apart
//! from each other. Bytes that are not UTF-8 become U+FFFD in JSON, as Docker writes them.
//!
//! The monitor is the only writer. A full file gets the next number and keeps it, so that a reader
//! that has one open finds its successor; what has been written is never lost to a reader that keeps
//! up, whether files are rotated, packed or dropped meanwhile.

mod encode;
mod files;
mod format;
mod framed;
mod pack;
mod reader;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

use lamina_fs::PathError;
use lamina_types::ErrorKind;
use serde::{Deserialize, Deserializer, Serialize};

use crate::time::Time;

pub use format::Format;
pub(crate) use pack::pack;
pub use reader::{ReadOptions, Reader, read};
pub(crate) use writer::LogWriter;

/// The directory of the log in a container's state directory.
pub const LOG_DIR: &str = "log";

/// The longest content of an entry, in bytes; as Docker's.
pub(crate) const MAX_CONTENT: usize = 16 << 10;

/// Which of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// stdout, or the terminal.
    Stdout,
    /// stderr.
    Stderr,
}

/// One entry of a log: a line, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The bytes; they end with a newline unless the line goes on in the next entry of its stream, or
    /// the program ended within it.
    #[serde(rename = "log", deserialize_with = "bytes")]
    pub content: Vec<u8>,
    /// Where it was written to.
    pub stream: Stream,
    /// When it was read from the program.
    pub time: Time,
    /// What it was marked with: labels and variables that the log was asked to tell.
    #[serde(rename = "attrs", default)]
    pub attributes: BTreeMap<String, String>,
}

impl Entry {
    /// Returns the content as text; what is none becomes U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// Returns whether the line does not end here.
    pub fn is_partial(&self) -> bool {
        !self.content.ends_with(b"\n")
    }
}

fn bytes<'de, D: Deserializer<'de>>(text: D) -> Result<Vec<u8>, D::Error> {
    String::deserialize(text).map(String::into_bytes)
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or directory of it failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl LogError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
        }
    }
}
