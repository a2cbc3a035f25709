//! All layers of an image, in parallel.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use lamina_store::{Early, Store};
use lamina_types::oci::Descriptor;
use lamina_types::{DiffId, Digest};

use super::UnpackError;
use super::download::{BlobSource, Origin};
use super::form::LayerForm;
use super::take::Taker;
use crate::progress::Progress;

/// Layers at a time: more connections than this do not help, and each has a pipeline of its own.
const PARALLEL: usize = 6;

/// One layer to be taken.
pub(crate) struct Job<'a> {
    pub(crate) blob: Descriptor,
    pub(crate) diff_id: DiffId,
    pub(crate) origin: Box<dyn Origin + 'a>,
}

/// Which layer failed, and why.
#[derive(Debug)]
pub(crate) struct JobError {
    pub(crate) blob: Digest,
    pub(crate) source: Box<UnpackError>,
}

/// Takes every layer. The first failure stops the others, which are waited for.
///
/// The largest begin first, so that none of them is what everybody waits for at the end.
pub(crate) fn take_all(
    taker: Taker<'_>,
    mut jobs: Vec<Job<'_>>,
    progress: &dyn Progress,
) -> Result<(), JobError> {
    let mut seen = HashSet::new();
    jobs.retain(|job| seen.insert((job.blob.digest.clone(), job.diff_id.clone())));
    jobs.sort_by_key(|job| std::cmp::Reverse(job.blob.size));
    let stop = AtomicBool::new(false);
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<JobError>> = Mutex::new(None);
    let work = |taker: Taker<'_>| {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let source = BlobSource {
                blob: &job.blob,
                origin: job.origin.as_ref(),
                progress,
                stop: &stop,
            };
            if let Err(source) = taker.take(&source, Some(&job.diff_id)) {
                let blob = job.blob.digest.clone();
                let source = Box::new(source);
                let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(JobError { blob, source });
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.len().min(PARALLEL) {
            scope.spawn(|| work(taker));
        }
        work(taker);
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Does `work` while a thread writes to the disk what it hands on.
///
/// What follows on the layers belongs to the work as well: at their end the thread may be waiting
/// for the disk, and nobody else need wait for that.
pub(crate) fn writing_early<T>(
    store: &Store,
    form: LayerForm,
    work: impl FnOnce(&Early) -> T,
) -> T {
    thread::scope(|scope| {
        let (early, writer) = lamina_store::early();
        scope.spawn(move || writer.run(store, everything(form)));
        let done = work(&early);
        // The thread ends with the last of them.
        drop(early);
        done
    })
}

/// How often everything that was written goes to the disk. What goes into the pool is told to the
/// disk as it comes; of what goes into a tree nothing else says so.
fn everything(form: LayerForm) -> Duration {
    match form {
        LayerForm::Pool => Duration::from_secs(4),
        LayerForm::Tree => Duration::from_millis(150),
    }
}
