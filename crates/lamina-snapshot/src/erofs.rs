//! Mode `erofs`: one merged image of metadata per image, contents in the pool.
//!
//! ```text
//! upper                snap/<id>/upper            what the container writes
//! ─────
//! image                images/<key>.<v>.erofs     every name, directory, link and small file of
//!                                                 all layers, and the mount points
//! data                 pool/                      the contents of the other files
//! ```
//! A look-up costs the same however many layers an image has, files are shared by all images down
//! to the page cache, and nothing is unpacked. The image is made when its layers come into the
//! store, or at its first use, from the layers' split streams alone.

mod attributes;
mod image;
mod merge;

use lamina_store::Store;
use lamina_types::{DiffId, Source};

use crate::lower::{Lower, RootOf};
use crate::snapshotter::{ImageKind, KnownTrees, PrepareError};

pub use image::MergeError;
pub(crate) use image::differs;

/// Returns the lower, making the image if it is missing.
pub(crate) fn lower(
    store: &Store,
    diff_ids: &[DiffId],
    kind: ImageKind,
) -> Result<Lower, PrepareError> {
    expect_layers(store, diff_ids)?;
    let (file, root) = image::ensure(store, diff_ids, kind, &KnownTrees::new())?;
    Ok(Lower {
        sources: vec![Source::Erofs { file }],
        data: Some(store.pool().path()),
        root: RootOf::Image(Box::new(root)),
    })
}

/// Makes the image for containers if it is missing.
pub(crate) fn make(
    store: &Store,
    diff_ids: &[DiffId],
    known: &KnownTrees,
) -> Result<(), PrepareError> {
    expect_layers(store, diff_ids)?;
    image::ensure(store, diff_ids, ImageKind::Container, known).map(drop)
}

fn expect_layers(store: &Store, diff_ids: &[DiffId]) -> Result<(), PrepareError> {
    for diff_id in diff_ids {
        if !store.layers().contains(diff_id)? {
            return Err(PrepareError::MissingLayer(diff_id.clone()));
        }
    }
    Ok(())
}
