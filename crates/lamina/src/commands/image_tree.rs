//! `image tree`.

use std::collections::BTreeMap;

use lamina_image::LayerNode;
use lamina_types::quantity::human_size;

use crate::app::App;
use crate::args::TreeArgs;
use crate::cli::Verb;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::hints::{About, with_hints};
use crate::ui;

impl Verb for TreeArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let engine = app.engine()?;
        let images = engine.images();
        let only = self.image.as_deref().map(|name| images.find(name));
        let only = only
            .transpose()
            .map_err(|error| with_hints(Failure::from(error), About::Image))?;
        let tree = images.layer_tree(only.as_ref()).map_err(Failure::from)?;
        if self.format == "json" {
            let text = serde_json::to_string(&tree).unwrap_or_default();
            ui::out(&(text + "\n"))?;
            return Ok(exit_codes::SUCCESS);
        }
        let mut text = String::new();
        self.draw(&tree, "", &mut text);
        let mut sums = Sums::default();
        sums.add(&tree, 0);
        text += &format!(
            "{} layers, {} stored; {} without sharing\n",
            sums.layers.len(),
            human_size(sums.layers.values().sum()),
            human_size(sums.unshared),
        );
        ui::out(&ui::escape_lines(&text))?;
        Ok(exit_codes::SUCCESS)
    }
}

impl TreeArgs {
    /// Draws layers that stand on the same one. A layer that alone stands on another is drawn
    /// below it and not beside it, so that an image of many layers stays narrow.
    fn draw(&self, nodes: &[LayerNode], indent: &str, text: &mut String) {
        for (at, node) in nodes.iter().enumerate() {
            let last = at + 1 == nodes.len();
            let (branch, below) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            *text += &format!("{indent}{branch}{}\n", self.line(node));
            let below = format!("{indent}{below}");
            let mut top = node;
            while let [only] = top.children.as_slice() {
                *text += &format!("{below}{}\n", self.line(only));
                top = only;
            }
            self.draw(&top.children, &below, text);
        }
    }

    fn line(&self, node: &LayerNode) -> String {
        let id = match self.no_trunc {
            true => node.diff_id.to_string(),
            false => node.diff_id.0.short().to_owned(),
        };
        let size = node.size.map_or_else(|| "missing".to_owned(), human_size);
        let mut line = format!("{id}  {size}");
        if node.images > 1 {
            line += &format!("  in {} images", node.images);
        }
        if !node.names.is_empty() {
            line += &format!("  {}", node.names.join(", "));
        }
        line
    }
}

/// What the layers of a tree weigh.
#[derive(Default)]
struct Sums {
    layers: BTreeMap<String, u64>,
    /// As if every image had its own copy.
    unshared: u64,
}

impl Sums {
    fn add(&mut self, nodes: &[LayerNode], below: u64) {
        for node in nodes {
            let size = node.size.unwrap_or(0);
            self.layers.insert(node.diff_id.to_string(), size);
            let stack = below + size;
            if !node.names.is_empty() {
                self.unshared += stack;
            }
            self.add(&node.children, stack);
        }
    }
}
