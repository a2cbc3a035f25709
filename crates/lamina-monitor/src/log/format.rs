//! The forms a log is kept in: what its files are called, and what a record in them is.
//!
//! Rotation, packing, following and the tail are the same for all; what differs is here.

use std::collections::BTreeMap;

use super::encode::{self, Encoder};
use super::{Entry, Stream, framed};
use crate::config::LogDriver;
use crate::time::Time;

/// How entries stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Docker's json-file: an entry a line.
    Json,
    /// Of the driver `local`: the program's own bytes in frames; `framed.rs` draws one.
    Framed,
}

/// What comes next in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A record of so many bytes, or as many that are none.
    Record(usize),
    /// Its end is not there yet.
    Unfinished,
}

impl Format {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Json, Self::Framed];

    /// Returns the form of what a driver keeps; `None` if it keeps nothing that can be read.
    pub fn of(driver: LogDriver) -> Option<Self> {
        match driver {
            LogDriver::JsonFile => Some(Self::Json),
            LogDriver::Local => Some(Self::Framed),
            LogDriver::Passthrough | LogDriver::Sink | LogDriver::None => None,
        }
    }

    /// Returns the beginning of all its files' names.
    pub(super) fn stem(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Framed => "local",
        }
    }

    /// Returns the name of the file being written.
    pub fn current(self) -> &'static str {
        match self {
            Self::Json => "json.log",
            Self::Framed => "local.log",
        }
    }

    /// Finds the end of the record at the beginning of `bytes`, of which `searched` are known not
    /// to end it.
    pub(super) fn next(self, bytes: &[u8], searched: usize) -> Next {
        match self {
            Self::Json => {
                let fresh = bytes.get(searched..).unwrap_or_default();
                match fresh.iter().position(|byte| *byte == b'\n') {
                    Some(at) => Next::Record(searched + at + 1),
                    None => Next::Unfinished,
                }
            }
            Self::Framed => framed::next(bytes),
        }
    }

    /// Reads a record; `None` if it is none.
    pub(super) fn entry(self, record: &[u8]) -> Option<Entry> {
        match self {
            Self::Json => serde_json::from_slice(record).ok(),
            Self::Framed => framed::entry(record),
        }
    }

    /// Returns whether a record ends a line of output.
    pub(super) fn ends_line(self, record: &[u8]) -> bool {
        match self {
            Self::Json => encode::ends_line(record),
            Self::Framed => framed::ends_line(record),
        }
    }

    /// Returns where the last whole record ends in what stands at the end of a file; `None` if
    /// there is none.
    pub(super) fn whole(self, end: &[u8]) -> Option<usize> {
        match self {
            Self::Json => end.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1),
            Self::Framed => framed::whole(end),
        }
    }

    /// Returns what can be told of a record whose end was never written, and where it was written
    /// to.
    pub(super) fn salvage(self, torn: &[u8]) -> Option<(Vec<u8>, Stream)> {
        match self {
            Self::Json => {
                let (text, stream) = encode::salvage(torn)?;
                Some((text.into_bytes(), stream))
            }
            Self::Framed => framed::salvage(torn),
        }
    }

    /// Returns what writes its entries, each marked with `attributes` if it can be.
    pub(super) fn writer(self, attributes: &BTreeMap<String, String>) -> Form {
        match self {
            Self::Json => Form::Json(Encoder::new(attributes)),
            Self::Framed => Form::Framed,
        }
    }
}

/// Writes entries in a form.
#[derive(Debug)]
pub(super) enum Form {
    Json(Encoder),
    Framed,
}

impl Form {
    /// Appends an entry to `out`.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, content: &[u8], stream: Stream, time: Time) {
        match self {
            Self::Json(encoder) => encoder.entry(out, content, stream, time),
            Self::Framed => framed::append(out, content, stream, time),
        }
    }
}
