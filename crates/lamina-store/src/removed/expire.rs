//! Ending the time of what was removed.

use lamina_fs::{LockError, PathError};
use lamina_types::ErrorKind;
use rustix::fs::fstatvfs;

use super::fill::complete;
use super::manifest::Manifest;
use super::{Removed, RemovedId, Transaction, Window, now};
use crate::area::Area;
use crate::collect::{CollectError, CollectOptions, Collected};

/// Below this part of the filesystem, and this many bytes, the disk counts as short.
const SHORT_PART: u64 = 20;
const SHORT_BYTES: u64 = 4 << 30;

/// What [`Removed::expire`] did.
#[derive(Debug, Default)]
pub struct Expired {
    /// The entries that went.
    pub ids: Vec<RemovedId>,
    /// What only they held, and whatever else nothing held; in the trash by now.
    pub collected: Option<Collected>,
}

/// Why the time of what was removed could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum ExpireError {
    /// A file or folder could not be worked on.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What nothing holds any more could not be collected.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

impl ExpireError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Collect(error) => error.kind(),
        }
    }
}

impl Removed<'_> {
    /// Says whether [`Removed::expire`] may have something to do: reads a small file of each
    /// entry, and how full the disk is.
    pub fn is_due(&self, window: &Window) -> Result<bool, PathError> {
        let all = self.list()?;
        if all.is_empty() {
            return Ok(false);
        }
        let now = now();
        let size: u64 = all.iter().map(|one| one.size).sum();
        Ok(all.iter().any(|one| one.until <= now)
            || window.limit.is_some_and(|limit| size > limit)
            || self.is_short())
    }

    /// Drops what can no longer be brought back: what is past its time and, the oldest first, what
    /// is over the limit; everything where the disk is short or `all` is asked for. What only that
    /// held is collected into the trash.
    ///
    /// An entry that is being filled is left. Killed in the middle, the next call goes on.
    pub fn expire(&self, window: &Window, all: bool) -> Result<Expired, ExpireError> {
        let mut expired = Expired::default();
        {
            let _lock = self.lock()?;
            let mut entries = self.list()?;
            let busy = self.busy()?;
            entries.retain(|one| !busy.contains(&one.id));
            let all = all || self.is_short();
            let now = now();
            let (gone, mut kept): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|one| all || one.until <= now);
            for one in &gone {
                self.drop_entry(one, &mut expired)?;
            }
            while let Some(oldest) = kept.pop() {
                if !self.is_over(window)? {
                    break;
                }
                self.drop_entry(&oldest, &mut expired)?;
            }
        }
        if !expired.ids.is_empty() {
            expired.collected = Some(self.0.collect(&CollectOptions::default())?);
        }
        Ok(expired)
    }

    fn drop_entry(&self, one: &Transaction, expired: &mut Expired) -> Result<(), PathError> {
        let removed = self.0.dir(Area::Removed)?;
        // Parts that a killed undo had brought back, without the container that they are of.
        let dir = removed.open_at(one.id.as_str())?;
        if let Some(manifest) = Manifest::read(&dir)? {
            complete(self.0, &dir, &manifest)?;
        }
        self.0.trash(removed, one.id.as_str())?;
        // Before what it held is taken.
        removed.sync()?;
        expired.ids.push(one.id.clone());
        Ok(())
    }

    /// Measures what is kept for bringing it back alone.
    fn is_over(&self, window: &Window) -> Result<bool, CollectError> {
        let Some(limit) = window.limit else {
            return Ok(false);
        };
        let space = self.0.space()?;
        let shares = self.0.shares(&space)?;
        Ok(space.removed.values().sum::<u64>() + shares.removed > limit)
    }

    /// Says whether the store's filesystem is nearly full.
    fn is_short(&self) -> bool {
        let Ok(stat) = fstatvfs(self.0.root()) else {
            return false;
        };
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        bytes(stat.f_bavail) < (bytes(stat.f_blocks) / SHORT_PART).min(SHORT_BYTES)
    }
}
