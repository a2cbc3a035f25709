//! The trait that every storage mode implements, and its vocabulary.

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::PathBuf;

use lamina_fs::{LockError, PathError};
use lamina_layer::{Content, LayerTree};
use lamina_store::{LayerError, OpError, Pin, SnapshotId, TrashError};
use lamina_types::{DiffId, Digest, ErrorKind, ImageId, Rootfs};

use crate::erofs::MergeError;
use crate::info::InfoError;

/// How images become root filesystems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StorageMode {
    /// The best that probing finds.
    #[default]
    Auto,
    /// One plain tree per layer, stacked by overlayfs.
    Plain,
    /// One merged EROFS image of metadata per image, files in the pool.
    Erofs,
}

impl StorageMode {
    /// Returns its name, as it is typed and recorded.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Erofs => "erofs",
        }
    }
}

/// What an image is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageKind {
    /// A container: with mount points.
    Container,
    /// To be looked at: as it was built.
    View,
}

/// The layers of an image, and what of the image must stay while they are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageLayers {
    /// The layers, the bottom-most first.
    pub diff_ids: Vec<DiffId>,
    /// The image, kept from being collected while a snapshot stands on it.
    pub image: Option<ImageId>,
    /// Its manifest, likewise.
    pub manifest: Option<Digest>,
    /// Images that are mounted beside it, likewise: a snapshot is made only where views of them
    /// can be had, for as long as it is there.
    pub mounted: Vec<Pin>,
}

/// Layers whose trees are at hand, because they have just come into the store.
pub type KnownTrees = HashMap<DiffId, LayerTree<Content>>;

/// How a writable layer is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrepareOptions {
    /// The layer is thrown away when its container ends (`--rm`): nothing of it is ever synced.
    pub volatile: bool,
}

/// What a writable layer holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Files, directories, links and devices; one with several names counts once.
    pub inodes: u64,
}

/// Turns images into root filesystems.
///
/// # Vocabulary
///
/// An *image* is a list of layers, bottom first. A *snapshot* is one writable layer on top of an
/// image; it is named by its container's id. *Upper* is the folder where overlayfs keeps what was
/// written. A [`Rootfs`] says what to mount; nothing here mounts it.
///
/// # Life of a snapshot
///
/// ```text
///           prepare                    remove
///   (none) ────────► prepared, mounted ───────► (none)
///                    by the runtime as
///                    often as `get` is asked
/// ```
///
/// 1. The caller begins an operation that leases the image and notes `Line::Snapshot(id)`: if it
///    dies before the container's record is written, the snapshot is removed by the next command.
/// 2. [`prepare`](Self::prepare) writes what the snapshot stands on, then makes the folders. From
///    its return on the snapshot itself keeps its layers from being collected, so the operation
///    may end as soon as whatever owns the snapshot is published.
/// 3. The runtime mounts the value that `prepare` returned, inside the container. After a stop,
///    [`get`](Self::get) returns an equal value for the next start. **One mount at a time**: the
///    kernel accepts a second overlay on the same upper and corrupts it silently, so the caller
///    holds the container's lock from `get` until it has mounted.
/// 4. [`upper`](Self::upper) is where `diff` and `commit` look, [`usage`](Self::usage) what `df`
///    shows.
/// 5. [`remove`](Self::remove) when nothing is mounted from it any more.
///
/// [`view`](Self::view) is an image without a writable layer, exactly as it was built: without
/// the mount points that containers get. It leaves nothing behind and pins nothing: the caller's
/// operation leases the image for as long as the view is mounted, or a snapshot has it as one of
/// [`ImageLayers::mounted`].
///
/// # Walk-through
///
/// ```text
/// run --rm   begin(op: image, snapshot) → prepare(id, volatile) → record, mount, start → op ends
///            … the program ends, its mount namespace with it … → remove(id)
/// create     begin(op) → prepare(id) → record → op ends
/// start      lock container → get(id) → mount, start
/// diff       upper(id), and view(image) for what was there before
/// ```
///
/// A store may hold snapshots of several modes: each stays in the mode it was made in.
///
/// Every mode passes [`conformance`](crate::conformance).
pub trait Snapshotter: Debug + Send + Sync {
    /// Returns the mode that new snapshots are made in; never [`StorageMode::Auto`].
    fn mode(&self) -> StorageMode;

