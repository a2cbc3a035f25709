//! Who holds what: per image, what only it has, and what its removal frees.
//!
//! Layers, blobs and generated files are few and counted one by one. Contents of the pool are many:
//! the sorted indexes of all pooled layers are merged, each layer's once, however many images it
//! is in.

use std::collections::{BTreeMap, BTreeSet};

use lamina_types::{DiffId, Digest, ImageId};

use super::space::Space;
use crate::collect::CollectError;
use crate::collect::mark::{Marker, Marks};
use crate::pool::ObjectKey;
use crate::store::Store;

/// What one image takes, in bytes of whole blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageShare {
    /// The names it has.
    pub names: Vec<lamina_types::Reference>,
    /// Everything it leads to.
    pub total: u64,
    /// What no other image leads to.
    pub unique: u64,
    /// What its removal frees: what no other image, no container and no operation leads to.
    pub freed: u64,
    /// Whether a container stands on it.
    pub used: bool,
}

impl ImageShare {
    /// Returns what it has in common with other images.
    pub fn shared(&self) -> u64 {
        self.total - self.unique
    }
}

/// What images take of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Image by image.
    pub images: BTreeMap<ImageId, ImageShare>,
    /// What at least one image leads to.
    pub held: u64,
    /// What images lead to and neither a container nor an operation.
    pub unused: u64,
    /// Downloads that an operation is continuing.
    pub fetching: BTreeSet<Digest>,
    /// What is kept only so that removals can be undone.
    pub removed: u64,
    /// What nothing leads to: the next collection takes it.
    pub garbage: u64,
}

/// Who holds something.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Image(usize),
    /// A container or an operation.
    Other,
    /// A removal that can be undone.
    Removed,
}

/// A set of images by their numbers, and what else is among the holders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holders {
    images: Vec<u64>,
    other: bool,
    removed: bool,
}

impl Holders {
    fn add(&mut self, holder: Holder) {
        let image = match holder {
            Holder::Image(image) => image,
            Holder::Other => {
                self.other = true;
                return;
            }
            Holder::Removed => {
                self.removed = true;
                return;
            }
        };
        if self.images.len() <= image / 64 {
            self.images.resize(image / 64 + 1, 0);
        }
        self.images[image / 64] |= 1 << (image % 64);
    }

    fn join(&mut self, other: &Self) {
        self.removed |= other.removed;
        self.other |= other.other;
        if self.images.len() < other.images.len() {
            self.images.resize(other.images.len(), 0);
        }
        for (mine, theirs) in self.images.iter_mut().zip(&other.images) {
            *mine |= theirs;
        }
    }

    fn images(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = |(at, word): (usize, &u64)| {
            let word = *word;
            (0..64)
                .filter(move |bit| word & (1 << bit) != 0)
                .map(move |bit| at * 64 + bit)
        };
        self.images.iter().enumerate().flat_map(bits)
    }
}

/// The sums that are being made.
struct Sums<'a> {
    images: Vec<&'a mut ImageShare>,
    held: u64,
    unused: u64,
    removed: u64,
    garbage: u64,
}

impl Sums<'_> {
    fn count(&mut self, holders: Option<&Holders>, size: u64) {
        let Some(holders) = holders else {
            self.garbage += size;
            return;
        };
        let mut last = None;
        let mut count = 0;
        for image in holders.images() {
            self.images[image].total += size;
            (last, count) = (Some(image), count + 1);
        }
        if let (Some(image), 1) = (last, count) {
            self.images[image].unique += size;
            if !holders.other {
                self.images[image].freed += size;
            }
        }
        if count > 0 {
            self.held += size;
            if !holders.other {
                self.unused += size;
            }
        } else if holders.removed && !holders.other {
            self.removed += size;
        }
    }
}

/// Who holds which things.
#[derive(Default)]
struct Held {
    blobs: BTreeMap<Digest, Holders>,
    layers: BTreeMap<DiffId, Holders>,
    keys: BTreeMap<String, Holders>,
    objects: BTreeMap<ObjectKey, Holders>,
    whole_pool: bool,
}

impl Held {
    fn add(&mut self, marks: Marks, holder: Holder) {
        for blob in marks.blobs {
            self.blobs.entry(blob).or_default().add(holder);
        }
        for layer in marks.layers {
            self.layers.entry(layer).or_default().add(holder);
        }
        for key in marks.keys {
            self.keys.entry(key).or_default().add(holder);
        }
        for object in marks.objects {
            self.objects.entry(object).or_default().add(holder);
        }
        self.whole_pool |= marks.whole_pool;
    }

