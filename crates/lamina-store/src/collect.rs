//! Garbage collection: what no live operation, writable layer or name leads to goes to the trash.
//!
//! ```text
//! 1  without a lock   mark from ops, snap, refs, removed; whatever is not marked is a candidate
//! 2  per 256 candidates, under the exclusive store lock
//!                     list ops, snap, refs, removed, in full, and mark again (documents are
//!                     immutable and read once); rename what is still not marked to the trash
//! 3  later            Store::empty_trash unlinks
//! ```
//! Reference counts are derived, never stored. No decision depends on a time stamp. A document
//! that is missing or damaged holds nothing and stops nothing; it is reported.

pub(crate) mod mark;
#[cfg(test)]
mod model;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use lamina_fs::{LockError, PathError};
use lamina_types::{DiffId, Digest, ErrorKind};

use crate::area::Area;
use crate::pool::ObjectKey;
use crate::refs::RefError;
use crate::store::Store;
pub(crate) use mark::Marker;
use mark::Marks;

pub use mark::Damaged;

/// How many candidates are renamed under one hold of the lock.
const BATCH: usize = 256;
/// Unfinished files of a killed process are removed when they are this old.
const TEMPORARY_AGE: Duration = Duration::from_secs(3600);

/// What to collect beside unreferenced blobs and layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectOptions {
    /// Downloads that nobody is continuing. They are kept by default: the next pull resumes them.
    pub partials: bool,
}

/// What was moved to the trash, with the sizes that were freed.
#[derive(Debug, Default)]
pub struct Collected {
    /// Blobs and their lengths.
    pub blobs: BTreeMap<Digest, u64>,
    /// Layers and the bytes of their files, `None` where `layer.json` could not be read.
    pub layers: BTreeMap<DiffId, Option<u64>>,
    /// Partial downloads and their lengths.
    pub partials: BTreeMap<String, u64>,
    /// How many contents went from the pool.
    pub objects: usize,
    /// Their lengths together.
    pub object_bytes: u64,
    /// How many generated files of images went.
    pub generated: usize,
    /// Writable layers that were never finished and have no operation.
    pub snapshots: Vec<String>,
    /// What is named but missing or damaged; it holds nothing, and pulling repairs it.
    pub damaged: Vec<Damaged>,
}

impl Collected {
    /// Returns how many bytes the removed blobs, layers and partial downloads had.
    pub fn bytes(&self) -> u64 {
        let layers = self.layers.values().flatten();
        let others = self.blobs.values().chain(self.partials.values());
        layers.chain(others).sum::<u64>() + self.object_bytes
    }
}

/// Why the collector stopped; what it had moved by then stays in the trash.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A folder could not be read, or an entry not renamed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The names could not be read: without them nothing may be removed.
    #[error(transparent)]
    Refs(#[from] RefError),
}

impl CollectError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Refs(error) => error.kind(),
        }
    }
}

/// One entry that may have to go.
#[derive(Debug)]
enum Candidate {
    Blob(Digest),
    Layer(DiffId, OsString),
    Generated(OsString),
    Snapshot(String),
    Partial(OsString, Option<Digest>),
    Object(ObjectKey),
}

impl Candidate {
    fn is_marked(&self, marks: &Marks) -> bool {
        match self {
            Self::Blob(digest) => marks.blobs.contains(digest),
            Self::Layer(diff_id, _) => marks.layers.contains(diff_id),
            Self::Generated(name) => name
                .to_str()
                .and_then(|name| name.split('.').next())
                .is_some_and(|key| marks.keys.contains(key)),
            Self::Snapshot(name) => marks.snapshots.contains(name),
            Self::Object(key) => marks.has_object(key),
            Self::Partial(_, digest) => digest
                .as_ref()
                .is_some_and(|digest| marks.leased.contains(digest)),
        }
    }
}

impl Store {
    /// Moves everything that nothing leads to into the trash, and says what that was.
    ///
    /// Runs beside anything else: whoever pulls, runs or removes meanwhile waits for a batch at
    /// most. May be killed at any point. [`Store::empty_trash`] frees the space.
    pub fn collect(&self, options: &CollectOptions) -> Result<Collected, CollectError> {
        self.collect_with(&|_| options.partials)
    }

