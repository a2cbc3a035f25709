//! `fsck`: everything in the store compared with what its name, its seal or its documents say.
//!
//! ```text
//! names       refs → index or manifest → configuration → layers and blobs; what containers stand on
//! layers      split stream, index, layer.json, tree (every file, owner, mode, time); the tar made
//! (parallel)  again from them must have the diff id
//! blobs       hashed again
//! contents    of the pool: hashed again where no layer's tar has vouched for them already
//! left-overs  of operations that could not be undone; documents that are derived
//! ```
//! No lock is taken and nothing is leased: whatever is being listed, pruned or removed goes on. What
//! looks wrong is looked at a second time, and what nothing leads to any more by then is not
//! reported. Memory is that of one layer's names for each thread.
//!
//! What is found says what it is about, who is affected, and in which way it is wrong; what mends
//! it is the business of whoever knows registries, but for the parts in `mend.rs`, which the store
//! derives from what it has.

mod contents;
mod derived;
mod files;
mod finding;
mod layer;
mod mend;
mod names;
mod owners;
mod tree;

use std::collections::HashSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lamina_fs::PathError;
use lamina_types::{DiffId, Digest, ErrorKind};

pub use finding::{Fault, Finding, Owner};
pub use mend::MendError;
pub use owners::Owners;

use crate::area::Area;
use crate::collect::{CollectError, diff_id_of};
use crate::pool::ObjectKey;
use crate::store::Store;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckOptions {
    /// Whether contents are read and hashed. Without, names, sizes, modes, documents, split
    /// streams, indexes and the metadata of trees are compared.
    pub contents: bool,
    /// How many threads read; at least one.
    pub threads: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            contents: true,
            threads: processors,
        }
    }
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckProgress {
    /// Things that have been looked at: layers, blobs, folders of the pool.
    pub done: usize,
    /// All of them.
    pub total: usize,
    /// Bytes that have been read.
    pub bytes: u64,
}

/// Told how far a check has come, from several threads, often.
pub type CheckWatch<'w> = &'w (dyn Fn(CheckProgress) + Sync);

/// Why the store could not be checked: not even its folders can be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A folder cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// What the names lead to cannot be read.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

impl CheckError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Collect(error) => error.kind(),
        }
    }
}

/// One thing for a thread to look at.
#[derive(Debug)]
enum Job {
    Layer(DiffId),
    Blob(Digest),
    /// A folder of the pool.
    Contents(String),
}

/// What the threads share.
struct Work<'s> {
    store: &'s Store,
    options: CheckOptions,
    /// Contents that a layer's tar has vouched for.
    verified: Mutex<HashSet<ObjectKey>>,
    bytes: AtomicU64,
    done: AtomicUsize,
    total: usize,
}

impl Store {
    /// Compares everything in the store with what it should be. Changes nothing.
    pub fn check(
        &self,
        options: CheckOptions,
        watch: CheckWatch<'_>,
    ) -> Result<Vec<Finding>, CheckError> {
        let layers = self.layer_jobs()?;
        let folders = self.content_jobs()?;
        let work = Work {
            store: self,
            options,
            verified: Mutex::default(),
            bytes: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            total: layers.len() + folders.len(),
        };
        let mut findings = names::check(self)?;
        findings.extend(derived::check(self)?);
        for jobs in [layers, folders] {
            findings.extend(work.run(&jobs, watch));
        }
        let owners = self.owners()?;
        findings.retain_mut(|finding| {
            if finding.affects.is_empty() {
                finding.affects = owners.of(&finding.subject);
            }
            // Removed while it was looked at.
            !(finding.fault == Fault::Missing && finding.affects.is_empty())
        });
        findings.sort_by_key(Finding::key);
        findings.dedup_by(|a, b| a.key() == b.key());
        Ok(findings)
    }

    fn layer_jobs(&self) -> Result<Vec<Job>, PathError> {
        let mut jobs = Vec::new();
        for entry in self.dir(Area::Layers)?.entries()? {
            jobs.extend(entry.name.to_str().and_then(diff_id_of).map(Job::Layer));
        }
        for (area, algorithm) in [(Area::BlobsSha256, "sha256"), (Area::BlobsSha512, "sha512")] {
            for entry in self.dir(area)?.entries()? {
                let digest = format!("{algorithm}:{}", entry.name.to_string_lossy());
                jobs.extend(digest.parse().ok().map(Job::Blob));
            }
        }
        Ok(jobs)
    }

    fn content_jobs(&self) -> Result<Vec<Job>, PathError> {
        let folders = self.dir(Area::Pool)?.entries()?.into_iter();
        let folders = folders.filter_map(|entry| entry.name.into_string().ok());
        Ok(folders
            .filter(|name| name.len() == 2)
            .map(Job::Contents)
            .collect())
    }
}

impl Work<'_> {
    /// Does the jobs, in parallel; the order of what they find is that of no consequence.
    fn run(&self, jobs: &[Job], watch: CheckWatch<'_>) -> Vec<Finding> {
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Vec::new());
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut findings = self.job(job);
                if !findings.is_empty() {
                    // Perhaps it was just being replaced or removed.
                    findings = self.job(job);
                }
                let mut all = found.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(findings);
                drop(all);
                watch(CheckProgress {
                    done: self.done.fetch_add(1, Ordering::Relaxed) + 1,
                    total: self.total,
                    bytes: self.bytes.load(Ordering::Relaxed),
                });
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.options.threads.min(jobs.len()).max(1) {
                scope.spawn(work);
            }
            work();
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn job(&self, job: &Job) -> Vec<Finding> {
        match job {
            Job::Layer(diff_id) => layer::check(self, diff_id),
            Job::Blob(digest) => files::blob(self, digest),
            Job::Contents(folder) => files::contents(self, folder),
        }
    }

    /// Notes contents that have been verified.
    fn vouch(&self, keys: impl IntoIterator<Item = ObjectKey>) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.extend(keys);
    }

    fn is_verified(&self, key: &ObjectKey) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.contains(key)
    }

    fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
