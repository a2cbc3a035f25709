//! `fsck`: what is wrong in the store, what would mend it, and mending it.
//!
//! ```text
//! find    lamina-store: names, layers, blobs, contents; lamina-snapshot: what is generated
//! mend 1  what is derived, and modes, from what is here            names, indexes, descriptions, trees
//!      2  documents by digest, from the registries of their names
//!      3  layers, with the contents they miss: from their blobs here, or fetched again
//!      4  blobs of layers
//! ```
//! Nothing is thrown away before what replaces it is here, but what nobody can give any more: that
//! is dropped, so that it is honestly missing, and the next pull brings it. Killed at any point, the
//! store is as good as it was, or better.

mod documents;
mod layers;
mod mend;
mod remedy;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lamina_snapshot::check_generated;
use lamina_store::{CheckError, CheckOptions, CheckWatch, Fault, Finding, MendError, Subject};
use lamina_types::{DiffId, ErrorKind};

use crate::fault::StoreFault;
use crate::images::Images;

pub use mend::{Mended, Mending};
pub use remedy::Remedy;

/// Why the store could not be checked or mended at all.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// Its folders cannot be read.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// What is derived could not be written.
    #[error(transparent)]
    Mend(#[from] MendError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl FsckError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Check(error) => error.kind(),
            Self::Mend(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl Images<'_> {
    /// Looks at everything in the store; changes nothing and holds nothing up.
    pub fn check(
        &self,
        options: CheckOptions,
        watch: CheckWatch<'_>,
    ) -> Result<Vec<Finding>, FsckError> {
        let threads = options.threads.max(1);
        let mut findings = self.store.check(options, watch)?;
        let damaged = |findings: &[Finding], diff_id: &DiffId| {
            findings
                .iter()
                .any(|one| one.subject == Subject::Layer(diff_id.clone()))
        };
        // What is made of damaged layers cannot be judged; it is made anew with them.
        let mut stacks = self.stacks()?;
        stacks.retain(|diff_ids| !diff_ids.iter().any(|one| damaged(&findings, one)));
        let owners = self.store.owners()?;
        for (name, reason) in self.wrong_generated(&stacks, threads) {
            let mut finding = Finding::new(Subject::Generated(name), Fault::Damaged, reason);
            finding.affects = owners.of(&finding.subject);
            findings.push(finding);
        }
        Ok(findings)
    }

    /// Returns the generated files of these stacks that are not what their layers give, by name.
    fn wrong_generated(&self, stacks: &[Vec<DiffId>], threads: usize) -> Vec<(String, String)> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut wrong = Vec::new();
            while let Some(diff_ids) = stacks.get(next.fetch_add(1, Ordering::Relaxed)) {
                // An error is that of a layer which has just been removed.
                wrong.extend(check_generated(self.store, diff_ids).unwrap_or_default());
            }
            wrong
        };
        let mut wrong: Vec<(String, String)> = thread::scope(|scope| {
            let workers = (1..threads.min(stacks.len())).map(|_| scope.spawn(work));
            let workers: Vec<_> = workers.collect();
            let mut wrong = work();
            // A worker that panicked leaves what it had taken unchecked, as an error does.
            wrong.extend(
                workers
                    .into_iter()
                    .flat_map(|one| one.join().unwrap_or_default()),
            );
            wrong
        });
        wrong.sort();
        wrong
    }

    /// Returns every list of layers that an image or a container has.
    fn stacks(&self) -> Result<Vec<Vec<DiffId>>, FsckError> {
        let mut stacks = Vec::new();
        for entry in self.entries()? {
            stacks.extend(
                self.read(entry)
                    .ok()
                    .map(|image| image.config.rootfs.diff_ids),
            );
        }
        let pins = self.store.pins().list().map_err(StoreFault::from)?;
        let pins = pins.iter().flat_map(|(_, pin)| pin.each());
        stacks.extend(pins.map(|pin| pin.diff_ids.clone()));
        stacks.sort();
        stacks.dedup();
        Ok(stacks)
    }
}
