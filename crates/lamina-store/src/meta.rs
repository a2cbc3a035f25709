//! `meta.json`: the format version and features of a store.

use serde::{Deserialize, Serialize};

/// The version this build writes, and the only one it reads.
pub(crate) const VERSION: u32 = 1;

/// Features that this build understands and that a build without them must not touch.
const INCOMPAT: [&str; 2] = [POOL, REMOVED];

/// Layers whose contents are in the pool: a build that does not know them finds no tree, and would
/// keep what it cannot read. A store has the feature from its first such layer on.
pub(crate) const POOL: &str = "pool";

/// What was removed holds what it needs to be brought back: the collector of a build that does not
/// know of it would take that. A store has the feature from its first such removal on.
pub(crate) const REMOVED: &str = "removed";

/// The contents of `meta.json`.
///
/// Features are as in a file system: one in `incompat` forbids a build that does not know it to
/// open the store at all; one in `compat` may be ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Meta {
    pub(crate) version: u32,
    #[serde(default)]
    pub(crate) compat: Vec<String>,
    #[serde(default)]
    pub(crate) incompat: Vec<String>,
}

impl Meta {
    /// Returns what a new store says.
    pub(crate) fn new() -> Self {
        Self {
            version: VERSION,
            compat: Vec::new(),
            incompat: Vec::new(),
        }
    }

    /// Returns the first feature that this build must know and does not.
    pub(crate) fn unknown_feature(&self) -> Option<&str> {
        self.incompat
            .iter()
            .map(String::as_str)
            .find(|feature| !INCOMPAT.contains(feature))
    }
}
