//! The image file: made once per list of layers, found by its name afterwards.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use lamina_erofs::{Image, Metadata, Tree, WriteError};
use lamina_fs::At;
use lamina_layer::{LayerTree, LayerTreeError, Limits, ObjectId};
use lamina_store::{Area, LayerError, ObjectKey, Store, image_key};
use lamina_types::{DiffId, ErrorKind};
use rustix::fs::OFlags;

use super::merge::Merge;
use crate::check::{self, Compared};
use crate::snapshotter::{ImageKind, KnownTrees, PrepareError};

/// Raised when the same layers would give another image: old files are made anew then.
const VERSION: u32 = 2;

/// Why layers could not be merged into an image.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A layer's split stream is damaged, or has what a layer may not have.
    #[error("read layer {diff_id}")]
    Layer {
        /// The layer.
        diff_id: DiffId,
        /// What is wrong.
        source: LayerTreeError,
    },
    /// The merged tree has what an image cannot have, or it could not be written.
    #[error("write {}", path.display())]
    Write {
        /// The image's file.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
}

impl MergeError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Layer { source, .. } => source.kind(),
            Self::Write {
                source: WriteError::Io(error),
                ..
            } => ErrorKind::of_io(error),
            Self::Write {
                source: WriteError::TooLarge,
                ..
            } => ErrorKind::ResourceExhausted,
            Self::Write { .. } => ErrorKind::Unsupported,
        }
    }
}

/// Returns the image of these layers and its root's metadata. Idempotent; of several processes one
/// publishes.
pub(super) fn ensure(
    store: &Store,
    diff_ids: &[DiffId],
    kind: ImageKind,
    known: &KnownTrees,
) -> Result<(PathBuf, Metadata), PrepareError> {
    let images = store.dir(Area::Images)?;
    let view = match kind {
        ImageKind::Container => "",
        ImageKind::View => "view.",
    };
    let name = format!("{}.{VERSION}.{view}erofs", image_key(diff_ids));
    let path = images.path().join(&name);
    let file = match images.open_file(&name, OFlags::RDONLY) {
        Err(error) if error.is_not_found() => {
            let op = store.ops().begin("merge", &[])?;
            for diff_id in diff_ids {
                store.layers().pool(&op, diff_id)?;
            }
            let tree = merge(store, diff_ids, kind, known)?;
            publish(store, &name, &tree)?;
            op.finish()?;
            images.open_file(&name, OFlags::RDONLY)?
        }
        other => other?,
    };
    let root = root_of(&file).map_err(|source| PrepareError::Image {
        path: path.clone(),
        source,
    })?;
    Ok((path, root))
}

fn root_of(file: &File) -> Result<Metadata, lamina_erofs::ReadError> {
    Ok(Image::open(file)?.root()?.metadata)
}

/// Merges the layers, bottom first, from their split streams.
fn merge(
    store: &Store,
    diff_ids: &[DiffId],
    kind: ImageKind,
    known: &KnownTrees,
) -> Result<Tree, PrepareError> {
    let mut merge = Merge::new(locate);
    for diff_id in diff_ids {
        if let Some(layer) = known.get(diff_id) {
            merge.add(layer);
            continue;
        }
        let split = store.layers().split(diff_id)?;
        let split = split.ok_or_else(|| LayerError::NoSplit(diff_id.clone()))?;
        let layer = LayerTree::read(split, &Limits::default());
        merge.add(&layer.map_err(|source| MergeError::Layer {
            diff_id: diff_id.clone(),
            source,
        })?);
    }
    if kind == ImageKind::Container {
        merge.add_mount_points();
    }
    Ok(merge.finish())
}

/// Tells images apart where one looks at mounts; the key, which the name begins with, is a hash.
fn uuid(name: &str) -> [u8; 16] {
    let mut uuid = [0; 16];
    for (byte, digits) in uuid.iter_mut().zip(name.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or(0);
    }
    uuid
}

/// Says what is wrong with an image that is here; nothing with one of another version, which
/// nobody uses. The same layers give the same bytes.
pub(crate) fn differs(
    store: &Store,
    name: &str,
    suffix: &str,
    diff_ids: &[DiffId],
) -> Result<Option<String>, PrepareError> {
    let kind = match suffix.strip_prefix(&format!("{VERSION}.")) {
        Some("erofs") => ImageKind::Container,
        Some("view.erofs") => ImageKind::View,
        _ => return Ok(None),
    };
    let images = store.dir(Area::Images)?;
    let path = images.path().join(name);
    let file = match check::open_file(images, name) {
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Ok(Some(format!("cannot be read: {}", error.source))),
        Ok(None) => return Ok(Some("it is no file".to_owned())),
        Ok(Some(file)) => file,
    };
    let tree = merge(store, diff_ids, kind, &KnownTrees::new())?;
    let mut compared = Compared::new(&file);
    let written = lamina_erofs::write(&tree, uuid(name), &mut compared);
    let same = written.and_then(|_| Ok(Compared::is_same(compared)?));
    let same = same.map_err(|source| MergeError::Write { path, source })?;
    Ok((!same).then(|| "is not what its layers give".to_owned()))
}

/// Where overlayfs finds an object: its path below the pool, after a slash.
fn locate(object: &ObjectId) -> Vec<u8> {
    format!("/{}", ObjectKey::from(object).path()).into_bytes()
}

/// Writes the image into a file without a name, and gives it the name: it has all or nothing.
///
/// Synced first. An image whose name outlived a power cut and whose bytes did not would be a
/// container that does not start; and one file of megabytes costs a fraction of the layers' sync.
fn publish(store: &Store, name: &str, tree: &Tree) -> Result<(), PrepareError> {
    let images = store.dir(Area::Images)?;
    let path = || images.path().join(name);
    let file = images.unnamed_file(0o400)?;
    let written = lamina_erofs::write(tree, uuid(name), BufWriter::new(&file));
    written.map_err(|source| MergeError::Write {
        path: path(),
        source,
    })?;
    rustix::fs::fdatasync(&file).at("sync", path())?;
    match images.publish(&file, name) {
        Err(error) if error.is_already_exists() => Ok(()),
        other => Ok(other?),
    }
}
