//! Blobs that have come, or that a client was told are here, and that no manifest leads to yet.
//!
//! They are leased by operations of this process, one for each half hour: when the next but one
//! has begun, a client that has not put its manifest will not. The collector of any process sees
//! them; when this process ends, however that may be, they hold nothing any more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lamina_store::{Line, OpError, Operation, Store};
use lamina_types::{DiffId, Digest};

/// How long one operation takes blobs.
const WINDOW: Duration = Duration::from_secs(30 * 60);
/// How many are kept besides the one that does.
const KEPT: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<Vec<(Instant, Operation)>>);

impl Leases {
    /// Leases a blob for at least an hour.
    pub(crate) fn blob(&self, store: &Store, digest: &Digest) -> Result<(), OpError> {
        self.with(store, |op| {
            op.lease(&[
                Line::Blob(digest.clone()),
                Line::Layer(DiffId(digest.clone())),
            ])
        })
    }

    /// Calls `act` with the operation of now.
    pub(crate) fn with<T, E: From<OpError>>(
        &self,
        store: &Store,
        act: impl FnOnce(&Operation) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let fresh = |(begun, _): &(Instant, Operation)| now.duration_since(*begun) < WINDOW;
        if !all.last().is_some_and(fresh) {
            all.push((now, store.ops().begin("registry", &[])?));
            while all.len() > KEPT + 1 {
                // One that cannot be removed is undone by the next open.
                drop(all.remove(0).1.finish());
            }
        }
        match all.last() {
            Some((_, op)) => act(op),
            None => act(&store.ops().begin("registry", &[])?),
        }
    }

    /// Gives everything up.
    pub(crate) fn end(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, op) in all.drain(..) {
            drop(op.finish());
        }
    }
}
