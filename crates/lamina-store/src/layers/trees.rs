//! Letting go of trees: what a layer's contents in the pool replace.

use lamina_types::DiffId;

use super::{Layers, PLAIN};
use crate::collect::{CollectError, Marker};

impl Layers<'_> {
    /// Moves the trees of those of these layers to the trash whose contents are in the pool and on
    /// which no container, no operation and no removal that can be undone stands, whatever mode it
    /// is in. Returns the layers that had one.
    ///
    /// Takes the exclusive store lock for the time of a few renames. A tree is made again from the
    /// pool when something wants it ([`Layers::unpack`]).
    pub fn drop_trees(&self, layers: &[DiffId]) -> Result<Vec<DiffId>, CollectError> {
        let has_tree = |diff_id: &DiffId| {
            // One whose description cannot be read is not known to be in the pool.
            let layer = self.get(diff_id).ok().flatten();
            let pooled = layer.is_some_and(|layer| layer.info.pooled);
            pooled && self.has_tree(diff_id).unwrap_or(false)
        };
        let candidates: Vec<&DiffId> = layers.iter().filter(|one| has_tree(one)).collect();
        let mut dropped = Vec::new();
        if candidates.is_empty() {
            return Ok(dropped);
        }
        let _lock = self.0.lock_exclusive()?;
        // What a container stands on that does not say so is not known.
        let mut snapshots = self.0.pins().snapshots()?.into_iter();
        if snapshots.any(|snapshot| snapshot.kept && snapshot.pin.is_none()) {
            return Ok(dropped);
        }
        let marks = Marker::new(self.0).mark_in_use()?;
        for diff_id in candidates {
            if marks.layers.contains(diff_id) {
                continue;
            }
            let Ok(dir) = self.dir(diff_id) else { continue };
            if self.0.trash(&dir, PLAIN)?.is_some() {
                dropped.push(diff_id.clone());
            }
        }
        Ok(dropped)
    }
}
