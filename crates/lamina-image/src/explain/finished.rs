//! The finished tree of an image: what is at each path, and which layer brought it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use lamina_layer::{Content, LayerKind, LayerNode, LayerTree, Meta, NodeId, ObjectId};

/// A node, whatever names it has: its layer, counted from 0, and which one there.
pub(super) type Inode = (usize, NodeId);

/// What is at a path.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) inode: Inode,
    pub(super) what: What,
    pub(super) meta: Meta,
}

/// What something is, without its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    File { size: u64, content: ObjectId },
    Symlink(Vec<u8>),
    Char { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
}

impl What {
    /// Returns the word for it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File { .. } => "file",
            Self::Symlink(_) => "symlink",
            Self::Char { .. } => "character device",
            Self::Block { .. } => "block device",
            Self::Fifo => "fifo",
        }
    }

    /// Returns how many bytes of content it has.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            _ => 0,
        }
    }
}

/// The tree, layer by layer.
#[derive(Debug, Clone, Default)]
pub(super) struct Finished {
    pub(super) entries: BTreeMap<Vec<u8>, Entry>,
    /// Which layer took away what was at a path.
    pub(super) taken: HashMap<Vec<u8>, usize>,
}

impl Finished {
    /// Puts a layer on top.
    pub(super) fn add(&mut self, number: usize, layer: &LayerTree<Content>) {
        if layer.opaque_root() {
            self.take_below(b"", number);
        }
        // A directory comes before what is in it, so nothing of this layer is below it yet.
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
                self.put((number, *child), &path, layer.node(*child));
                todo.push((path, *child));
            }
        }
    }

    fn put(&mut self, inode: Inode, path: &[u8], node: &LayerNode<Content>) {
        let what = match &node.kind {
            LayerKind::Whiteout => {
                self.take_below(path, inode.0);
                self.take(path, inode.0);
                return;
            }
            LayerKind::Directory(_) => What::Directory,
            LayerKind::File { size, content } => What::File {
                size: *size,
                content: match content {
                    Content::Object(object) => object.id,
                    Content::Inline(bytes) => ObjectId::of(bytes),
                },
            },
            LayerKind::Symlink(target) => What::Symlink(target.clone()),
            LayerKind::Char { major, minor } => What::Char {
                major: *major,
                minor: *minor,
            },
            LayerKind::Block { major, minor } => What::Block {
                major: *major,
                minor: *minor,
            },
            LayerKind::Fifo => What::Fifo,
        };
        let below = self.entries.get(path).map(|entry| &entry.what);
        let merged = what == What::Directory && below == Some(&What::Directory) && !node.opaque;
        if merged && node.implied {
            return;
        }
        if !merged && below == Some(&What::Directory) {
            self.take_below(path, inode.0);
        }
        let mut meta = node.meta.clone();
        meta.xattrs.sort();
        let entry = Entry { inode, what, meta };
        self.entries.insert(path.to_vec(), entry);
    }

    fn take_below(&mut self, path: &[u8], layer: usize) {
        let start = match path.is_empty() {
            true => Vec::new(),
            false => [path, b"/"].concat(),
        };
        let range = (Bound::Included(start.clone()), Bound::Unbounded);
        let below = self.entries.range(range);
        let below = below.take_while(|(path, _)| path.starts_with(&start));
        let gone: Vec<Vec<u8>> = below.map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.take(&path, layer);
        }
    }

    fn take(&mut self, path: &[u8], layer: usize) {
        if self.entries.remove(path).is_some() {
            self.taken.insert(path.to_vec(), layer);
        }
    }

    /// Returns the bytes of all contents, those of a file with several names once.
    pub(super) fn bytes(&self) -> u64 {
        let mut seen = HashSet::new();
        let files = self.entries.values();
        let files = files.filter(|entry| entry.what.size() > 0 && seen.insert(entry.inode));
        files.map(|entry| entry.what.size()).sum()
    }
}
