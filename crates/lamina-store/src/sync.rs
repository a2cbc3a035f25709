//! Layers reach the disk by one `syncfs` per image, not by one `fsync` per file.
//!
//! ```text
//! publish   unsynced/<boot>.<hex> made, layers/<hex> renamed into place   (shared store lock)
//! sync      markers of this boot listed (exclusive store lock), syncfs, markers unlinked, fsync
//! ref       refs/<…>.json written, only now
//! ```
//! After a power cut the markers that are left belong to another boot: their layers may have files
//! without content, nothing acknowledged relies on them, and the first open drops them. The marker
//! and the rename are in this order in the journal of every journalling filesystem, so a layer is
//! never on the disk without its marker unless it was synced.
//!
//! The exclusive lock is held for the listing alone: it makes sure that every marker seen belongs
//! to a layer whose rename came before our `syncfs`.

use std::ffi::OsString;

use lamina_fs::{Durability, LockError, PathError};
use lamina_types::ErrorKind;

use crate::area::Area;
use crate::store::Store;

/// Why published layers could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A folder could not be read or synced.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl SyncError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
        }
    }
}

/// Returns the marker's name of one layer, by the hexadecimal of its diff id.
pub(crate) fn marker(store: &Store, hex: &str) -> String {
    format!("{}.{hex}", store.boot().as_str())
}

impl Store {
    /// Makes every layer published so far, by whomever, survive a power cut.
    ///
    /// Costs one readdir when all of them do already. [`Refs::set`](crate::Refs::set) calls it.
    pub fn sync(&self) -> Result<(), SyncError> {
        let unsynced = self.dir(Area::Unsynced)?;
        if unsynced.entries()?.is_empty() {
            return Ok(());
        }
        let markers: Vec<OsString> = {
            let _lock = self.lock_exclusive()?;
            let entries = unsynced.entries()?.into_iter();
            entries.map(|entry| entry.name).collect()
        };
        self.root().syncfs()?;
        for marker in &markers {
            match unsynced.unlink(marker) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        // A marker that came back after a power cut would drop a layer that was acknowledged.
        Ok(unsynced.sync()?)
    }
}

/// Drops layers that were published in another boot and not synced. Idempotent.
pub(crate) fn drop_unsynced_of_other_boots(store: &Store) -> Result<(), SyncError> {
    let unsynced = store.dir(Area::Unsynced)?;
    let foreign = |name: &OsString| {
        let (boot, hex) = name.to_str()?.split_once('.')?;
        (boot != store.boot().as_str()).then(|| hex.to_owned())
    };
    let suspects = || -> Result<Vec<(OsString, String)>, PathError> {
        let entries = unsynced.entries()?.into_iter();
        Ok(entries
            .filter_map(|entry| foreign(&entry.name).map(|hex| (entry.name, hex)))
            .collect())
    };
    if suspects()?.is_empty() {
        return Ok(());
    }
    let _lock = store.lock_exclusive()?;
    let layers = store.dir(Area::Layers)?;
    for (marker, hex) in suspects()? {
        // Published again and synced in this boot? Then its marker of this boot, or none, would
        // stand for it; but publishing needs an open store, and every open comes through here.
        if let Some(trashed) = store.trash(layers, &hex)? {
            let trash = store.dir(Area::Trash)?;
            trash.sync()?;
            layers.sync()?;
            drop(trashed);
        }
        match unsynced.unlink(&marker) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(unsynced.sync()?)
}

/// Makes the marker of a layer that is about to be published.
pub(crate) fn mark(store: &Store, hex: &str) -> Result<(), PathError> {
    let name = marker(store, hex);
    match store
        .dir(Area::Unsynced)?
        .create_exclusive(name, b"", 0o600, Durability::Volatile)
    {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other,
    }
}
