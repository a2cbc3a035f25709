//! `image tree`: which images stand on the same layers.

use std::collections::BTreeMap;

use lamina_types::DiffId;
use serde::Serialize;

use crate::fault::StoreFault;
use crate::find::NAMELESS;
use crate::images::{Image, Images};

/// A layer, with what stands on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerNode {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes of file content in it; `None` where it is not unpacked.
    pub size: Option<u64>,
    /// How many images have it, here or elsewhere in their stack. It is stored once all the same.
    pub images: usize,
    /// The names of the images whose topmost layer this is; one without a name is its short id.
    pub names: Vec<String>,
    /// The layers that stand on it, those that most images have first.
    pub children: Vec<LayerNode>,
}

/// A node that is being built.
#[derive(Debug, Default)]
struct Draft {
    names: Vec<String>,
    children: BTreeMap<DiffId, Draft>,
}

impl Draft {
    /// Says whether a layer above this one is wanted.
    fn has(&self, wanted: &impl Fn(&DiffId) -> bool) -> bool {
        let mut children = self.children.iter();
        children.any(|(diff_id, draft)| wanted(diff_id) || draft.has(wanted))
    }
}

impl Images<'_> {
    /// Returns the layers of all images as trees, bottom layers first; with `only`, the trees that
    /// the layers of that image are in. An image that cannot be read is left out.
    pub fn layer_tree(&self, only: Option<&Image>) -> Result<Vec<LayerNode>, StoreFault> {
        let mut roots = Draft::default();
        let mut counts: BTreeMap<DiffId, usize> = BTreeMap::new();
        let mut seen: BTreeMap<_, Vec<DiffId>> = BTreeMap::new();
        for entry in self.entries()? {
            let named = entry.name.repository() != NAMELESS;
            let name = match named {
                true => entry.name.familiar(),
                false => entry.image.0.short().to_owned(),
            };
            let Ok(image) = self.read(entry) else {
                continue;
            };
            let stack = image.diff_ids().to_vec();
            let mut node = &mut roots;
            for diff_id in &stack {
                node = node.children.entry(diff_id.clone()).or_default();
            }
            node.names.push(name);
            seen.insert(image.id, stack);
        }
        for stack in seen.into_values() {
            let mut stack = stack;
            stack.sort();
            stack.dedup();
            for diff_id in stack {
                *counts.entry(diff_id).or_default() += 1;
            }
        }
        if let Some(image) = only {
            let wanted = |diff_id: &DiffId| image.diff_ids().contains(diff_id);
            roots
                .children
                .retain(|diff_id, draft| wanted(diff_id) || draft.has(&wanted));
        }
        self.finish(roots.children, &counts)
    }

    fn finish(
        &self,
        drafts: BTreeMap<DiffId, Draft>,
        counts: &BTreeMap<DiffId, usize>,
    ) -> Result<Vec<LayerNode>, StoreFault> {
        let mut nodes = Vec::new();
        for (diff_id, draft) in drafts {
            let layer = self.store.layers().get(&diff_id)?;
            nodes.push(LayerNode {
                size: layer.map(|layer| layer.info.size),
                images: counts.get(&diff_id).copied().unwrap_or(0),
                names: draft.names,
                children: self.finish(draft.children, counts)?,
                diff_id,
            });
        }
        nodes.sort_by(|a, b| {
            b.images
                .cmp(&a.images)
                .then_with(|| a.diff_id.cmp(&b.diff_id))
        });
        Ok(nodes)
    }
}
