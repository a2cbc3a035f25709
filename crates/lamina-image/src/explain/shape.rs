//! Layers one on the other: what each brings, what it hides, and what is seen in the end.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use lamina_layer::{Content, LayerKind, LayerTree, NodeId, ObjectId, Shown};

use super::{Amount, Explanation, StepCost, Waste, WasteClass, left};

/// Smaller files are alike for good reasons, and take a block whatever is done.
const SMALLEST_DUPLICATE: u64 = 4096;

/// A file of a layer, whatever names it has.
type FileId = (usize, NodeId);

#[derive(Debug)]
struct File {
    size: u64,
    content: ObjectId,
    /// The first of its names.
    path: Vec<u8>,
    /// How many of its names are still to be seen.
    names: u64,
}

/// What is at a path.
#[derive(Debug, Clone, Copy)]
enum Seen {
    File(FileId),
    Directory,
    Other,
}

/// Why a file is not seen any more.
#[derive(Debug)]
struct Hidden {
    file: FileId,
    by: usize,
    class: WasteClass,
}

/// The tree so far.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) steps: Vec<StepCost>,
    seen: BTreeMap<Vec<u8>, Seen>,
    files: HashMap<FileId, File>,
    hidden: Vec<Hidden>,
}

impl Shape {
    pub(super) fn new(steps: Vec<StepCost>) -> Self {
        Self {
            steps,
            seen: BTreeMap::new(),
            files: HashMap::new(),
            hidden: Vec::new(),
        }
    }

    /// Puts the layer of a step on top.
    pub(super) fn add(&mut self, step: usize, layer: &LayerTree<Content>) {
        if layer.opaque_root() {
            self.hide_below(b"", step);
        }
        // What hides goes first: a directory's own entries are not hidden by it.
        let mut todo = vec![(Vec::new(), layer.root())];
        while let Some((path, id)) = todo.pop() {
            let LayerKind::Directory(names) = &layer.node(id).kind else {
                continue;
            };
            for (name, child) in names {
                let path = match path.is_empty() {
                    true => name.to_vec(),
                    false => [&path[..], b"/", name].concat(),
                };
                self.put(step, layer, &path, *child);
                todo.push((path, *child));
            }
        }
    }

    fn put(&mut self, step: usize, layer: &LayerTree<Content>, path: &[u8], id: NodeId) {
        let node = layer.node(id);
        let seen = match &node.kind {
            LayerKind::Directory(_) => {
                match self.seen.get(path) {
                    Some(Seen::Directory) if node.opaque => self.hide_below(path, step),
                    Some(Seen::Directory) | None => {}
                    Some(_) => self.hide(path, step, WasteClass::Overwritten),
                }
                Seen::Directory
            }
            LayerKind::Whiteout => {
                self.hide_below(path, step);
                self.hide(path, step, WasteClass::Deleted);
                return;
            }
            LayerKind::File { size, content } => {
                let file = (step, id);
                let content = match content {
                    Content::Object(object) => object.id,
                    Content::Inline(bytes) => ObjectId::of(bytes),
                };
                self.count(path, file, *size, content);
                Seen::File(file)
            }
            _ => {
                self.hide_below(path, step);
                self.hide(path, step, WasteClass::Overwritten);
                Seen::Other
            }
        };
        self.seen.insert(path.to_vec(), seen);
    }

    /// Counts a file, and hides what was there.
    fn count(&mut self, path: &[u8], id: FileId, size: u64, content: ObjectId) {
        let step = id.0;
        let below = match self.seen.get(path) {
            Some(Seen::File(below)) => Some(*below),
            _ => None,
        };
        let same = below.map(|below| self.files[&below].content == content);
        let first = !self.files.contains_key(&id);
        let file = self.files.entry(id).or_insert_with(|| File {
            size,
            content,
            path: path.to_vec(),
            names: 0,
        });
        file.names += 1;
        if first {
            let cost = &mut self.steps[step];
            match same {
                None => cost.added.add(size),
                Some(false) => cost.changed.add(size),
                Some(true) => cost.same.add(size),
            }
        }
        self.hide_below(path, step);
        let class = match same {
            Some(true) => WasteClass::MetadataOnly,
            _ => WasteClass::Overwritten,
        };
        self.hide(path, step, class);
    }

