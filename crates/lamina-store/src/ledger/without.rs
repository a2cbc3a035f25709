//! What the disk would get back if these names and writable layers were gone.

use std::collections::BTreeSet;

use lamina_types::Reference;

use super::space::Space;
use crate::collect::CollectError;
use crate::collect::mark::{Marker, Marks};
use crate::store::Store;

impl Store {
    /// Returns how many bytes only these names of images and the images below these writable layers
    /// lead to, together; the writable layers themselves are not counted, nor what nothing leads
    /// to already. What is kept so that it can be brought back counts as free.
    pub fn freed_without(
        &self,
        space: &Space,
        names: &BTreeSet<Reference>,
        snapshots: &BTreeSet<String>,
    ) -> Result<u64, CollectError> {
        let mut marker = Marker::new(self);
        let before = self.marks_without(&mut marker, &BTreeSet::new(), &BTreeSet::new())?;
        let after = self.marks_without(&mut marker, names, snapshots)?;
        let mut freed = 0;
        let mut count = |held: &dyn Fn(&Marks) -> bool, size: u64| {
            if held(&before) && !held(&after) {
                freed += size;
            }
        };
        for (blob, size) in &space.blobs {
            count(&|marks| marks.blobs.contains(blob), *size);
        }
        for (layer, size) in &space.layers {
            count(&|marks| marks.layers.contains(layer), *size);
        }
        for (name, size) in &space.generated {
            let key = name.split('.').next().unwrap_or(name);
            count(&|marks| marks.keys.contains(key), *size);
        }
        for (key, size) in &space.objects {
            count(&|marks| marks.has_object(key), *size);
        }
        Ok(freed)
    }

    /// Marks from the roots but these, and but what can be brought back.
    fn marks_without(
        &self,
        marker: &mut Marker<'_>,
        names: &BTreeSet<Reference>,
        snapshots: &BTreeSet<String>,
    ) -> Result<Marks, CollectError> {
        let mut marks = marker.leased(&self.ops().leases()?)?;
        for snapshot in self.pins().snapshots()? {
            if let Some(pin) = snapshot.pin.filter(|_| !snapshots.contains(&snapshot.name)) {
                marker.pin(&pin, &mut marks)?;
            }
        }
        for entry in self.refs().list()? {
            if !names.contains(&entry.name) {
                marker.name(&entry, &mut marks)?;
            }
        }
        marker.add_indexes(&mut marks)?;
        Ok(marks)
    }
}
