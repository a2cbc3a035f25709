//! What happened to containers, images and volumes: one line each, kept on disk.
//!
//! ```text
//! $ROOT/events/
//!   <day>.jsonl       {"v":1,"time":"…Z","type":"container","action":"start","id":"…","attributes":{…}}
//!   <day>.<n>.jsonl   of the same day (UTC), full; in the order of n, and before the one without
//! ```
//! The one file with several writers: a process appends what it did itself with one `write`, under
//! `flock`. A file that has [`FULL`] bytes gets a number and the next one begins; with each new file
//! those go that are older than [`DAYS`] days or do not fit into [`KEPT`] bytes, the oldest first.
//!
//! Best effort by intent: what cannot be written is left out, and no command fails or waits for it.
//! A line that was torn (a killed process, a power cut, a full disk) is skipped by readers, and what
//! was appended to it is found: no text in a line has the form of a line's beginning.

mod append;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lamina_fs::PathError;
use lamina_types::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::time::Time;

pub use append::Journal;
pub use read::{EventsOptions, EventsReader, read};

/// The size at which a file is full, in bytes.
pub const FULL: u64 = 4 << 20;
/// The most that all files take when a new one is begun, in bytes.
pub const KEPT: u64 = 64 << 20;
/// How many days are kept, today included.
pub const DAYS: u32 = 30;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
}

impl Kind {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The format of the line: [`Event::VERSION`]. The first member, see the module.
    #[serde(rename = "v")]
    version: u32,
    /// When.
    pub time: Time,
    /// To what kind of thing.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What, in Docker's words.
    pub action: String,
    /// To which one: an id, or a name where the thing has no id.
    pub id: String,
    /// More about both; of a container its image, name and labels.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// The format this build writes and reads.
    pub const VERSION: u32 = 1;

    /// Makes the event of something that happens now.
    pub fn now(
        kind: Kind,
        action: impl Into<String>,
        id: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) -> Self {
        Self {
            version: Self::VERSION,
            time: Time::now(),
            kind,
            action: action.into(),
            id: id.into(),
            attributes,
        }
    }

    /// Returns it with another time.
    #[must_use]
    pub fn at(mut self, time: Time) -> Self {
        self.time = time;
        self
    }

    /// Returns it with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }
}

/// Why events cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// A file or the folder failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl EventsError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
        }
    }
}

/// Which file of the folder, in the order of what is in them: its day, and its number; the one
/// that is being written has the greatest.
type Place = (jiff::civil::Date, u32);

/// Returns the day of a moment, in UTC.
fn day(time: Time) -> jiff::civil::Date {
    time.timestamp().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Returns the name of a file.
fn name((day, number): Place) -> String {
    match number {
        u32::MAX => format!("{day}.jsonl"),
        number => format!("{day}.{number}.jsonl"),
    }
}

/// Reads the name of a file.
fn place(name: &str) -> Option<Place> {
    let stem = name.strip_suffix(".jsonl")?;
    match stem.split_once('.') {
        None => Some((stem.parse().ok()?, u32::MAX)),
        Some((day, number)) => Some((day.parse().ok()?, number.parse().ok()?)),
    }
}
