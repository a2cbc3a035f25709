//! Taking one layer into the store: whatever of it is here already costs no work.

use std::sync::atomic::Ordering;

use lamina_store::{Early, Fetch, LayerLock, Line, Operation, Partial, Store};
use lamina_types::DiffId;

use super::UnpackError;
use super::download::BlobSource;
use super::form::{self, LayerForm, Shared, Unpack};
use super::pipe::Sink;
use super::stream::Bounds;
use super::trees::Trees;
use crate::fault::StoreFault;
use crate::progress::Phase;

/// What was done for a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was here.
    Existed,
    /// It was unpacked, and has this diff id.
    Unpacked(DiffId),
}

/// What becomes of a layer's blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlobUse {
    /// It is wanted, even where the layer is unpacked already.
    Wanted,
    /// It stays if it comes.
    Kept,
    /// It is wanted until its layer is published: kept as it comes, so that a pull that breaks off
    /// goes on where it was, and dropped before it costs the disk anything.
    Passing,
}

/// Takes layers into a store for one operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taker<'a> {
    pub(crate) store: &'a Store,
    pub(crate) op: &'a Operation,
    pub(crate) bounds: &'a Bounds,
    pub(crate) blobs: BlobUse,
    /// Where the files of new layers go.
    pub(crate) form: LayerForm,
    /// Where new contents are handed on to be written early.
    pub(crate) early: Option<&'a Early>,
    /// Where the trees of new layers are left for whoever merges them.
    pub(crate) trees: Option<&'a Trees>,
    /// Contents that are files already.
    pub(crate) shared: Option<&'a Shared<'a>>,
}

