//! Layers and downloaded blobs reach the disk by one `syncfs` per image, not by one `fsync` per
//! file.
//!
//! ```text
//! publish   unsynced/<boot>.<hex> made, layers/<hex> renamed into place   (shared store lock)
//!           unsynced/<boot>.<alg>-<hex> and blobs/<alg>/<hex> likewise
//!           unsynced/<boot>.pool-<batch> and objects of the pool, which name their batch
//! sync      markers of this boot listed (exclusive store lock), syncfs, markers unlinked, fsync
//! ref       refs/<…>.json written, only now
//! ```
//! After a power cut the markers that are left belong to another boot: what they name may be files
//! without content, nothing acknowledged relies on it, and the first open drops it (objects of the pool: if their bytes
//! do not hash to what they should). The marker
//! and the rename are in this order in the journal of every journalling filesystem, so nothing is
//! ever on the disk without its marker unless it was synced.
//!
//! The exclusive lock is held for the listing alone: it makes sure that every marker seen belongs
//! to a rename that came before our `syncfs`.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};

use data_encoding::HEXLOWER;
use lamina_fs::{Dir, Durability, LockError, PathError};
use lamina_types::{Algorithm, Digest, ErrorKind};

use crate::area::Area;
use crate::blobs::area;
use crate::pool::{self, PoolError};
use crate::store::Store;

/// Why what was published could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A folder could not be read or synced.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Objects of the pool could not be looked at.
    #[error(transparent)]
    Pool(Box<PoolError>),
}

impl SyncError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Pool(error) => error.kind(),
        }
    }
}

/// What was published and is not synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsynced {
    area: Area,
    /// Its name in the area.
    hex: String,
}

impl Unsynced {
    /// A layer, by the hexadecimal of its diff id.
    pub(crate) fn layer(hex: &str) -> Self {
        Self {
            area: Area::Layers,
            hex: hex.to_owned(),
        }
    }

    /// A blob.
    pub(crate) fn blob(digest: &Digest) -> Self {
        Self {
            area: area(digest),
            hex: digest.hex().to_owned(),
        }
    }

    /// Objects of the pool that were linked together.
    pub(crate) fn batch(hex: &str) -> Self {
        Self {
            area: Area::Pool,
            hex: hex.to_owned(),
        }
    }

    fn marker(&self, boot: &str) -> String {
        let prefix = match self.area {
            Area::BlobsSha256 => format!("{}-", Algorithm::Sha256.name()),
            Area::BlobsSha512 => format!("{}-", Algorithm::Sha512.name()),
            Area::Pool => "pool-".to_owned(),
            _ => String::new(),
        };
        format!("{boot}.{prefix}{}", self.hex)
    }

    fn batch_bytes(&self) -> Option<[u8; 8]> {
        let bytes = HEXLOWER.decode(self.hex.as_bytes()).ok()?;
        bytes.try_into().ok()
    }

    /// Reads a marker's name; returns the boot that it is of, too.
    fn parse(marker: &OsStr) -> Option<(&str, Self)> {
        let (boot, rest) = marker.to_str()?.split_once('.')?;
        let (area, hex) = match rest.split_once('-') {
            None => (Area::Layers, rest),
            Some(("pool", hex)) => (Area::Pool, hex),
            Some((name, hex)) if name == Algorithm::Sha256.name() => (Area::BlobsSha256, hex),
            Some((name, hex)) if name == Algorithm::Sha512.name() => (Area::BlobsSha512, hex),
            Some(_) => return None,
        };
        let hex = hex.to_owned();
        Some((boot, Self { area, hex }))
    }
}

impl Store {
    /// Makes every layer and blob published so far, by whomever, survive a power cut.
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
            unmark(unsynced, marker)?;
        }
        // A marker that came back after a power cut would drop a layer that was acknowledged.
        Ok(unsynced.sync()?)
    }

    /// Writes to the disk what has been written into the store so far, published or not.
    ///
    /// Promises nothing, and changes nothing but how much [`Store::sync`] will have left to do.
    pub fn write_back(&self) -> Result<(), PathError> {
        self.root().syncfs()
    }
}

/// Drops layers and blobs that were published in another boot and not synced. Idempotent.
pub(crate) fn drop_unsynced_of_other_boots(store: &Store) -> Result<(), SyncError> {
    let unsynced = store.dir(Area::Unsynced)?;
    let foreign = |name: &OsStr| {
        let (boot, suspect) = Unsynced::parse(name)?;
        (boot != store.boot().as_str()).then_some(suspect)
    };
    let suspects = || -> Result<Vec<(OsString, Unsynced)>, PathError> {
        let entries = unsynced.entries()?.into_iter();
        Ok(entries
            .filter_map(|entry| foreign(&entry.name).map(|suspect| (entry.name, suspect)))
            .collect())
    };
    if suspects()?.is_empty() {
        return Ok(());
    }
    let _lock = store.lock_exclusive()?;
    let suspects = suspects()?;
    let batches = suspects.iter().filter(|(_, one)| one.area == Area::Pool);
    let batches: HashSet<_> = batches.filter_map(|(_, one)| one.batch_bytes()).collect();
    if !batches.is_empty() {
        pool::drop_suspects(store, &batches)?;
    }
    for (marker, suspect) in suspects {
        if suspect.area == Area::Pool {
            unmark(unsynced, &marker)?;
            continue;
        }
        let dir = store.dir(suspect.area)?;
        // Published again and synced in this boot? Then its marker of this boot, or none, would
        // stand for it; but publishing needs an open store, and every open comes through here.
        if let Some(trashed) = store.trash(dir, &suspect.hex)? {
            let trash = store.dir(Area::Trash)?;
            trash.sync()?;
            dir.sync()?;
            drop(trashed);
        }
        unmark(unsynced, &marker)?;
    }
    Ok(unsynced.sync()?)
}

/// Whether a marker is one of this boot: those of others are gone once the store is open.
pub(crate) fn is_marker_of(boot: &crate::boot::BootId, name: &OsStr) -> bool {
    Unsynced::parse(name).is_some_and(|(of, _)| of == boot.as_str())
}

fn unmark(unsynced: &Dir, marker: &OsStr) -> Result<(), PathError> {
    match unsynced.unlink(marker) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Makes the marker of what is about to be published; the caller holds the store lock, shared,
/// until it is.
pub(crate) fn mark(store: &Store, what: &Unsynced) -> Result<(), PathError> {
    let name = what.marker(store.boot().as_str());
    match store
        .dir(Area::Unsynced)?
        .create_exclusive(name, b"", 0o600, Durability::Volatile)
    {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_read_as_they_are_written() {
        let hex = "ab".repeat(32);
        let digest = Digest::from_sha256([0xab; 32]);
        for what in [
            Unsynced::layer(&hex),
            Unsynced::blob(&digest),
            Unsynced::batch("0123456789abcdef"),
        ] {
            let marker = what.marker("boot-id");
            assert_eq!(Unsynced::parse(marker.as_ref()), Some(("boot-id", what)));
        }
        assert_eq!(Unsynced::parse("nothing".as_ref()), None);
        assert_eq!(Unsynced::parse("boot.md5-12".as_ref()), None);
    }
}
