//! What is wrong with one thing.

use std::fmt;

use lamina_types::Reference;

use crate::ledger::Subject;

/// One thing that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub subject: Subject,
    /// In which way it is wrong.
    pub fault: Fault,
    /// The same in words.
    pub detail: String,
    /// Who has it; nobody where it is the next to be collected.
    pub affects: Vec<Owner>,
}

/// In which way something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Something leads to it and it is not here.
    Missing,
    /// Its bytes are not what its name says.
    Damaged,
    /// Its permissions are not those it was stored with.
    Mode,
    /// It is a document that cannot be read, or that contradicts what it is about.
    Document,
    /// A layer's split stream: its tar cannot be made again.
    Split,
    /// A layer's index of contents: it is derived from the split stream.
    Index,
    /// A layer's description: it is derived from the split stream.
    Info,
    /// A layer's tree.
    Tree,
    /// Nothing is known to be wrong, and nothing to be right: it has no split stream.
    Unverified,
    /// It was left by an operation that could not be undone, or nothing is known of it.
    Left,
}

impl Fault {
    /// Returns the word for it, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Mode => "mode",
            Self::Document => "document",
            Self::Split => "split-stream",
            Self::Index => "index",
            Self::Info => "description",
            Self::Tree => "tree",
            Self::Unverified => "unverified",
            Self::Left => "left-over",
        }
    }

    /// Returns whether it is worth knowing but nothing is damaged.
    pub fn is_note(self) -> bool {
        matches!(self, Self::Unverified | Self::Left)
    }
}

/// Whom a finding affects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// An image, by one of its names.
    Image(Reference),
    /// A container, by the id of its writable layer.
    Container(String),
    /// Something that was removed and that `undo` brings back, by the id of the removal.
    Removal(String),
    /// An operation in flight, by what it does and its process.
    Operation(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(name) => write!(f, "image {}", name.familiar()),
            Self::Container(id) => write!(f, "container {}", id.get(..12).unwrap_or(id)),
            Self::Removal(id) => write!(f, "removal {id}"),
            Self::Operation(text) => write!(f, "running {text}"),
        }
    }
}

impl Finding {
    /// Returns a finding whose owners are not known yet.
    pub fn new(subject: Subject, fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            subject,
            fault,
            detail: detail.into(),
            affects: Vec::new(),
        }
    }

    /// Returns the same with owners.
    #[must_use]
    pub fn affecting(mut self, owners: impl IntoIterator<Item = Owner>) -> Self {
        self.affects.extend(owners);
        self
    }

    /// What two findings about the same have in common, and what they are sorted by.
    pub(super) fn key(&self) -> (String, Fault) {
        (self.subject.to_string(), self.fault)
    }
}