impl Taker<'_> {
    /// Takes one layer: the blob into `oci/`, the tree into `layers/`, both verified.
    ///
    /// `diff_id` is what the configuration says; without one, what comes out is believed. Of
    /// several processes and threads one does the work and the others wait for it.
    pub(crate) fn take(
        &self,
        source: &BlobSource<'_>,
        diff_id: Option<&DiffId>,
    ) -> Result<Taken, UnpackError> {
        let digest = &source.blob.digest;
        if let Some(diff_id) = diff_id {
            self.op.lease(&[Line::Layer(diff_id.clone())])?;
            if self.blobs != BlobUse::Wanted && self.is_here(diff_id)? {
                if self.blobs == BlobUse::Passing {
                    self.store.blobs().discard_left(digest)?;
                }
                source.progress.layer(digest, Phase::Exists);
                return Ok(Taken::Existed);
            }
        }
        source.progress.layer(digest, Phase::Waiting);
        let taken = match self.fetch(source)? {
            Fetch::Missing(partial) => self.download(source, partial, diff_id)?,
            Fetch::Here => match self.unpack_blob(source, diff_id) {
                Err(error) if error.may_be_corruption() && self.drop_if_damaged(source)? => {
                    match self.fetch(source)? {
                        Fetch::Missing(partial) => self.download(source, partial, diff_id)?,
                        Fetch::Here => return Err(error),
                    }
                }
                other => other?,
            },
        };
        let phase = match taken {
            Taken::Existed => Phase::Exists,
            Taken::Unpacked(_) => Phase::Complete,
        };
        source.progress.layer(digest, phase);
        Ok(taken)
    }

    /// Returns whether the layer is here and whole. One that lacks contents of its own gets them
    /// from its tree, or goes: then it is unpacked again.
    fn is_here(&self, diff_id: &DiffId) -> Result<bool, UnpackError> {
        let layers = self.store.layers();
        if !layers.contains(diff_id)? || layers.is_whole(diff_id)? {
            return Ok(layers.contains(diff_id)?);
        }
        if layers.has_tree(diff_id)? {
            // A container may be standing on the tree: it stays, however this ends.
            let _ = self.store.refill(self.op, diff_id);
            return Ok(true);
        }
        let _lock = layers.lock(diff_id, &mut |_| true)?;
        if !layers.is_whole(diff_id)? {
            layers.drop_damaged(diff_id)?;
        }
        Ok(layers.contains(diff_id)?)
    }

    /// Takes a layer that is at hand and whose blob nobody wants: that is not stored for a moment.
    pub(crate) fn take_alone(
        &self,
        source: &BlobSource<'_>,
        diff_id: &DiffId,
    ) -> Result<Taken, UnpackError> {
        self.op.lease(&[Line::Layer(diff_id.clone())])?;
        if self.is_here(diff_id)? {
            return Ok(Taken::Existed);
        }
        let unpacked = self.unpack(source, Some(diff_id), |sink| {
            let Some(sink) = sink else { return Ok(()) };
            let mut reader = source.origin.open(source.blob, 0)?;
            source.unpack_from(&mut reader, sink)
        })?;
        self.publish(unpacked, Some(diff_id))
    }

    fn fetch(&self, source: &BlobSource<'_>) -> Result<Fetch, UnpackError> {
        let blob = source.blob;
        let mut wait = |_: &_| !source.stop.load(Ordering::Relaxed);
        let blobs = self.store.blobs();
        Ok(blobs.fetch(self.op, &blob.digest, blob.size, &mut wait)?)
    }

    /// Downloads and unpacks at once.
    fn download(
        &self,
        source: &BlobSource<'_>,
        mut partial: Box<Partial>,
        diff_id: Option<&DiffId>,
    ) -> Result<Taken, UnpackError> {
        let unpacked = self.unpack(source, diff_id, |sink| match sink {
            Some(sink) => source.download(&mut partial, sink),
            // The tree is here, only its blob is wanted.
            None if self.blobs == BlobUse::Wanted => source.complete(&mut partial),
            None => Ok(()),
        });
        match unpacked {
            Ok(Taking::Existed) if self.blobs == BlobUse::Kept => Ok(Taken::Existed),
            Ok(unpacked) if self.blobs == BlobUse::Passing => {
                if let Taking::Draft { .. } = unpacked {
                    partial.verify()?;
                }
                let taken = self.publish(unpacked, diff_id)?;
                partial.discard()?;
                Ok(taken)
            }
            Ok(unpacked) => {
                partial.finish()?;
                self.publish(unpacked, diff_id)
            }
            Err(error) if error.may_be_corruption() => {
                // Perhaps what was downloaded is not what was asked for: that would be the true
                // error, and what has arrived must not be the start of the next attempt.
                source.complete(&mut partial)?;
                partial.finish()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Unpacks a blob that is here.
    fn unpack_blob(
        &self,
        source: &BlobSource<'_>,
        diff_id: Option<&DiffId>,
    ) -> Result<Taken, UnpackError> {
        let unpacked = self.unpack(source, diff_id, |sink| {
            let Some(sink) = sink else { return Ok(()) };
            let mut file = self.store.blobs().open(&source.blob.digest)?;
            source.unpack_from(&mut file, sink)
        })?;
        self.publish(unpacked, diff_id)
    }

    /// Unpacks what `fetch` sends, unless the layer has come meanwhile: then `fetch` is called
    /// without a sink.
    fn unpack(
        &self,
        source: &BlobSource<'_>,
        diff_id: Option<&DiffId>,
        fetch: impl FnOnce(Option<&mut Sink>) -> Result<(), UnpackError>,
    ) -> Result<Taking, UnpackError> {
        let layers = self.store.layers();
        let mut lock = None;
        if let Some(diff_id) = diff_id {
            let mut wait = |_: &_| !source.stop.load(Ordering::Relaxed);
            lock = Some(layers.lock(diff_id, &mut wait)?);
            if layers.contains(diff_id)? {
                fetch(None)?;
                return Ok(Taking::Existed);
            }
        }
        let unpack = Unpack {
            store: self.store,
            op: self.op,
            bounds: self.bounds,
            early: self.early,
            shared: self.shared,
        };
        let unpacked = unpack.run(self.form, |sink| fetch(Some(sink)))?;
        Ok(Taking::Draft {
            unpacked: Box::new(unpacked),
            lock,
        })
    }

    /// Publishes a layer whose blob is known to be good, if it is the right one.
    fn publish(&self, taking: Taking, expected: Option<&DiffId>) -> Result<Taken, UnpackError> {
        let Taking::Draft { unpacked, lock } = taking else {
            return Ok(Taken::Existed);
        };
        let form::Unpacked {
            draft,
            info,
            diff_id,
            tree,
        } = *unpacked;
        if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
            return Err(UnpackError::WrongDiffId {
                expected: expected.clone(),
                found: diff_id,
            });
        }
        draft.publish(self.op, &diff_id, &info)?;
        // With the layer's lock nobody else can have published it meanwhile, made otherwise.
        if let (Some(trees), Some(tree), Some(_)) = (self.trees, tree, &lock) {
            trees.leave(&diff_id, tree, info.entries);
        }
        Ok(Taken::Unpacked(diff_id))
    }

    /// Hashes a blob that did not unpack; moves it away if it is not what its name says.
    fn drop_if_damaged(&self, source: &BlobSource<'_>) -> Result<bool, UnpackError> {
        let digest = &source.blob.digest;
        let blobs = self.store.blobs();
        let mut file = blobs.open(digest)?;
        let found = crate::hash::digest_of_file(digest, &mut file).map_err(UnpackError::Read)?;
        if found == *digest {
            return Ok(false);
        }
        blobs.drop_damaged(digest).map_err(StoreFault::from)?;
        Ok(true)
    }
}

/// A layer on its way.
enum Taking {
    /// It was here.
    Existed,
    /// It is a draft.
    Draft {
        unpacked: Box<form::Unpacked>,
        /// Held until it is published.
        lock: Option<LayerLock>,
    },
}
