//! Waiting for a blob or a layer that another process is making, and saying so.

use std::time::{Duration, Instant};

use lamina_fs::{Lock, LockError, Rank};
use lamina_types::{DiffId, Digest};

use crate::area::Area;
use crate::store::Store;

/// How often a waiting caller is told that it still waits.
const TICK: Duration = Duration::from_millis(100);

/// What a caller is told while it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Who holds the lock, as "process 123".
    pub holder: String,
    /// How long the wait has lasted.
    pub waited: Duration,
}

/// Decides, at every tick of a wait, whether to go on; called about ten times a second.
///
/// Returning false ends the wait with [`LockError::Held`]. A download has no natural bound, so
/// the caller, who can see it progress, sets one.
pub type Waiting<'w> = &'w mut dyn FnMut(&Holder) -> bool;

/// Takes the lock of one blob; it outlives the download.
pub(crate) fn blob(store: &Store, digest: &Digest, wait: Waiting<'_>) -> Result<Lock, LockError> {
    named(store, &blob_name(digest), Rank::Blob, wait)
}

/// Takes the lock of one blob if nobody has it.
pub(crate) fn try_blob(store: &Store, digest: &Digest) -> Result<Option<Lock>, LockError> {
    Lock::try_exclusive(store.dir(Area::Locks)?, blob_name(digest), Rank::Blob)
}

/// What the lock of one blob is called.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blob-{}", digest.hex())
}

/// Takes the lock of one layer; it outlives the unpacking.
pub(crate) fn layer(store: &Store, diff_id: &DiffId, wait: Waiting<'_>) -> Result<Lock, LockError> {
    named(
        store,
        &format!("layer-{}", diff_id.0.hex()),
        Rank::Layer,
        wait,
    )
}

fn named(store: &Store, name: &str, rank: Rank, wait: Waiting<'_>) -> Result<Lock, LockError> {
    let dir = store.dir(Area::Locks)?;
    let start = Instant::now();
    loop {
        match Lock::exclusive_within(dir, name, rank, TICK) {
            Err(LockError::Held { path, holder, .. }) => {
                let waited = start.elapsed();
                let seen = Holder { holder, waited };
                if !wait(&seen) {
                    let holder = seen.holder;
                    return Err(LockError::Held {
                        path,
                        holder,
                        waited,
                    });
                }
            }
            other => return other,
        }
    }
}

/// Removes the lock's file while the lock is held, so that `locks/` does not grow for ever. Who
/// waits for it opens the name again ([`Lock`] checks that the name still leads to its inode).
pub(crate) fn retire(store: &Store, name: &str) {
    if let Ok(dir) = store.dir(Area::Locks) {
        // Best effort: a file that stays is empty and is taken again by the next holder.
        let _ = dir.unlink(name);
    }
}
