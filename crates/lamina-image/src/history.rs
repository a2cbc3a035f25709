//! `history`: how an image was made, step by step, and what each step weighs.

use lamina_types::{DiffId, ImageId};

use crate::find::FindError;
use crate::images::{Image, Images};

/// One step, as the image's configuration tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The image, for the last step; of the others only layers are here.
    pub image: Option<ImageId>,
    /// When, RFC 3339.
    pub created: Option<String>,
    /// The instruction.
    pub created_by: String,
    /// A comment.
    pub comment: String,
    /// The layer it made, if it made one.
    pub layer: Option<DiffId>,
    /// Bytes of file content in that layer.
    pub size: u64,
}

impl Images<'_> {
    /// Returns the steps of an image, the last one first. Layers that no step tells of, as images
    /// without a history have them, are steps of their own.
    pub fn history(&self, image: &Image) -> Result<Vec<Step>, FindError> {
        let mut layers = self.layers(image)?.into_iter();
        let mut steps = Vec::new();
        for entry in &image.config.history {
            let layer = if entry.empty_layer {
                None
            } else {
                layers.next()
            };
            steps.push(Step {
                image: None,
                created: entry.created.clone(),
                created_by: entry.created_by.clone().unwrap_or_default(),
                comment: entry.comment.clone().unwrap_or_default(),
                size: layer.as_ref().map_or(0, |layer| layer.size),
                layer: layer.map(|layer| layer.diff_id),
            });
        }
        steps.extend(layers.map(|layer| Step {
            image: None,
            created: image.config.created.clone(),
            created_by: String::new(),
            comment: String::new(),
            size: layer.size,
            layer: Some(layer.diff_id),
        }));
        steps.reverse();
        if let Some(last) = steps.first_mut() {
            last.image = Some(image.id.clone());
        }
        Ok(steps)
    }
}
