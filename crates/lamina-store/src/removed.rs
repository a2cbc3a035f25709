//! What was removed and can be brought back for a while: `removed/<id>/`, one per command.
//!
//! ```text
//! removed/<id>/manifest.json      what was done: the exact documents of names, containers, volumes,
//!                                 when, until when, by which words; rewritten before each step
//! removed/<id>/container-<id>/    a container's records, moved here
//! removed/<id>/snap-<id>/         its writable layer
//! removed/<id>/volume-<name>/     a volume
//! ```
//! The files of names are not moved: their content is in the manifest, and the manifest is a root of
//! garbage collection like the name that it was. So the layers of a removed image stay where they
//! are until its time has passed, bringing it back is writing one small file, and whoever pulls it
//! again meanwhile finds everything here.
//!
//! # Order, and what a kill leaves
//!
//! *Removing*: lease in `ops/` → manifest, durable → names unlinked, or a container's folder moved
//! (from then on it is gone), then its name, layer and volumes. A removal that was killed is settled
//! by the next [`Store::open`]: what of a container was begun is completed, and where nothing had
//! been taken yet the entry goes.
//! *Bringing back*: leases → volumes, layer, name, the container's folder last; then names of images;
//! then the entry goes. One that was killed is settled in the same way, and as each step passes over
//! what is done already, the next attempt finishes.
//! *Ending its time*: the entry is renamed to the trash, and the collector takes what only it held.
//!
//! Bringing back and ending exclude each other by the lock `removed`, the first of all. Neither
//! touches an entry that a running operation is filling: those are named in `ops/`, which is listed
//! after `removed/`.

mod expire;
mod fill;
mod manifest;
mod restore;

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lamina_fs::{Dir, Lock, LockError, PathError, Rank};
use lamina_types::{ContainerId, ContainerName};
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

pub use expire::{ExpireError, Expired};
pub(crate) use fill::settle;
pub use fill::{Finished, Removal, RemovalError};
pub(crate) use manifest::Manifest;
pub use restore::{Restored, UndoRemovalError};

use crate::area::Area;
use crate::ops::Line;
use crate::pins::{self, Pin};
use crate::refs::{Ref, Refs};
use crate::store::Store;
use crate::trash::random_name;

const LOCK: &str = "removed";
/// How many digits an id has.
const ID_LENGTH: usize = 12;
const SNAP: &str = "snap-";
const CONTAINER: &str = "container-";
const VOLUME: &str = "volume-";

/// What was removed from a store and can be brought back.
#[derive(Debug, Clone, Copy)]
pub struct Removed<'s>(pub(crate) &'s Store);

/// How long, and how much, what is removed can be brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// How long; zero removes at once.
    pub keep: Duration,
    /// How many bytes may be kept for this alone; `None` sets no limit.
    pub limit: Option<u64>,
    /// The words of the command that removes, for people.
    pub command: Vec<String>,
}

/// The id of one command's removals: 12 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RemovedId(String);

impl RemovedId {
    /// Returns the id as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn random() -> Self {
        Self(random_name()[..ID_LENGTH].to_owned())
    }
}

impl FromStr for RemovedId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match digits && text.len() == ID_LENGTH {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("not the id of a removal: {ID_LENGTH} digits")),
        }
    }
}

impl TryFrom<String> for RemovedId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RemovedId> for String {
    fn from(id: RemovedId) -> Self {
        id.0
    }
}

impl fmt::Display for RemovedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container that is removed; its folder, name, writable layer and some volumes go with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RemovedContainer {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The image as it was asked for, for people.
    pub image: String,
    /// The volumes that go with it.
    pub volumes: Vec<String>,
}

/// What one command removed.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its id.
    pub id: RemovedId,
    /// When, in milliseconds since 1970.
    pub removed: u64,
    /// Until when it can be brought back, in milliseconds since 1970.
    pub until: u64,
    /// The words of the command.
    pub command: Vec<String>,
    /// Names of images, each with what it stood for.
    pub refs: Vec<Ref>,
    /// Containers.
    pub containers: Vec<RemovedContainer>,
    /// Volumes that went by themselves.
    pub volumes: Vec<String>,
    /// About how many bytes it had: contents of images, writable layers, volumes.
    pub size: u64,
}

/// What a removal holds, for the collector and the ledger.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) id: RemovedId,
    pub(crate) command: Vec<String>,
    pub(crate) refs: Vec<Ref>,
    pub(crate) pins: Vec<Pin>,
}

impl Removed<'_> {
    /// Lists what can be brought back, the latest first.
    pub fn list(&self) -> Result<Vec<Transaction>, PathError> {
        let mut all = Vec::new();
        for (id, dir) in self.dirs()? {
            if let Some(manifest) = Manifest::read(&dir)? {
                all.push(manifest.into_transaction(id));
            }
        }
        all.sort_by(|a, b| (b.removed, &b.id).cmp(&(a.removed, &a.id)));
        Ok(all)
    }

    /// Lists what the removals hold: names by what they stood for, writable layers by their pins.
    pub(crate) fn held(&self) -> Result<Vec<Held>, PathError> {
        let mut held = Vec::new();
        for (id, dir) in self.dirs()? {
            let Some(manifest) = Manifest::read(&dir)? else {
                continue;
            };
            let mut pins = Vec::new();
            for name in parts(&dir, SNAP)? {
                pins.extend(pins::read(&dir, &name)?);
            }
            let documents = manifest.refs.iter().map(|one| one.document.as_bytes());
            held.push(Held {
                id,
                refs: documents.filter_map(Refs::parse).collect(),
                command: manifest.command,
                pins,
            });
        }
        Ok(held)
    }

    /// Opens every entry; one that goes meanwhile is left out.
    fn dirs(&self) -> Result<Vec<(RemovedId, Dir)>, PathError> {
        let dir = self.0.dir(Area::Removed)?;
        let mut dirs = Vec::new();
        for entry in dir.entries()? {
            let id = entry.name.to_str().and_then(|name| name.parse().ok());
            let Some(id) = id.filter(|_: &RemovedId| entry.kind == FileType::Directory) else {
                continue;
            };
            match dir.open_at(&entry.name) {
                Err(error) if error.is_not_found() => {}
                other => dirs.push((id, other?)),
            }
        }
        Ok(dirs)
    }

    /// Returns the entries that running operations are filling; to be called after a listing.
    fn busy(&self) -> Result<Vec<RemovedId>, PathError> {
        let lines = self.0.ops().leases()?.into_iter();
        Ok(lines
            .filter_map(|line| match line {
                Line::Removal(id) => Some(id),
                _ => None,
            })
            .collect())
    }

    fn lock(&self) -> Result<Lock, LockError> {
        Lock::exclusive(self.0.dir(Area::Locks)?, LOCK, Rank::Removed)
    }
}

/// Lists what of an entry begins with a word.
fn parts(dir: &Dir, word: &str) -> Result<Vec<OsString>, PathError> {
    let entries = match dir.entries() {
        Err(error) if error.is_not_found() => Vec::new(),
        other => other?,
    };
    let names = entries.into_iter().map(|entry| entry.name);
    Ok(names
        .filter(|name| name.to_string_lossy().starts_with(word))
        .collect())
}

/// Returns the time in milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
