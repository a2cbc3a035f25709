//! A layer's two forms in the store: a tree, or a split stream whose contents are in the pool.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;

use lamina_layer::{Content, LayerTree, Limits, Split, SplitError};
use lamina_store::{Early, LayerDraft, LayerInfo, Operation, PoolWriter, Store};
use lamina_types::DiffId;

use super::UnpackError;
use super::pipe::{Sink, Tee};
use super::stream::{Bounds, stream, stream_both};

/// Where the files of new layers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerForm {
    /// Into a tree for each layer.
    #[default]
    Tree,
    /// Into the pool, each content once.
    Pool,
}

/// A layer that went through the pipeline.
pub(super) struct Unpacked {
    pub(super) draft: LayerDraft,
    pub(super) info: LayerInfo,
    pub(super) diff_id: DiffId,
    /// What it means, where that was found out on the way.
    pub(super) tree: Option<LayerTree<Content>>,
}

/// What unpacking needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpack<'a> {
    pub(super) store: &'a Store,
    pub(super) op: &'a Operation,
    pub(super) bounds: &'a Bounds,
    pub(super) early: Option<&'a Early>,
    pub(super) shared: Option<&'a Shared<'a>>,
}

/// Contents that are files already, without a name, by their paths in the layer.
pub(crate) type Shared<'a> = HashMap<&'a [u8], &'a File>;

impl Unpack<'_> {
    /// Unpacks what `fetch` sends, in this form, into a draft that is whole but for its name.
    pub(super) fn run(
        &self,
        form: LayerForm,
        fetch: impl FnOnce(&mut Sink) -> Result<(), UnpackError>,
    ) -> Result<Unpacked, UnpackError> {
        match form {
            LayerForm::Tree => self.tree(fetch),
            LayerForm::Pool => self.pool(fetch),
        }
    }

    fn tree(
        &self,
        fetch: impl FnOnce(&mut Sink) -> Result<(), UnpackError>,
    ) -> Result<Unpacked, UnpackError> {
        let limits = Limits::default();
        let draft = self.store.layers().draft(self.op)?;
        let (file, tree, replaced) = (draft.split()?, draft.tree(), draft.replaced()?);
        let (split, applied) = stream_both(
            fetch,
            |tee| split_only(tee, file, &limits),
            |tar| {
                let (tree, replaced) = (tree.as_fd(), replaced.as_fd());
                Ok(lamina_layer::apply_keeping(tar, tree, replaced, &limits)?)
            },
            self.bounds,
            self.store.root().as_fd(),
        )?;
        let split = split?;
        draft.index(&split.index(&applied.blocks))?;
        Ok(Unpacked {
            draft,
            info: LayerInfo {
                size: applied.bytes,
                entries: applied.entries,
                implied: applied.implied,
                opaque_root: applied.opaque_root,
                pooled: false,
            },
            diff_id: split.diff_id,
            tree: None,
        })
    }

    fn pool(
        &self,
        fetch: impl FnOnce(&mut Sink) -> Result<(), UnpackError>,
    ) -> Result<Unpacked, UnpackError> {
        let limits = Limits::default();
        let draft = self.store.layers().draft_pooled(self.op)?;
        let file = draft.split()?;
        let (store, op) = (self.store, self.op);
        let ((split, tree), blocks) = stream(
            fetch,
            |tar| {
                let pool = PoolWriter::new(store, op).writing_early(self.early.cloned());
                let mut pool = pool.sharing(self.shared);
                let split = lamina_layer::split_with_tree(tar, file, &mut pool, &limits);
                match (split, pool.failure()) {
                    (_, Some(failure)) => Err(failure.into()),
                    (Err(error), None) => Err(error.into()),
                    (Ok(split), None) => Ok((split, pool.finish()?)),
                }
            },
            self.bounds,
            store.root().as_fd(),
        )?;
        draft.index(&split.index(&blocks))?;
        // What is not unpacked is checked here: by the unpacker's rules, with its errors.
        let layer = tree?;
        Ok(Unpacked {
            draft,
            info: LayerInfo {
                size: split.bytes,
                entries: split.entries,
                implied: layer.implied(),
                opaque_root: layer.opaque_root(),
                pooled: true,
            },
            diff_id: split.diff_id,
            tree: Some(layer),
        })
    }
}

/// Splits a tar that the next stage unpacks: what is wrong with the tar is better told there.
fn split_only(
    tee: &mut Tee,
    file: File,
    limits: &Limits,
) -> Result<Result<Split, UnpackError>, UnpackError> {
    match lamina_layer::split(tee, file, &mut (), limits) {
        Ok(split) => Ok(Ok(split)),
        Err(error @ SplitError::Tar(_)) => Ok(Err(error.into())),
        Err(error) => Err(error.into()),
    }
}
