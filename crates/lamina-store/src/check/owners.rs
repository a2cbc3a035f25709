//! Who has a thing: the names and containers that lead to it, by the collector's own marking.

use std::collections::HashMap;
use std::rc::Rc;

use lamina_types::DiffId;

use super::{CheckError, Owner};
use crate::collect::mark::{Marker, Marks};
use crate::ledger::Subject;
use crate::pool::ObjectKey;
use crate::store::Store;

/// What every root leads to.
#[derive(Debug)]
pub struct Owners {
    roots: Vec<(Owner, Marks)>,
    indexes: HashMap<DiffId, Rc<Vec<ObjectKey>>>,
}

impl Store {
    /// Returns who has what, as it is now.
    pub fn owners(&self) -> Result<Owners, CheckError> {
        let mut marker = Marker::new(self);
        let mut roots = Vec::new();
        for live in self.ops().live()? {
            let word = format!("{} of process {}", live.kind, live.pid);
            roots.push((Owner::Operation(word), marker.leased(&live.lines)?));
        }
        for snapshot in self.pins().snapshots()? {
            let Some(pin) = snapshot.pin else { continue };
            let mut marks = Marks::default();
            marker.pin(&pin, &mut marks)?;
            marks.snapshots.insert(snapshot.name.clone());
            roots.push((Owner::Container(snapshot.name), marks));
        }
        for entry in self
            .refs()
            .list()
            .map_err(crate::collect::CollectError::from)?
        {
            let mut marks = Marks::default();
            marker.name(&entry, &mut marks)?;
            roots.push((Owner::Image(entry.name), marks));
        }
        for held in self.removed().held()? {
            let owner = Owner::Removal(held.id.to_string());
            let mut marks = Marks::default();
            marker.removed(held, &mut marks)?;
            roots.push((owner, marks));
        }
        let mut indexes = HashMap::new();
        for diff_id in roots.iter().flat_map(|(_, marks)| &marks.layers) {
            if let Some(index) = marker.index(diff_id)? {
                indexes.insert(diff_id.clone(), index);
            }
        }
        Ok(Owners { roots, indexes })
    }
}

impl Owners {
    /// Returns who has a thing.
    pub fn of(&self, subject: &Subject) -> Vec<Owner> {
        let has = |marks: &Marks| match subject {
            Subject::Blob(digest) | Subject::Partial(digest) => marks.blobs.contains(digest),
            Subject::Layer(diff_id) => marks.layers.contains(diff_id),
            Subject::Content(key) => {
                marks.objects.contains(key)
                    || marks.layers.iter().any(|layer| self.refers(layer, key))
            }
            Subject::Generated(name) => {
                let key = name.split('.').next().unwrap_or(name);
                marks.keys.contains(key)
            }
            Subject::Snapshot(id) | Subject::Container(id) => marks.snapshots.contains(id),
            Subject::Volume(_)
            | Subject::Removed(_)
            | Subject::Trash
            | Subject::Own(_)
            | Subject::Foreign(_) => false,
        };
        let roots = self.roots.iter().filter(|(_, marks)| has(marks));
        roots.map(|(owner, _)| owner.clone()).collect()
    }

    /// Returns the layers whose contents a content is among.
    pub fn layers_of(&self, key: &ObjectKey) -> Vec<DiffId> {
        let layers = self.indexes.keys();
        layers
            .filter(|layer| self.refers(layer, key))
            .cloned()
            .collect()
    }

    fn refers(&self, layer: &DiffId, key: &ObjectKey) -> bool {
        let index = self.indexes.get(layer);
        index.is_some_and(|index| index.binary_search(key).is_ok())
    }
}
