//! Layers, with the contents they miss, and their blobs.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use lamina_store::{Fault, Finding, Line, Subject};
use lamina_types::oci::{Descriptor, Manifest};
use lamina_types::{DiffId, Reference, with_causes};

use super::FsckError;
use super::mend::{Mend, Mended};
use crate::complete::Nowhere;
use crate::documents::MAX_DOCUMENT;
use crate::fault::StoreFault;
use crate::images::Images;
use crate::layer::{BlobSource, BlobUse, LayerForm, Registry, Taker, UnpackError};

/// A blob that a layer can be unpacked from, and the name whose registry may have it.
#[derive(Debug, Clone)]
pub(super) struct LayerSource {
    pub(super) blob: Descriptor,
    name: Option<Reference>,
}

/// A blob that is here now and whether it was fetched, or why there is none.
type Brought = Result<(LayerSource, bool), String>;

impl Images<'_> {
    /// Returns the blobs that a layer can be made of, by the images that have it.
    pub(super) fn sources_of(&self, diff_id: &DiffId) -> Result<Vec<LayerSource>, StoreFault> {
        let mut sources = Vec::new();
        for entry in self.entries()? {
            let name = entry.name.clone();
            let Ok(image) = self.read(entry) else {
                continue;
            };
            let pairs = image.layers.iter().zip(image.diff_ids());
            sources.extend(
                pairs
                    .filter(|(_, id)| *id == diff_id)
                    .map(|(blob, _)| LayerSource {
                        blob: blob.clone(),
                        name: Some(name.clone()),
                    }),
            );
        }
        // A container keeps its image's manifest when the image has lost its last name.
        let pins = self.store.pins().list()?;
        for pin in pins.iter().flat_map(|(_, pin)| pin.each()) {
            let at = pin.diff_ids.iter().position(|id| id == diff_id);
            let (Some(at), Some(digest)) = (at, &pin.manifest) else {
                continue;
            };
            let bytes = self.store.blobs().read(digest, MAX_DOCUMENT).ok();
            let manifest = bytes.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
            let blob = manifest.and_then(|manifest| manifest.layers.into_iter().nth(at));
            sources.extend(blob.map(|blob| LayerSource { blob, name: None }));
        }
        Ok(sources)
    }
}

