//! Stores with layers in either form.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use lamina_layer::{LayerTree, Limits, apply, split};
use lamina_snapshot::conformance::{Failure, Subject};
use lamina_snapshot::{ProbeError, StorageMode, open};
use lamina_store::{LayerInfo, PoolWriter, Store};
use lamina_types::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

/// Says why a test cannot run here.
pub(crate) fn skip(reason: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}

/// Unpacks a layer, with its split stream.
pub(crate) fn ingest(store: &Store, tar: &[u8]) -> Result<DiffId, Failure> {
    let diff_id = DiffId(Digest::from_sha256(Sha256::digest(tar).into()));
    let op = store.ops().begin("ingest", &[])?;
    if store.layers().find(&op, &diff_id)?.is_none() {
        let draft = store.layers().draft(&op)?;
        let applied = apply(tar, draft.tree().as_fd(), &Limits::default())?;
        let split = split(tar, draft.split()?, &mut (), &Limits::default())?;
        draft.index(&split.index(&[]))?;
        let info = LayerInfo {
            size: applied.bytes,
            entries: applied.entries,
            implied: applied.implied,
            opaque_root: applied.opaque_root,
            pooled: false,
        };
        draft.publish(&op, &diff_id, &info)?;
    }
    op.finish()?;
    Ok(diff_id)
}

/// Puts a layer's contents into the pool.
pub(crate) fn ingest_pooled(store: &Store, tar: &[u8]) -> Result<DiffId, Failure> {
    let diff_id = DiffId(Digest::from_sha256(Sha256::digest(tar).into()));
    let op = store.ops().begin("ingest", &[])?;
    if store.layers().find(&op, &diff_id)?.is_none() {
        let draft = store.layers().draft_pooled(&op)?;
        let mut writer = PoolWriter::new(store, &op);
        let split = split(tar, draft.split()?, &mut writer, &Limits::default())?;
        let blocks = writer.finish()?;
        draft.index(&split.index(&blocks))?;
        let layer = LayerTree::read(draft.open_split()?, &Limits::default())?;
        let info = LayerInfo {
            size: split.bytes,
            entries: split.entries,
            implied: layer.implied(),
            opaque_root: layer.opaque_root(),
            pooled: true,
        };
        draft.publish(&op, &diff_id, &info)?;
    }
    op.finish()?;
    Ok(diff_id)
}

/// Returns a mode on a new store; `None` where it does not work.
pub(crate) fn subject(root: &Path, mode: StorageMode) -> Option<Subject> {
    let store = Store::open(root).unwrap();
    match open(&store, mode) {
        Ok(snapshotter) => Some(Subject {
            store,
            snapshotter,
            ingest,
            max_layers: 499,
        }),
        Err(
            error @ (ProbeError::Refused(_)
            | ProbeError::OnOverlay(_)
            | ProbeError::Unusable { .. }),
        ) => {
            skip(&error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}
