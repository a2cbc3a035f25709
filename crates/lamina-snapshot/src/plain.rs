//! Mode `plain`: one plain tree per layer, native overlayfs.
//!
//! ```text
//! upper                snap/<id>/upper            what the container writes
//! ─────
//! top                  images/<key>.top           mount points; metadata of implied directories
//! layer n … layer 1    layers/<diff id>/plain
//! ```

mod stack;
mod top;

pub(crate) use top::differs;

use lamina_fs::{Durability, PathError};
use lamina_store::{Store, image_key};
use lamina_types::{DiffId, Source};

use crate::lower::{Lower, RootOf};
use crate::snapshotter::{ImageKind, PrepareError};

/// The kernel's OVL_MAX_STACK is 500, and one is ours.
const MAX_LAYERS: usize = 499;

/// Returns the lowers, making the generated one if it is missing; a layer that is only in the
/// pool is unpacked.
pub(crate) fn lower(
    store: &Store,
    diff_ids: &[DiffId],
    kind: ImageKind,
) -> Result<Lower, PrepareError> {
    if diff_ids.len() > MAX_LAYERS {
        return Err(PrepareError::TooManyLayers {
            found: diff_ids.len(),
            limit: MAX_LAYERS,
        });
    }
    let mut unpacked = Vec::new();
    for diff_id in diff_ids {
        if !store.layers().contains(diff_id)? {
            return Err(PrepareError::MissingLayer(diff_id.clone()));
        }
        unpacked.push(store.layers().has_tree(diff_id)?);
    }
    if unpacked.contains(&false) {
        let op = store.ops().begin("unpack", &[])?;
        for diff_id in diff_ids {
            store.layers().unpack(&op, diff_id)?;
        }
        op.finish()?;
    }
    let key = image_key(diff_ids);
    let top = top::ensure(store, &key, diff_ids, kind)?;
    let mut sources = vec![Source::Dir(top.dir.clone())];
    let visible = &diff_ids[top.hidden.min(diff_ids.len())..];
    let layers = visible.iter().rev();
    sources.extend(layers.map(|id| Source::Dir(store.layers().tree(id))));
    Ok(Lower {
        sources,
        data: None,
        root: RootOf::Tree(top.dir),
    })
}

/// Publishes a generated folder under the name that its image key gives it.
fn publish(store: &Store, draft: lamina_store::Draft, name: &str) -> Result<(), PathError> {
    draft
        .publish(store.dir(lamina_store::Area::Images)?, name)
        .map(drop)
}

/// How files are written that can be generated again.
const GENERATED: Durability = Durability::Volatile;
