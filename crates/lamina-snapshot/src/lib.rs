//! Images to root filesystems: prepare, view, remove, and the storage modes.
//!
//! A [`Snapshotter`] turns a list of layers into a [`Rootfs`](lamina_types::Rootfs), a plain value
//! that says what is to be mounted. It mounts nothing for containers: that happens inside the
//! container's own mount namespace, by the runtime. It knows nothing of images' configurations,
//! registries or containers.
//!
//! ```text
//! $ROOT/snap/<id>/info.json    what the writable layer stands on, and how it is to be mounted
//!                 upper/       what was written
//!                 work/        overlayfs's own
//! $ROOT/images/<key>.top/      mount points and the metadata of implied directories
//! $ROOT/images/<key>.view/     the metadata of implied directories alone
//! $ROOT/images/<key>.<v>.erofs the merged image of mode erofs, mount points included
//! $ROOT/images/<key>.<v>.view.erofs   the same without them, made when it is first looked at
//! $ROOT/probe.json             which mount options this kernel and filesystem take
//! ```
//! Locks: the shared store lock while a snapshot is pinned, nothing else. A snapshot belongs to
//! its container, whose lock the caller holds.

#![forbid(unsafe_code)]

mod check;
pub mod conformance;
mod detached;
mod erofs;
mod info;
mod lower;
mod metadata;
mod plain;
mod points;
mod probe;
mod snapshots;
mod snapshotter;
mod usage;

pub use check::check_generated;
pub use detached::{MountError, mount_detached};
pub use erofs::MergeError;
pub use info::InfoError;
pub use probe::{ProbeError, Support, open};
pub use snapshotter::{
    ImageLayers, KnownTrees, PrepareError, PrepareOptions, RemoveError, Snapshotter, StorageMode,
    Usage, UsageError,
};
