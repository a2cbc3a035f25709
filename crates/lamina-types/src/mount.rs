//! Mounts a user asks for: `-v`, `--mount`, `--tmpfs`; there is one parser for each.

mod csv;
mod keys;
mod parse;
mod parts;
mod tmpfs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use parse::MountError;
pub(crate) use parts::clean;

/// One mount as a user asked for it, typed and checked but not yet resolved on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// What is mounted.
    pub kind: MountKind,
    /// Where, an absolute path in the container.
    pub target: PathBuf,
    /// Whether writes are refused.
    #[serde(default)]
    pub read_only: bool,
    /// Whether submounts are read-only too (`rro`); needs mount_setattr(2), Linux 5.12.
    #[serde(default)]
    pub recursive_read_only: bool,
}

/// What a [`MountSpec`] mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// An absolute path on the host; it must exist.
        source: PathBuf,
        /// How mounts travel between host and container.
        #[serde(default)]
        propagation: Propagation,
        /// Whether submounts of the source are left out (`bind-recursive=disabled`).
        #[serde(default)]
        non_recursive: bool,
        /// Whether and how the source is relabelled where SELinux is enabled.
        #[serde(default)]
        relabel: Relabel,
    },
    /// A volume: named, or anonymous where `name` is `None`.
    Volume {
        /// The volume's name.
        name: Option<String>,
        /// Whether image content is *not* copied into a new empty volume.
        #[serde(default)]
        no_copy: bool,
        /// The part of the volume that is mounted: a relative path without `..`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<PathBuf>,
        /// Labels of a volume that is made for this.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// The driver's options of a volume that is made for this.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        options: BTreeMap<String, String>,
    },
    /// The tree of an image, which cannot be written to.
    Image {
        /// The image as it was typed: a name, an id or the beginning of one.
        source: String,
        /// The part of it that is mounted: a relative path without `..`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<PathBuf>,
    },
    /// A tmpfs.
    Tmpfs {
        /// The size limit in bytes; `None` is the kernel's default, half of memory.
        size: Option<u64>,
        /// The mode of its root directory; Docker's default is 1777.
        mode: Option<u32>,
        /// Further options as mount(8) spells them (`noexec`, `nosuid`, …).
        #[serde(default)]
        options: Vec<String>,
    },
}

impl MountKind {
    /// Returns a volume as `-v` names one.
    pub fn volume(name: Option<String>, no_copy: bool) -> Self {
        Self::Volume {
            name,
            no_copy,
            subpath: None,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }
}

/// Mount propagation of a bind (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Recursive private, the default.
    #[default]
    Rprivate,
    /// Private.
    Private,
    /// Recursive shared.
    Rshared,
    /// Shared.
    Shared,
    /// Recursive slave.
    Rslave,
    /// Slave.
    Slave,
}

/// What `:z` and `:Z` ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relabel {
    /// The labels stay.
    #[default]
    None,
    /// `:z`: a label that all containers share.
    Shared,
    /// `:Z`: the container's own label.
    Private,
}
