//! Which images, and by which names.

use std::collections::BTreeMap;

use lamina_types::{ImageId, Platform, Reference};

use super::SaveError;
use crate::documents::check_platform;
use crate::fault::StoreFault;
use crate::find::NAMELESS;
use crate::images::{Image, Images};

/// An image and the names under which it was asked for.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) image: Image,
    /// Sorted; none for an image that was named by its id.
    pub(super) names: Vec<Reference>,
}

impl Images<'_> {
    /// Returns the images, each once, by their ids. `lease` is called before one is read the time
    /// that counts.
    pub(super) fn choose(
        &self,
        texts: &[String],
        platform: Option<&Platform>,
        lease: impl Fn(&Image) -> Result<(), StoreFault>,
    ) -> Result<Vec<Chosen>, SaveError> {
        let mut all: BTreeMap<ImageId, Chosen> = BTreeMap::new();
        for text in texts {
            for (name, tagged) in self.meant(text)? {
                lease(&self.find(&name)?)?;
                let image = self.find(&name)?;
                if let Some(wanted) = platform {
                    check_platform(&image.config, wanted).map_err(|_| SaveError::Platform {
                        image: text.clone(),
                        found: Box::new(image.platform()),
                        wanted: Box::new(wanted.clone()),
                    })?;
                }
                let chosen = all.entry(image.id.clone()).or_insert(Chosen {
                    image,
                    names: Vec::new(),
                });
                chosen.names.extend(tagged);
            }
        }
        let mut chosen: Vec<Chosen> = all.into_values().collect();
        for one in &mut chosen {
            one.names.sort_by_key(Reference::to_string);
            one.names.dedup();
        }
        Ok(chosen)
    }

    /// Returns what a text means: texts that find one image each, and the name it gives.
    fn meant(&self, text: &str) -> Result<Vec<(String, Option<Reference>)>, SaveError> {
        let last = text.rsplit('/').next().unwrap_or(text);
        if !last.contains([':', '@'])
            && let Ok(name) = text.parse::<Reference>()
        {
            let tags = self.tags(&name)?;
            if !tags.is_empty() {
                let found = tags.into_iter().map(|name| (name.to_string(), Some(name)));
                return Ok(found.collect());
            }
        }
        let image = self.find(text)?;
        let by_name = text
            .parse::<Reference>()
            .is_ok_and(|name| name.tag().is_some() && name == image.name);
        let name = by_name.then(|| image.name.clone());
        let name = name.filter(|name| !name.to_string().starts_with(NAMELESS));
        Ok(vec![(text.to_owned(), name)])
    }
}
