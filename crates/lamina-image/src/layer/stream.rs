//! One layer's way from compressed bytes into the store, in one pass over three or four threads:
//!
//! ```text
//! fetch ──► inflate ──► split ──► apply
//! ```
//!
//! `fetch` gives compressed bytes and sees to their own hash; `inflate` does nothing but that,
//! because it is the slowest stage and sets the speed of a pull; `split` hashes the tar and the
//! files' contents, in one pass, and writes the split stream (and, for a pooled layer, the
//! contents); `apply`, for a layer that gets a tree, parses the tar and writes files. `fetch` stays
//! on the caller's thread, which holds the locks. The pipes between them hold a bounded number of
//! recycled buffers.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::UnpackError;
use super::compression;
use super::pipe::{Message, Sink, Source, Tee, pipe};

/// Buffers of compressed bytes in flight.
const COMPRESSED_CHUNKS: usize = 8;
/// Buffers of the tar in flight: enough that writing one large file does not stop inflation.
const TAR_CHUNKS: usize = 24;
/// How often, in bytes, the free space is looked at.
const SPACE_INTERVAL: u64 = 64 << 20;

/// How much one layer may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the uncompressed tar, whatever its entries are.
    pub tar_bytes: u64,
    /// Bytes that stay free on the store's filesystem: a bomb must not take the machine with it.
    pub keep_free: u64,
}

impl Default for Bounds {
    /// Returns 256 GiB for a layer, and 64 MiB that stay free.
    fn default() -> Self {
        Self {
            tar_bytes: 256 << 30,
            keep_free: 64 << 20,
        }
    }
}

impl Bounds {
    /// Refuses to go on where the filesystem of `space` is nearly full.
    pub(crate) fn check_space(&self, space: impl AsFd) -> Result<(), UnpackError> {
        let Ok(stat) = rustix::fs::fstatvfs(space) else {
            return Ok(());
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < self.keep_free {
            return Err(UnpackError::NoSpace { free });
        }
        Ok(())
    }
}

/// The error that came first. Those of the other stages follow from it and say less.
#[derive(Debug, Default)]
struct First(Mutex<Option<UnpackError>>);

impl First {
    fn record(&self, error: UnpackError) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }

    /// Keeps the value of a stage that succeeded.
    fn keep<T>(&self, result: Result<T, UnpackError>) -> Option<T> {
        result.map_err(|error| self.record(error)).ok()
    }
}

/// Streams one layer through `split`; `space` is a descriptor on the store's filesystem.
///
/// Everything that `fetch` sends is inflated, also what `split` does not read.
pub(crate) fn stream<S: Send>(
    fetch: impl FnOnce(&mut Sink) -> Result<(), UnpackError>,
    split: impl FnOnce(&mut Source) -> Result<S, UnpackError> + Send,
    bounds: &Bounds,
    space: BorrowedFd<'_>,
) -> Result<S, UnpackError> {
    let last = |from, first: &First| last(split, Source::new(from), first);
    run(fetch, last, bounds, space)
}

/// The same through `split` and then `apply`.
pub(crate) fn stream_both<S: Send, A: Send>(
    fetch: impl FnOnce(&mut Sink) -> Result<(), UnpackError>,
    split: impl FnOnce(&mut Tee) -> Result<S, UnpackError> + Send,
    apply: impl FnOnce(&mut Source) -> Result<A, UnpackError> + Send,
    bounds: &Bounds,
    space: BorrowedFd<'_>,
) -> Result<(S, A), UnpackError> {
    let both = |from, first: &First| {
        let (to_apply, from_split) = channel();
        thread::scope(|scope| {
            let applier = scope.spawn(|| last(apply, Source::new(from_split), first));
            let split = split_all(split, Tee::new(from, to_apply), first);
            let applied = applier.join().ok().flatten();
            Some((split?, applied?))
        })
    };
    run(fetch, both, bounds, space)
}

/// Runs `fetch` here, inflates on a thread of its own and has `rest` do the rest on another.
fn run<T: Send>(
    fetch: impl FnOnce(&mut Sink) -> Result<(), UnpackError>,
    rest: impl FnOnce(Receiver<Message>, &First) -> Option<T> + Send,
    bounds: &Bounds,
    space: BorrowedFd<'_>,
) -> Result<T, UnpackError> {
    let first = First::default();
    let (mut compressed, from_fetch) = pipe(COMPRESSED_CHUNKS);
    let (tar, from_inflate) = pipe(TAR_CHUNKS);
    let outcome = thread::scope(|scope| {
        let inflater = scope.spawn(|| {
            // The ends of the pipes outlive the recording of an error: a neighbour that sees them
            // closed must find that the cause has been told.
            let (mut source, mut tar) = (Source::new(from_fetch), tar);
            first.keep(inflate(&mut source, &mut tar, bounds, space))?;
            tar.finish().ok()
        });
        let rest = scope.spawn(|| rest(from_inflate, &first));
        let fetched = first.keep(fetch(&mut compressed));
        match fetched {
            // A next stage that has ended has recorded why.
            Some(()) => drop(compressed.finish()),
            // Without its end mark the next stage knows that it was not all.
            None => drop(compressed),
        }
        let inflated = inflater.join().ok().flatten();
        let rest = rest.join().ok().flatten();
        fetched.and(inflated).and(rest)
    });
    let error = first.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (error, outcome) {
        (Some(error), _) => Err(error),
        (None, Some(outcome)) => Ok(outcome),
        // Nobody recorded why: only a stage that panicked does that.
        (None, None) => Err(UnpackError::Stage),
    }
}

fn inflate(
    from: &mut Source,
    to: &mut Sink,
    bounds: &Bounds,
    space: BorrowedFd<'_>,
) -> Result<(), UnpackError> {
    let mut reader = compression::open(from).map_err(UnpackError::Decompress)?;
    let mut total: u64 = 0;
    let mut look_at = 0;
    loop {
        if total >= look_at {
            bounds.check_space(space)?;
            look_at = total + SPACE_INTERVAL;
        }
        let read = |buffer: &mut [u8]| reader.read(buffer).map_err(UnpackError::Decompress);
        match to.fill(read)? {
            0 => break,
            count => total += count as u64,
        }
        if total > bounds.tar_bytes {
            return Err(UnpackError::TooLarge(bounds.tar_bytes));
        }
    }
    Ok(())
}

/// Splits, and passes on what that did not read. After an error the next stage finds its end
/// missing.
fn split_all<S>(
    split: impl FnOnce(&mut Tee) -> Result<S, UnpackError>,
    mut tee: Tee,
    first: &First,
) -> Option<S> {
    let split = first.keep(split(&mut tee))?;
    tee.pass_rest().then_some(split)
}

/// Does the last stage's work, then reads to the end: only then have all stages seen everything.
fn last<T>(
    work: impl FnOnce(&mut Source) -> Result<T, UnpackError>,
    mut source: Source,
    first: &First,
) -> Option<T> {
    let done = first.keep(work(&mut source))?;
    // A stage before that has failed has recorded why.
    source.pass_rest().then_some(done)
}

#[cfg(test)]
mod tests;