    /// The same with those partial downloads that nobody is continuing and that `partials` names.
    pub fn collect_with(&self, partials: &dyn Fn(&str) -> bool) -> Result<Collected, CollectError> {
        let mut marker = Marker::new(self);
        let marks = marker.mark()?;
        let mut candidates = self.candidates(partials)?;
        candidates.retain(|candidate| !candidate.is_marked(&marks));
        let mut collected = Collected::default();
        for batch in candidates.chunks(BATCH) {
            let _lock = self.lock_exclusive()?;
            let marks = marker.mark()?;
            for candidate in batch.iter().filter(|one| !one.is_marked(&marks)) {
                self.remove_candidate(candidate, &mut collected)?;
            }
        }
        for area in [Area::Refs, Area::Oci, Area::BlobsSha256, Area::BlobsSha512] {
            self.dir(area)?.sweep_temporaries(TEMPORARY_AGE)?;
        }
        collected.damaged = marker.into_damaged();
        Ok(collected)
    }

    fn candidates(&self, partials: &dyn Fn(&str) -> bool) -> Result<Vec<Candidate>, PathError> {
        let mut all = Vec::new();
        for (area, algorithm) in [(Area::BlobsSha256, "sha256"), (Area::BlobsSha512, "sha512")] {
            let entries = self.dir(area)?.entries()?.into_iter();
            all.extend(entries.filter_map(|entry| {
                let digest = format!("{algorithm}:{}", entry.name.to_str()?);
                digest.parse().ok().map(Candidate::Blob)
            }));
        }
        let layers = self.dir(Area::Layers)?.entries()?.into_iter();
        all.extend(layers.filter_map(|entry| {
            let diff_id = diff_id_of(entry.name.to_str()?)?;
            Some(Candidate::Layer(diff_id, entry.name))
        }));
        self.pool().for_each(|_, _, key| {
            all.push(Candidate::Object(key));
            Ok(())
        })?;
        let generated = self.dir(Area::Images)?.entries()?.into_iter();
        all.extend(generated.map(|entry| Candidate::Generated(entry.name)));
        let snapshots = self.pins().snapshots()?.into_iter();
        all.extend(
            snapshots
                .filter(|snapshot| snapshot.pin.is_none() && !snapshot.kept)
                .map(|snapshot| Candidate::Snapshot(snapshot.name)),
        );
        let entries = self.dir(Area::Partial)?.entries()?.into_iter();
        all.extend(entries.filter_map(|entry| {
            let name = entry.name.to_string_lossy();
            let digest = name.replacen('-', ":", 1).parse().ok();
            partials(&name).then(|| Candidate::Partial(entry.name.clone(), digest))
        }));
        Ok(all)
    }

    /// Renames one entry away; the caller holds the exclusive lock.
    fn remove_candidate(
        &self,
        candidate: &Candidate,
        collected: &mut Collected,
    ) -> Result<(), PathError> {
        match candidate {
            Candidate::Blob(digest) => {
                let size = self.blobs().size(digest)?;
                if self
                    .trash(self.blobs().dir(digest)?, digest.hex())?
                    .is_some()
                {
                    collected.blobs.insert(digest.clone(), size.unwrap_or(0));
                }
            }
            Candidate::Layer(diff_id, name) => {
                let size = match self.layers().get(diff_id) {
                    // The contents of a pooled layer are counted as objects.
                    Ok(layer) => layer.map(|l| if l.info.pooled { 0 } else { l.info.size }),
                    Err(_) => None,
                };
                if self.trash(self.dir(Area::Layers)?, name)?.is_some() {
                    collected.layers.insert(diff_id.clone(), size);
                }
            }
            Candidate::Object(key) => {
                if let Some(size) = self.pool().trash(key)? {
                    collected.objects += 1;
                    collected.object_bytes += size;
                }
            }
            Candidate::Generated(name) => {
                if self.trash(self.dir(Area::Images)?, name)?.is_some() {
                    collected.generated += 1;
                }
            }
            Candidate::Snapshot(name) => {
                if self.trash(self.dir(Area::Snap)?, name)?.is_some() {
                    collected.snapshots.push(name.clone());
                }
            }
            Candidate::Partial(name, _) => {
                let dir = self.dir(Area::Partial)?;
                let size = dir.stat(name).map_or(0, |stat| stat.st_size);
                if self.trash(dir, name)?.is_some() {
                    let name = name.to_string_lossy().into_owned();
                    let size = u64::try_from(size).unwrap_or(0);
                    collected.partials.insert(name, size);
                }
            }
        }
        Ok(())
    }
}

/// Returns the diff id of a layer's folder: the length of the name tells the algorithm.
pub(crate) fn diff_id_of(hex: &str) -> Option<DiffId> {
    let algorithm = if hex.len() == 128 { "sha512" } else { "sha256" };
    format!("{algorithm}:{hex}").parse().ok().map(DiffId)
}