    /// Returns why it is that mode, for people.
    fn reason(&self) -> String;

    /// Makes what `prepare` and `get` need of an image, so that they need not; idempotent. Called
    /// when an image comes into the store, under the operation that leases its layers. What it
    /// makes is on the disk after the next [`Store::sync`](lamina_store::Store::sync), or made
    /// again when it is missed. Layers that are in `known` are not read again.
    fn ready(&self, image: &ImageLayers, known: &KnownTrees) -> Result<(), PrepareError>;

    /// Makes a writable layer on an image. Fast: a few system calls when the image was used
    /// before. Unless it is volatile it survives a power cut on return.
    ///
    /// An existing `id` is an error. On any error nothing is left.
    fn prepare(
        &self,
        id: &SnapshotId,
        image: &ImageLayers,
        options: &PrepareOptions,
    ) -> Result<Rootfs, PrepareError>;

    /// Returns the image without a writable layer, to be mounted read-only.
    fn view(&self, image: &ImageLayers) -> Result<Rootfs, PrepareError>;

    /// Returns what is to be mounted for an existing snapshot.
    fn get(&self, id: &SnapshotId) -> Result<Rootfs, PrepareError>;

    /// Returns the folder that holds what was written; `None` if the mode keeps it elsewhere.
    fn upper(&self, id: &SnapshotId) -> Result<Option<PathBuf>, PrepareError>;

    /// Returns what the snapshot holds by itself. Walks the upper.
    fn usage(&self, id: &SnapshotId) -> Result<Usage, UsageError>;

    /// Moves a snapshot to the trash and returns where it is now, to be unlinked by the caller or
    /// with the rest of the trash; `None` if it is missing. Atomic.
    fn retire(&self, id: &SnapshotId) -> Result<Option<PathBuf>, RemoveError>;

    /// Removes a snapshot; a missing one is no error. Idempotent; may be killed at any point.
    fn remove(&self, id: &SnapshotId) -> Result<(), RemoveError>;
}

/// Why a root filesystem could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A folder or file could not be made or read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A layer's description could not be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The operation that generates the top of an image could not be noted.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The description of a snapshot could not be read.
    #[error(transparent)]
    Info(#[from] InfoError),
    /// The merged image cannot be made of the layers.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The merged image cannot be read.
    #[error("read {}", path.display())]
    Image {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: lamina_erofs::ReadError,
    },
    /// This mode does not work here, and a snapshot was made in it.
    #[error("storage mode {mode} does not work here: {reason}")]
    ModeUnusable {
        /// The mode.
        mode: &'static str,
        /// Why not.
        reason: String,
    },
    /// The image has more layers than the kernel stacks.
    #[error("image has {found} layers, overlayfs stacks at most {limit}")]
    TooManyLayers {
        /// How many it has.
        found: usize,
        /// How many can be.
        limit: usize,
    },
    /// A layer of the image is not here.
    #[error("layer {0} is not in the store")]
    MissingLayer(DiffId),
    /// There is a snapshot of that name.
    #[error("snapshot {0} exists already")]
    Exists(SnapshotId),
    /// There is no snapshot of that name.
    #[error("snapshot {0} does not exist")]
    NotFound(SnapshotId),
}

impl PrepareError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Lock(error) => error.kind(),
            Self::Layer(error) => error.kind(),
            Self::Op(error) => error.kind(),
            Self::Info(error) => error.kind(),
            Self::Merge(error) => error.kind(),
            Self::Image { .. } => ErrorKind::DataLoss,
            Self::TooManyLayers { .. } | Self::ModeUnusable { .. } => ErrorKind::Unsupported,
            Self::MissingLayer(_) => ErrorKind::DataLoss,
            Self::Exists(_) => ErrorKind::AlreadyExists,
            Self::NotFound(_) => ErrorKind::NotFound,
        }
    }
}

/// Why a snapshot could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Its folder could not be found or renamed.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is in the trash, but not all of it could be unlinked.
    #[error(transparent)]
    Trash(#[from] TrashError),
}

impl RemoveError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Trash(error) => error.kind(),
        }
    }
}

/// Why the size of a snapshot could not be found.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// A folder could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl UsageError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
        }
    }
}
