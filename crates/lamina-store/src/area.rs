//! The folders of a store.

/// A folder of the store; the picture in the crate's documentation says what each holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The OCI image layout: `oci-layout`, `index.json`, `blobs/`.
    Oci,
    /// Blobs named by SHA-256.
    BlobsSha256,
    /// Blobs named by SHA-512.
    BlobsSha512,
    /// Downloads that are not complete.
    Partial,
    /// Unpacked layers by diff id.
    Layers,
    /// Contents of files, by what is in them.
    Pool,
    /// What is generated once per image, by image key.
    Images,
    /// Names of images.
    Refs,
    /// Writable layers of containers; owned by `lamina-snapshot`.
    Snap,
    /// Container records; owned by `lamina-engine`.
    Containers,
    /// Container names; owned by `lamina-engine`.
    Names,
    /// Volumes; owned by `lamina-engine`.
    Volumes,
    /// Operations in flight.
    Ops,
    /// Layers that are published but not yet known to be on the disk.
    Unsynced,
    /// What has been removed and can be brought back.
    Removed,
    /// What has been removed and waits to be unlinked.
    Trash,
    /// Lock files.
    Locks,
    /// What happened; written by every process, see `lamina-monitor`.
    Events,
}

impl Area {
    /// Every area, parents before children.
    pub(crate) const ALL: [Self; 18] = [
        Self::Oci,
        Self::BlobsSha256,
        Self::BlobsSha512,
        Self::Partial,
        Self::Layers,
        Self::Pool,
        Self::Images,
        Self::Refs,
        Self::Snap,
        Self::Containers,
        Self::Names,
        Self::Volumes,
        Self::Ops,
        Self::Unsynced,
        Self::Removed,
        Self::Trash,
        Self::Locks,
        Self::Events,
    ];

    /// Returns the folder's path below the root of the store.
    pub fn path(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::BlobsSha256 => "oci/blobs/sha256",
            Self::BlobsSha512 => "oci/blobs/sha512",
            Self::Partial => "partial",
            Self::Layers => "layers",
            Self::Pool => "pool",
            Self::Images => "images",
            Self::Refs => "refs",
            Self::Snap => "snap",
            Self::Containers => "containers",
            Self::Names => "containers/names",
            Self::Volumes => "volumes",
            Self::Ops => "ops",
            Self::Unsynced => "unsynced",
            Self::Removed => "removed",
            Self::Trash => "trash",
            Self::Locks => "locks",
            Self::Events => "events",
        }
    }
}
