//! What the layers of an image mean, from when they were split until they are merged.

use std::sync::{Mutex, PoisonError};

use lamina_layer::{Content, LayerTree};
use lamina_snapshot::KnownTrees;
use lamina_types::DiffId;

/// Entries beyond which layers are rather read again: these take some tens of megabytes.
const ENTRIES: u64 = 100_000;

/// Trees of new layers, left by the threads that took them.
#[derive(Debug, Default)]
pub(crate) struct Trees(Mutex<(KnownTrees, u64)>);

impl Trees {
    /// Leaves a tree of so many entries, if there is room.
    pub(super) fn leave(&self, diff_id: &DiffId, tree: LayerTree<Content>, entries: u64) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if left.1.saturating_add(entries) <= ENTRIES {
            left.1 += entries;
            left.0.insert(diff_id.clone(), tree);
        }
    }

    /// Returns what was left.
    pub(crate) fn into_known(self) -> KnownTrees {
        let left = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        left.0
    }
}