    /// Everything below a path is gone.
    fn hide_below(&mut self, path: &[u8], step: usize) {
        let start = match path.is_empty() {
            true => Vec::new(),
            false => [path, b"/"].concat(),
        };
        let range = (Bound::Included(start.clone()), Bound::Unbounded);
        let below = self
            .seen
            .range(range)
            .take_while(|(path, _)| path.starts_with(&start));
        // What the step itself has brought is not hidden by its own directory.
        let gone: Vec<Vec<u8>> = below
            .filter(|(_, seen)| !matches!(seen, Seen::File((own, _)) if *own == step))
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.hide(&path, step, WasteClass::Deleted);
        }
    }

    fn hide(&mut self, path: &[u8], by: usize, class: WasteClass) {
        let Some(Seen::File(id)) = self.seen.remove(path) else {
            return;
        };
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        file.names -= 1;
        if file.names > 0 {
            return;
        }
        if class == WasteClass::Deleted {
            self.steps[by].deleted.add(file.size);
        }
        self.steps[id.0].wasted += file.size;
        self.hidden.push(Hidden {
            file: id,
            by,
            class,
        });
    }

    /// Sums everything up.
    pub(super) fn explain(self, largest: usize) -> Explanation {
        let total = self.files.values().map(|file| file.size).sum();
        let hidden = self
            .hidden
            .iter()
            .map(|one| self.files[&one.file].size)
            .sum();
        let mut findings = self.hidden_findings(largest);
        findings.extend(self.left_findings(largest));
        findings.extend(self.duplicates(largest));
        findings.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.class.cmp(&b.class)));
        Explanation {
            findings,
            total,
            hidden,
            steps: self.steps,
        }
    }

    /// What one step brought and another hid, by both and by how.
    fn hidden_findings(&self, largest: usize) -> Vec<Waste> {
        let mut groups: BTreeMap<(WasteClass, usize, usize), Vec<FileId>> = BTreeMap::new();
        for one in &self.hidden {
            let key = (one.class, one.file.0, one.by);
            groups.entry(key).or_default().push(one.file);
        }
        let mut findings = Vec::new();
        for ((class, made, by), files) in groups {
            let mut waste = self.waste(class, &files, largest);
            waste.made_by = made + 1;
            waste.hidden_by = Some(by + 1);
            // The content that is hidden is that which is seen: the pool has it once.
            if class == WasteClass::MetadataOnly {
                waste.pooled = 0;
            }
            let first = waste.largest.first().map_or("", |(path, _)| path);
            waste.fix = match class {
                WasteClass::Deleted => {
                    format!("in step {}: RUN … && rm -rf {first}", made + 1)
                }
                WasteClass::MetadataOnly => {
                    format!(
                        "in step {}: COPY --chown=USER:GROUP --chmod=MODE …",
                        made + 1
                    )
                }
                _ => format!("in step {}: RUN … with what step {} does", made + 1, by + 1),
            };
            if waste.bytes > 0 {
                findings.push(waste);
            }
        }
        findings
    }

    fn left_findings(&self, largest: usize) -> Vec<Waste> {
        let mut groups: BTreeMap<&'static str, (&'static str, Vec<FileId>)> = BTreeMap::new();
        for (path, seen) in &self.seen {
            if let (Seen::File(id), Some(kind)) = (seen, left::kind_of(path)) {
                let group = groups.entry(kind.name).or_insert((kind.fix, Vec::new()));
                group.1.push(*id);
            }
        }
        let mut findings = Vec::new();
        for (name, (fix, mut files)) in groups {
            files.sort();
            files.dedup();
            let mut waste = self.waste(WasteClass::Left(name), &files, largest);
            fix.clone_into(&mut waste.fix);
            if waste.bytes > 0 {
                findings.push(waste);
            }
        }
        findings
    }

    /// Contents that several files of the finished tree have.
    fn duplicates(&self, largest: usize) -> Vec<Waste> {
        let mut copies: BTreeMap<ObjectId, Vec<FileId>> = BTreeMap::new();
        for (path, seen) in &self.seen {
            if let Seen::File(id) = seen
                && self.files[id].size >= SMALLEST_DUPLICATE
                && left::kind_of(path).is_none()
            {
                copies.entry(self.files[id].content).or_default().push(*id);
            }
        }
        let mut again = Vec::new();
        for files in copies.values_mut() {
            files.sort();
            files.dedup();
            // The first is no waste.
            again.extend(files.drain(..).skip(1));
        }
        let mut waste = self.waste(WasteClass::Duplicate, &again, largest);
        waste.pooled = 0;
        let first = waste.largest.first().map_or("", |(path, _)| path);
        waste.fix = format!("RUN ln -f ORIGINAL {first} in the step that makes the copy");
        match waste.bytes {
            0 => Vec::new(),
            _ => vec![waste],
        }
    }

    fn waste(&self, class: WasteClass, ids: &[FileId], largest: usize) -> Waste {
        let mut amount = Amount::default();
        let mut files: Vec<&File> = ids.iter().map(|id| &self.files[id]).collect();
        files.iter().for_each(|file| amount.add(file.size));
        files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        let shown = |file: &&File| (format!("/{}", Shown(&file.path)), file.size);
        Waste {
            class,
            bytes: amount.bytes,
            pooled: amount.bytes,
            files: amount.files,
            largest: files.iter().take(largest).map(shown).collect(),
            made_by: ids.iter().map(|id| id.0 + 1).min().unwrap_or(0),
            hidden_by: None,
            fix: String::new(),
        }
    }
}
