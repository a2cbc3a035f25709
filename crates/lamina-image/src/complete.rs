//! Unpacking an image whose blobs are all here: one that was pushed into this store, or whose
//! layers were found damaged and dropped.

use std::io::{self, Read};

use lamina_store::{Line, Operation};
use lamina_types::oci::Descriptor;

use crate::images::{Image, Images};
use crate::layer::{BlobUse, Job, Origin, Taker, UnpackError, take_all, writing_early};
use crate::progress::Progress;

/// Nowhere: everything is here.
pub(crate) struct Nowhere;

impl Origin for Nowhere {
    fn open(&self, _blob: &Descriptor, _offset: u64) -> Result<Box<dyn Read + '_>, UnpackError> {
        Err(UnpackError::Read(io::ErrorKind::NotFound.into()))
    }

    fn is_remote(&self) -> bool {
        false
    }
}

impl Images<'_> {
    /// Unpacks what is not unpacked of an image, without a registry. Says false where that cannot
    /// be done: a pull then brings what is missing, or tells what is wrong.
    pub(crate) fn complete(&self, image: &Image, progress: &dyn Progress) -> bool {
        let blobs = self.store.blobs();
        let is_here = |layer: &Descriptor| blobs.contains(&layer.digest).unwrap_or(false);
        if !image.layers.iter().all(is_here) {
            return false;
        }
        let lines = [Line::Image(image.manifest.digest.clone())];
        let Ok(op) = self.store.ops().begin("unpack", &lines) else {
            return false;
        };
        self.unpack(&op, image, progress) && op.finish().is_ok()
    }

    fn unpack(&self, op: &Operation, image: &Image, progress: &dyn Progress) -> bool {
        let pairs = image.layers.iter().zip(image.diff_ids());
        let jobs = pairs.map(|(blob, diff_id)| Job {
            blob: blob.clone(),
            diff_id: diff_id.clone(),
            origin: Box::new(Nowhere),
        });
        let taken = writing_early(self.store, self.form, |early| {
            let taker = Taker {
                store: self.store,
                op,
                bounds: &self.bounds,
                form: self.form,
                blobs: BlobUse::Kept,
                early: Some(early),
                trees: None,
                shared: None,
            };
            take_all(taker, jobs.collect(), progress)
        });
        taken.is_ok() && self.store.sync().is_ok()
    }
}
