//! `images`: what is here.

use lamina_store::Ref;
use lamina_types::{Digest, ImageId};

use crate::fault::StoreFault;
use crate::find::NAMELESS;
use crate::images::{Image, Images};

/// One line of `images`: a name and the image it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The repository as people type it; `None` for an image without a name.
    pub repository: Option<String>,
    /// The tag; `None` for an image that is kept by its digest.
    pub tag: Option<String>,
    /// The digest the name stands for in its registry.
    pub digest: Digest,
    /// The image.
    pub id: ImageId,
    /// When the image was made, RFC 3339, as its configuration says.
    pub created: Option<String>,
    /// Bytes of file content in all its layers.
    pub size: u64,
    /// How many of its layers are not unpacked here: a damaged image, which a pull repairs.
    pub missing_layers: usize,
    /// The image's labels, for filters.
    pub labels: std::collections::BTreeMap<String, String>,
}

impl Images<'_> {
    /// Lists every name, newest image first. An image whose documents are damaged is listed with
    /// what its name tells, so that it can be seen and removed.
    pub fn list(&self) -> Result<Vec<Summary>, StoreFault> {
        let mut list = Vec::new();
        for entry in self.entries()? {
            list.push(self.summary(entry)?);
        }
        list.sort_by(|a: &Summary, b: &Summary| {
            let key = |s: &Summary| (s.created.clone(), s.repository.clone(), s.tag.clone());
            key(b)
                .0
                .cmp(&key(a).0)
                .then_with(|| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag)))
        });
        Ok(list)
    }

    fn summary(&self, entry: Ref) -> Result<Summary, StoreFault> {
        let named = entry.name.repository() != NAMELESS;
        let mut summary = Summary {
            repository: named.then(|| entry.name.familiar_repository()),
            tag: entry.name.tag().map(str::to_owned),
            digest: entry.target.digest.clone(),
            id: entry.image.clone(),
            created: None,
            size: 0,
            missing_layers: 0,
            labels: Default::default(),
        };
        let image = match self.read(entry) {
            Ok(image) => image,
            Err(_) => {
                summary.missing_layers = usize::MAX;
                return Ok(summary);
            }
        };
        (summary.size, summary.missing_layers) = self.size(&image)?;
        summary.created = image.config.created;
        summary.labels = image.config.config.labels;
        Ok(summary)
    }

    /// Returns the bytes of file content in the image's layers, and how many layers are missing.
    pub(crate) fn size(&self, image: &Image) -> Result<(u64, usize), StoreFault> {
        let (mut size, mut missing) = (0, 0);
        for diff_id in image.diff_ids() {
            match self.store.layers().get(diff_id) {
                Ok(Some(layer)) => size += layer.info.size,
                // Damage must not keep the image from being listed and removed.
                Ok(None) | Err(_) => missing += 1,
            }
        }
        Ok((size, missing))
    }
}
