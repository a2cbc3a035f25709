//! The layers of an image as one tree, by the rules of overlayfs and of the image specification.
//!
//! Pure: layers come as trees in memory, the result is the tree of an EROFS image. Metadata of
//! directories that a layer only implies come from below; whiteouts and opaque directories hide
//! what is below and are gone then; a file keeps its hard links within its layer.

use std::collections::{BTreeMap, HashMap};

use lamina_erofs::{Directory, InodeId, Metadata, Node, Time, Tree};
use lamina_layer::{Content, LayerKind, LayerNode, LayerTree, Meta, NodeId, ObjectId};

use super::attributes::{Kind, kept};
use crate::points::{DIRECTORIES, FILES};

/// What ext4 keeps: a time beyond would be another in a file's copy in the writable layer.
const TIMES: (i64, i64) = (-(1 << 31), 15_032_385_535);
/// What a layer implies, and what is generated, has no time of its own.
const EPOCH: Time = Time {
    seconds: 0,
    nanoseconds: 0,
};

/// Where the data-only layer has an object, as a redirect says it.
pub(super) type Locate = fn(&ObjectId) -> Vec<u8>;

/// An image being put together, the bottom layer first.
#[derive(Debug)]
pub(super) struct Merge {
    tree: Tree,
    locate: Locate,
}

/// A directory of a layer, and the merged one that it goes into.
struct Pair {
    above: NodeId,
    merged: InodeId,
}

impl Merge {
    /// Starts with nothing.
    pub(super) fn new(locate: Locate) -> Self {
        Self {
            tree: Tree::new(plain(0o755)),
            locate,
        }
    }

    /// Puts a layer on top.
    pub(super) fn add(&mut self, layer: &LayerTree<Content>) {
        let root = self.tree.root();
        let top = layer.node(layer.root());
        if layer.opaque_root() {
            self.tree.clear(root);
        }
        if !top.implied {
            *self.tree.metadata_mut(root) = metadata(&top.meta, Kind::Other);
        } else if layer.opaque_root() {
            *self.tree.metadata_mut(root) = plain(0o755);
        }
        // A file's other names, within the layer.
        let mut files = HashMap::new();
        let mut todo = vec![Pair {
            above: layer.root(),
            merged: root,
        }];
        while let Some(pair) = todo.pop() {
            let LayerKind::Directory(names) = &layer.node(pair.above).kind else {
                continue;
            };
            for (name, id) in names {
                todo.extend(self.put(layer, &mut files, pair.merged, name, *id));
            }
        }
    }

    /// Puts one name; returns a directory whose names are still to be put.
    fn put(
        &mut self,
        layer: &LayerTree<Content>,
        files: &mut HashMap<NodeId, InodeId>,
        parent: InodeId,
        name: &[u8],
        id: NodeId,
    ) -> Option<Pair> {
        let node = layer.node(id);
        match node.kind {
            LayerKind::Whiteout => {
                self.tree.unlink(parent, name);
                None
            }
            LayerKind::Directory(_) => {
                let merged = self.directory(parent, name, node);
                Some(Pair { above: id, merged })
            }
            _ => {
                let inode = files.get(&id).copied().unwrap_or_else(|| {
                    let inode = self.file(node);
                    files.insert(id, inode);
                    inode
                });
                self.tree.link(parent, name, inode);
                None
            }
        }
    }

    /// Returns the merged directory that a layer's goes into.
    fn directory(&mut self, parent: InodeId, name: &[u8], node: &LayerNode<Content>) -> InodeId {
        let below = self.tree.lookup(parent, name);
        let below = below.filter(|id| matches!(self.tree.node(*id), Node::Directory(_)));
        if let (Some(merged), false) = (below, node.opaque) {
            if !node.implied {
                *self.tree.metadata_mut(merged) = metadata(&node.meta, Kind::Other);
            }
            return merged;
        }
        self.new_directory(parent, name, metadata(&node.meta, Kind::Other))
    }

    fn new_directory(&mut self, parent: InodeId, name: &[u8], metadata: Metadata) -> InodeId {
        let node = Node::Directory(Directory::default());
        let made = self.tree.add(metadata, node);
        self.tree.link(parent, name, made);
        made
    }

    fn file(&mut self, node: &LayerNode<Content>) -> InodeId {
        let mut attributes = Kind::Special;
        let kind = match &node.kind {
            LayerKind::File { size, content } => {
                attributes = Kind::Other;
                match content {
                    Content::Object(object) if *size > 0 => Node::External {
                        size: *size,
                        object: (self.locate)(&object.id),
                    },
                    Content::Object(_) => Node::File(Vec::new()),
                    Content::Inline(bytes) => Node::File(bytes.clone()),
                }
            }
            LayerKind::Symlink(target) => Node::Symlink(target.clone()),
            LayerKind::Char { major, minor } => Node::Char {
                major: *major,
                minor: *minor,
            },
            LayerKind::Block { major, minor } => Node::Block {
                major: *major,
                minor: *minor,
            },
            LayerKind::Fifo => Node::Fifo,
            // Dealt with by the caller.
            LayerKind::Directory(_) | LayerKind::Whiteout => Node::File(Vec::new()),
        };
        let mut metadata = metadata(&node.meta, attributes);
        if matches!(kind, Node::Symlink(_)) {
            // A link has no mode of its own (symlink(7)).
            metadata.mode = 0o777;
        }
        self.tree.add(metadata, kind)
    }

    /// Puts what every container mounts onto on top: directories with the image's metadata where
    /// it has them, whatever else has their names is hidden.
    pub(super) fn add_mount_points(&mut self) {
        let in_parent = |merge: &mut Self, path: &str| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let root = merge.tree.root();
            // One level at most: the lists have the parent first.
            let parent = match parent {
                "" => Some(root),
                parent => merge.tree.lookup(root, parent.as_bytes()),
            };
            (parent.unwrap_or(root), name.as_bytes().to_vec())
        };
        for path in DIRECTORIES {
            let (parent, name) = in_parent(self, path);
            let there = self.tree.lookup(parent, &name);
            if !there.is_some_and(|id| matches!(self.tree.node(id), Node::Directory(_))) {
                self.new_directory(parent, &name, plain(0o755));
            }
        }
        for path in FILES {
            let (parent, name) = in_parent(self, path);
            let file = self.tree.add(plain(0o644), Node::File(Vec::new()));
            self.tree.link(parent, &name, file);
        }
    }

    /// Returns the tree.
    pub(super) fn finish(self) -> Tree {
        self.tree
    }
}

/// The metadata of what nobody described.
fn plain(mode: u32) -> Metadata {
    Metadata {
        mode,
        mtime: EPOCH,
        ..Metadata::default()
    }
}

fn metadata(meta: &Meta, kind: Kind) -> Metadata {
    let (first, last) = TIMES;
    let seconds = meta.mtime.seconds.clamp(first, last);
    let xattrs = meta
        .xattrs
        .iter()
        .filter(|(name, value)| kept(name, value, kind));
    Metadata {
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        mtime: Time {
            seconds,
            nanoseconds: match seconds == meta.mtime.seconds {
                true => meta.mtime.nanoseconds,
                false => 0,
            },
        },
        xattrs: xattrs.cloned().collect::<BTreeMap<_, _>>(),
    }
}