    /// Counts everything but the contents of the pool.
    fn count(&self, space: &Space, sums: &mut Sums<'_>) {
        for (blob, size) in &space.blobs {
            sums.count(self.blobs.get(blob), *size);
        }
        for (layer, size) in &space.layers {
            sums.count(self.layers.get(layer), *size);
        }
        for (name, size) in &space.generated {
            let key = name.split('.').next().unwrap_or(name);
            sums.count(self.keys.get(key), *size);
        }
    }
}

impl Store {
    /// Works out what each image takes of what [`Store::space`] found.
    pub fn shares(&self, space: &Space) -> Result<Shares, CollectError> {
        let mut marker = Marker::new(self);
        let mut images: BTreeMap<ImageId, ImageShare> = BTreeMap::new();
        let mut held = Held::default();
        let mut fetching = BTreeSet::new();
        let used = self.held_by_others(&mut marker, &mut held, &mut fetching)?;
        let names = self.refs().list()?;
        for entry in &names {
            let image = images.entry(entry.image.clone()).or_default();
            image.names.push(entry.name.clone());
        }
        let numbers: BTreeMap<ImageId, usize> = images
            .keys()
            .cloned()
            .enumerate()
            .map(|(at, id)| (id, at))
            .collect();
        for entry in &names {
            let mut marks = Marks::default();
            marker.name(entry, &mut marks)?;
            if let Some(image) = numbers.get(&entry.image) {
                held.add(marks, Holder::Image(*image));
            }
        }
        for (id, image) in &mut images {
            image.used = used.contains(id);
        }
        let mut sums = Sums {
            images: images.values_mut().collect(),
            held: 0,
            unused: 0,
            removed: 0,
            garbage: 0,
        };
        held.count(space, &mut sums);
        merge_objects(&mut marker, &held, space, &mut sums)?;
        let Sums {
            held,
            unused,
            removed,
            garbage,
            ..
        } = sums;
        Ok(Shares {
            images,
            held,
            unused,
            fetching,
            removed,
            garbage,
        })
    }

    /// What operations, containers and removals hold; returns the images that containers use.
    fn held_by_others(
        &self,
        marker: &mut Marker<'_>,
        held: &mut Held,
        fetching: &mut BTreeSet<Digest>,
    ) -> Result<Vec<ImageId>, CollectError> {
        for live in self.ops().live()? {
            let marks = marker.leased(&live.lines)?;
            fetching.extend(marks.leased.iter().cloned());
            held.add(marks, Holder::Other);
        }
        let mut used = Vec::new();
        for snapshot in self.pins().snapshots()? {
            let Some(pin) = snapshot.pin else { continue };
            used.extend(pin.each().filter_map(|pin| pin.image.clone()));
            let mut marks = Marks::default();
            marker.pin(&pin, &mut marks)?;
            held.add(marks, Holder::Other);
        }
        for one in self.removed().held()? {
            let mut marks = Marks::default();
            marker.removed(one, &mut marks)?;
            held.add(marks, Holder::Removed);
        }
        Ok(used)
    }
}

/// Counts the contents of the pool by the holders of the layers they are in.
fn merge_objects(
    marker: &mut Marker<'_>,
    held: &Held,
    space: &Space,
    sums: &mut Sums<'_>,
) -> Result<(), CollectError> {
    let mut all: Vec<(ObjectKey, &Holders)> = Vec::new();
    for (layer, holders) in &held.layers {
        if let Some(index) = marker.index(layer)? {
            all.extend(index.iter().map(|key| (*key, holders)));
        }
    }
    all.extend(held.objects.iter().map(|(key, holders)| (*key, holders)));
    all.sort_by_key(|(key, _)| *key);
    let mut found = 0;
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let Some((key, first)) = group.first() else {
            continue;
        };
        let Some(size) = space.objects.get(key) else {
            continue;
        };
        found += size;
        if group.iter().all(|(_, holders)| holders == first) && !held.whole_pool {
            sums.count(Some(first), *size);
            continue;
        }
        let mut holders = Holders {
            other: held.whole_pool,
            ..Holders::default()
        };
        group.iter().for_each(|(_, other)| holders.join(other));
        sums.count(Some(&holders), *size);
    }
    let rest = space.objects.values().sum::<u64>() - found;
    if !held.whole_pool {
        sums.garbage += rest;
    }
    Ok(())
}
