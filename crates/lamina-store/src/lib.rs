//! Blobs, layers, refs, leases and garbage collection on disk.
//!
//! The store is a folder of immutable files and atomic renames; there is no database and no
//! daemon. This crate knows nothing of registries, mounts or containers: it keeps objects, the
//! names that hold them, and the leases of operations in flight.
//!
//! ```text
//! $ROOT
//!   meta.json                  format version and features; checked by every open
//!   oci/oci-layout, index.json a valid OCI image layout; index.json is derived from refs/
//!   oci/blobs/<alg>/<hex>      manifests, configurations, compressed layers; immutable
//!   partial/<alg>-<hex>        downloads that are not complete; kept over crashes, resumed
//!   layers/<diff id hex>/      one layer: its exact tar without contents, their index, its tree
//!   pool/xx/<20 characters>    contents of files, each once; see `pool.rs`
//!   images/<key>.top/          the generated top lower of an image; made by lamina-snapshot
//!   refs/<sha256 of name>.json one file per name: the truth about which images exist
//!   snap/<id>/info.json        a writable layer; its Pin names the image it stands on
//!   containers/, volumes/      owned by lamina-engine
//!   ops/<pid>.<random>         an operation in flight: flock held by its owner, typed lines
//!   ops/<pid>.<random>.d/      that operation's drafts
//!   unsynced/<boot>.<hex>      a layer that is published but perhaps not on the disk yet
//!   removed/<id>/              what one command removed and can be brought back; see `removed.rs`
//!   trash/                     renamed away, unlinked later
//!   locks/                     flock files
//! ```
//!
//! # Roots of garbage collection
//!
//! Live operations (`ops/`), writable layers (`snap/`), names (`refs/`), what can be brought back
//! (`removed/`), **read in that order, in full, under the exclusive store lock** by
//! [`Store::collect`]. An operation leases an object
//! under the shared store lock before it looks whether the object is there, and publishes what
//! holds it (a ref, a snapshot) before it drops the lease, and a removal writes down what it removes
//! before it does: so an object is always seen by one of the four lists. `collect/model.rs` explores every interleaving of that protocol.
//!
//! # Locks
//!
//! In this order: removed < container < volume < blob < layer < store < ref-index < network. Nobody holds a
//! store-wide lock while downloading, unpacking or unlinking.
//!
//! # What survives
//!
//! *`kill -9`*: everything that was published; a dead operation's entry in `ops/` has a free
//! flock, and the next [`Store::open`] undoes it from its lines. Partial downloads stay.
//! *A power cut*: every ref that [`Refs::set`] returned for, with all its blobs and layers. Layers
//! that were published but not synced are dropped by the first open of the next boot.

#![forbid(unsafe_code)]

mod area;
mod blobs;
mod boot;
mod check;
mod collect;
mod early;
mod hash;
mod key;
mod layers;
mod ledger;
mod lock;
mod meta;
mod ops;
mod pins;
mod pool;
mod refs;
mod removed;
mod store;
mod sync;
mod trash;

pub use area::Area;
pub use blobs::{BlobError, Blobs, Fetch, Partial};
pub use boot::BootId;
pub use check::{
    CheckError, CheckOptions, CheckProgress, CheckWatch, Fault, Finding, MendError, Owner, Owners,
};
pub use collect::{CollectError, CollectOptions, Collected, Damaged};
pub use early::{Early, EarlyWriter, early};
pub use hash::Hasher;
pub use key::image_key;
pub use layers::{Layer, LayerContents, LayerDraft, LayerError, LayerInfo, LayerLock, Layers};
pub use ledger::{ImageShare, Link, Shares, Space, Subject, SubjectError};
pub use lock::{Holder, Waiting};
pub use ops::{
    Draft, Line, OpError, Operation, Ops, Recovery, SnapshotId, SnapshotIdError, UndoError,
};
pub use pins::{Pin, PinError, Pins};
pub use pool::{ObjectKey, Pool, PoolError, PoolWriter};
pub use refs::{Ref, RefError, Refs};
pub use removed::{
    ExpireError, Expired, Finished, Removal, RemovalError, Removed, RemovedContainer, RemovedId,
    Restored, Transaction, UndoRemovalError, Window,
};
pub use store::{OpenError, Store};
pub use sync::SyncError;
pub use trash::{Emptied, TrashError};
