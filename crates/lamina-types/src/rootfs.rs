//! What a snapshotter hands to the runtime: how a root filesystem is to be mounted.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How to mount one root filesystem.
///
/// A plain value, kept as `rootfs.json` in the bundle because OCI's `root.path` cannot carry it.
/// Nothing is mounted when it is made; the runtime mounts it inside the container's own mount
/// namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rootfs {
    /// A directory that is the root filesystem as it stands (mode `copy`, exploded bundles).
    Dir(PathBuf),
    /// An overlay mount.
    Overlay {
        /// Read-only layers, the top-most first, as overlayfs counts them.
        lowers: Vec<Source>,
        /// A data-only lower (`datadir+`) that metadata-only layers point into, if the mode has one.
        data: Option<PathBuf>,
        /// The writable layer and its work directory; `None` for a read-only view.
        upper: Option<PathBuf>,
        /// overlayfs's work directory, on the filesystem of `upper`.
        work: Option<PathBuf>,
        /// Further mount options as overlayfs spells them, such as `metacopy=on`.
        options: Vec<String>,
    },
}

/// One read-only layer of an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A directory tree.
    Dir(PathBuf),
    /// An EROFS image file, mounted detached by whoever mounts the overlay.
    Erofs {
        /// The image file.
        file: PathBuf,
    },
}
