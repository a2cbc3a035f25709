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
//! $ROOT/probe.json             which mount options this kernel and filesystem take
//! ```
//! Locks: the shared store lock while a snapshot is pinned, nothing else. A snapshot belongs to
//! its container, whose lock the caller holds.

#![forbid(unsafe_code)]

pub mod conformance;
mod detached;
mod info;
mod plain;
mod probe;
mod snapshotter;

pub use detached::{MountError, mount_detached};
pub use info::InfoError;
pub use plain::Plain;
pub use probe::{ProbeError, Support, open};
pub use snapshotter::{
    ImageLayers, PrepareError, PrepareOptions, RemoveError, Snapshotter, StorageMode, Usage,
    UsageError,
};
