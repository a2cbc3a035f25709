//! Contents on their way to the disk while others still come, so that the one sync before a name is
//! published has little left to do.
//!
//! Only what stays is written early: a download on its way into a layer is gone again before the
//! kernel would write it by itself. What a slow network brings is written now and then.

use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::store::Store;

/// Files that wait, each with its descriptor; what comes when there are so many is left to the
/// sync.
const WAITING: usize = 64;
/// Shorter contents are left to the sync, which writes many of them at once: one by one they are
/// four times the requests to the disk.
const WORTHWHILE: u64 = 64 << 10;
/// How often what was begun is waited for, which has the disk empty its own cache.
const FLUSH: Duration = Duration::from_millis(150);

/// Where new contents are handed on to be written.
#[derive(Debug, Clone)]
pub struct Early(SyncSender<File>);

/// The other end, for a thread of its own.
#[derive(Debug)]
pub struct EarlyWriter(Receiver<File>);

/// Returns the two ends.
pub fn early() -> (Early, EarlyWriter) {
    let (to, from) = sync_channel(WAITING);
    (Early(to), EarlyWriter(from))
}

impl Early {
    /// Hands on a content of `size` bytes, which is complete.
    pub(crate) fn offer(&self, file: File, size: u64) {
        if size >= WORTHWHILE {
            // A disk that does not keep up is not waited for.
            let _ = self.0.try_send(file);
        }
    }
}

impl EarlyWriter {
    /// Writes until the last [`Early`] is gone, and `everything` in the store, downloads too, as
    /// often as that.
    ///
    /// Promises nothing, and changes nothing but how much [`Store::sync`] will have left to do: a
    /// disk that fails says so again in the sync that counts.
    pub fn run(self, store: &Store, everything: Duration) {
        let (mut flushed, mut all) = (Instant::now(), Instant::now());
        loop {
            let next = self.0.recv_timeout(everything);
            if matches!(next, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            if all.elapsed() >= everything {
                let _ = store.write_back();
                all = Instant::now();
                flushed = all;
            } else if let Ok(file) = next {
                let _ = lamina_sys::writeback::begin(&file);
                if flushed.elapsed() >= FLUSH {
                    let _ = file.sync_data();
                    flushed = Instant::now();
                }
            }
        }
    }
}