impl Mend<'_> {
    /// Makes layers whole, whatever was found wrong with them; what nobody can give goes.
    pub(super) fn layers(&mut self) -> Result<(), FsckError> {
        self.drop_damaged_blobs()?;
        let owners = self.images.store.owners()?;
        let mut wanted = BTreeSet::new();
        for (at, finding) in self.findings.iter().enumerate() {
            match (&finding.subject, &self.results[at]) {
                (Subject::Layer(diff_id), None) => drop(wanted.insert(diff_id.clone())),
                (Subject::Content(key), None) => wanted.extend(owners.layers_of(key)),
                _ => {}
            }
        }
        // A content that a tree has is had without a registry, for all its layers.
        let mut wanted: Vec<DiffId> = wanted.into_iter().collect();
        wanted.sort_by_key(|diff_id| !layer_has_tree(&self.images, diff_id));
        let mut reasons = vec![None; self.findings.len()];
        for diff_id in wanted {
            let is_about = |subject: &Subject| match subject {
                Subject::Layer(other) => *other == diff_id,
                Subject::Content(key) => owners.layers_of(key).contains(&diff_id),
                _ => false,
            };
            // A content that another layer has brought is mended for all.
            let open: Vec<usize> = (0..self.findings.len())
                .filter(|at| self.results[*at].is_none() && is_about(&self.findings[*at].subject))
                .collect();
            if open.is_empty() {
                continue;
            }
            let busy = open.iter().find_map(|at| self.busy(&self.findings[*at]));
            let result = match busy {
                Some(busy) => Some(busy),
                None => match self.layer(&diff_id, &open)? {
                    Ok(()) => Some(Mended::Repaired),
                    Err(reason) => {
                        open.iter()
                            .for_each(|at| reasons[*at] = Some(reason.clone()));
                        None
                    }
                },
            };
            open.into_iter()
                .for_each(|at| self.results[at].clone_from(&result));
        }
        self.drop_rest(reasons)
    }

    /// What nobody gives is not kept as if it were good: the next pull or load brings it.
    fn drop_rest(&mut self, reasons: Vec<Option<String>>) -> Result<(), FsckError> {
        for ((finding, result), reason) in self.findings.iter().zip(&mut self.results).zip(reasons)
        {
            let is_ours = matches!(finding.subject, Subject::Content(_) | Subject::Layer(_));
            if !is_ours || result.is_some() {
                continue;
            }
            let reason = reason.unwrap_or_else(|| "no image has it".to_owned());
            *result = Some(match finding.fault {
                Fault::Missing => Mended::Left(reason),
                fault => {
                    self.images.store.drop_damaged(&finding.subject, fault)?;
                    Mended::Dropped(reason)
                }
            });
        }
        Ok(())
    }

    /// Makes one layer whole, or says why that cannot be done.
    fn layer(&mut self, diff_id: &DiffId, open: &[usize]) -> Result<Result<(), String>, FsckError> {
        let findings: Vec<Finding> = open.iter().map(|at| self.findings[*at].clone()).collect();
        let contents = || {
            let all = findings.iter();
            all.filter(|one| matches!(one.subject, Subject::Content(_)))
        };
        let store = self.images.store;
        if contents().count() == findings.len() && layer_has_tree(&self.images, diff_id) {
            for finding in contents() {
                store.drop_damaged(&finding.subject, finding.fault)?;
            }
            if store.refill(self.op, diff_id).unwrap_or(false) {
                return Ok(Ok(()));
            }
        }
        let (source, fetched) = match self.bring_blob(diff_id)? {
            Ok(brought) => brought,
            Err(reason) => return Ok(Err(reason)),
        };
        let form = self.form_of(diff_id);
        store
            .layers()
            .drop_damaged(diff_id)
            .map_err(StoreFault::from)?;
        for finding in contents() {
            store.drop_damaged(&finding.subject, finding.fault)?;
        }
        if let Err(error) = self.take(diff_id, &source, form) {
            return Ok(Err(with_causes(&error)));
        }
        if fetched {
            self.release(diff_id, &source)?;
        }
        Ok(Ok(()))
    }

    /// In which form the layer comes back.
    fn form_of(&self, diff_id: &DiffId) -> LayerForm {
        let layers = self.images.store.layers();
        let here = layers.contains(diff_id).unwrap_or(false);
        match (layers.get(diff_id), layers.has_tree(diff_id)) {
            (Ok(Some(layer)), _) if layer.info.pooled => LayerForm::Pool,
            (Ok(Some(_)), _) | (Err(_), Ok(true)) => LayerForm::Tree,
            (_, Ok(false)) if here => LayerForm::Pool,
            _ => self.images.form,
        }
    }

    /// Sees to it that a blob of the layer is here, verified; says whether it had to be fetched, or
    /// why there is none.
    fn bring_blob(&mut self, diff_id: &DiffId) -> Result<Brought, FsckError> {
        let sources = self.images.sources_of(diff_id)?;
        let blobs = self.images.store.blobs();
        for source in &sources {
            let digest = &source.blob.digest;
            let line = Line::Blob(digest.clone());
            self.op.lease(&[line]).map_err(StoreFault::from)?;
            let Ok(mut file) = blobs.open(digest) else {
                continue;
            };
            if crate::hash::digest_of_file(digest, &mut file).is_ok_and(|found| found == *digest) {
                return Ok(Ok((source.clone(), false)));
            }
        }
        let mut reason = "its blob is not here and no name says who has it".to_owned();
        for source in sources {
            let Some(name) = source.name.clone() else {
                continue;
            };
            match self.download(&name, &source.blob) {
                Ok(()) => return Ok(Ok((source, true))),
                Err(error) => reason = error,
            }
        }
        Ok(Err(reason))
    }

    /// Downloads a blob and verifies it, without unpacking it.
    fn download(&mut self, name: &Reference, blob: &Descriptor) -> Result<(), String> {
        let (store, op, progress) = (self.images.store, self.op, self.mending.progress);
        let client = self.client()?;
        let origin = Registry {
            client,
            reference: name,
        };
        let source = BlobSource {
            blob,
            origin: &origin,
            progress,
            stop: &AtomicBool::new(false),
        };
        let fetch = store
            .blobs()
            .fetch(op, &blob.digest, blob.size, &mut |_| true);
        match fetch.map_err(|error| error.to_string())? {
            lamina_store::Fetch::Here => Ok(()),
            lamina_store::Fetch::Missing(mut partial) => {
                source
                    .complete(&mut partial)
                    .map_err(|error| with_causes(&error))?;
                partial.finish().map_err(|error| error.to_string())
            }
        }
    }

    fn take(
        &self,
        diff_id: &DiffId,
        source: &LayerSource,
        form: LayerForm,
    ) -> Result<(), UnpackError> {
        let taker = Taker {
            store: self.images.store,
            op: self.op,
            bounds: &self.images.bounds,
            blobs: BlobUse::Kept,
            early: None,
            trees: None,
            shared: None,
            form,
        };
        let source = BlobSource {
            blob: &source.blob,
            origin: &Nowhere,
            progress: self.mending.progress,
            stop: &AtomicBool::new(false),
        };
        taker.take(&source, Some(diff_id)).map(drop)
    }

    /// Drops the blob that was fetched, as far as the policy says.
    fn release(&self, diff_id: &DiffId, source: &LayerSource) -> Result<(), FsckError> {
        let came = crate::keep::Came::Pulled;
        let (blob, diff_id) = ([source.blob.clone()], [diff_id.clone()]);
        Ok(self.images.drop_blobs(self.op, came, &blob, &diff_id)?)
    }

    /// A damaged blob must not be what a layer is made of.
    fn drop_damaged_blobs(&mut self) -> Result<(), FsckError> {
        for (at, finding) in self.findings.iter().enumerate() {
            let is_open = self.results[at].is_none() && finding.fault == Fault::Damaged;
            if is_open && matches!(finding.subject, Subject::Blob(_)) {
                self.images
                    .store
                    .drop_damaged(&finding.subject, finding.fault)?;
            }
        }
        Ok(())
    }

    /// Blobs of layers: made again where they are the plain tar, else fetched again, else gone,
    /// which a layer that is unpacked can do without.
    pub(super) fn blobs(&mut self) -> Result<(), FsckError> {
        for at in 0..self.findings.len() {
            let finding = &self.findings[at];
            let (Subject::Blob(digest), None) = (&finding.subject, &self.results[at]) else {
                continue;
            };
            let is_tar = self.images.store.layers().contains(&DiffId(digest.clone()));
            if is_tar.is_ok_and(|is| is)
                && self
                    .images
                    .plain_blob(self.op, &DiffId(digest.clone()))
                    .is_ok()
            {
                self.results[at] = Some(Mended::Repaired);
                continue;
            }
            let mut reason = "no image has it".to_owned();
            for (name, blob) in self.images.descriptors_of(finding)? {
                match self.download(&name, &blob) {
                    Ok(()) => {
                        self.results[at] = Some(Mended::Repaired);
                        break;
                    }
                    Err(error) => reason = error,
                }
            }
            let dropped = finding.fault == Fault::Damaged;
            self.results[at].get_or_insert(match dropped {
                true => Mended::Dropped(reason),
                false => Mended::Left(reason),
            });
        }
        Ok(())
    }
}

impl Images<'_> {
    /// Returns the descriptors of a layer's blob by the names that have it.
    fn descriptors_of(&self, finding: &Finding) -> Result<Vec<(Reference, Descriptor)>, FsckError> {
        let Subject::Blob(digest) = &finding.subject else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in self.store.refs().list().map_err(StoreFault::from)? {
            let bytes = self
                .store
                .blobs()
                .read(&entry.manifest.digest, MAX_DOCUMENT)
                .ok();
            let manifest = bytes.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
            let layers = manifest.map(|manifest| manifest.layers).unwrap_or_default();
            let blob = layers.into_iter().find(|layer| layer.digest == *digest);
            found.extend(blob.map(|blob| (entry.name, blob)));
        }
        Ok(found)
    }
}

fn layer_has_tree(images: &Images<'_>, diff_id: &DiffId) -> bool {
    images.store.layers().has_tree(diff_id).unwrap_or(false)
}
