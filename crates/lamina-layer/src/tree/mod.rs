//! A layer's entries as a tree in memory, by the rules of [`apply`](crate::apply()).
//!
//! Where nothing is unpacked this decides what a layer means, and whether it may have it: names are
//! cleaned, parents that no entry describes are implied, links on the way to a parent are followed
//! inside the layer, a later entry replaces an earlier one, whiteouts never remove what their own
//! layer has. What `apply` refuses is refused here, with the same error.

mod add;
mod read;
mod resolve;

pub use read::LayerTreeError;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::Limits;
use crate::tar::Meta;

/// Which node of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

/// The names in a directory, in the order of their bytes.
pub type Names = BTreeMap<Box<[u8]>, NodeId>;

/// One node of a layer; a hard link is a node with several names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerNode<C> {
    /// Its metadata; of an implied directory, mode 0755 and the rest zero.
    pub meta: Meta,
    /// What it is.
    pub kind: LayerKind<C>,
    /// No entry describes it: in a stack its metadata come from the layer below.
    pub implied: bool,
    /// It is a directory that hides the one below.
    pub opaque: bool,
}

/// What a node of a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerKind<C> {
    /// A directory.
    Directory(Names),
    /// A regular file.
    File {
        /// Its length in bytes, holes included.
        size: u64,
        /// What was given for its content.
        content: C,
    },
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A character device.
    Char {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// Nothing, and what the layers below have by this name is hidden.
    Whiteout,
}

/// One layer. `C` stands for the content of a file.
#[derive(Debug)]
pub struct LayerTree<C> {
    nodes: Vec<LayerNode<C>>,
    opaque_root: bool,
    limits: Limits,
    /// What directories take in memory, roughly.
    directory_bytes: u64,
    /// The parent of the entry before: tars list a directory's files one after another.
    last_parent: Option<(Vec<u8>, NodeId)>,
}

impl<C> LayerTree<C> {
    /// Makes the tree of a layer without entries.
    pub fn new(limits: &Limits) -> Self {
        Self {
            nodes: vec![implied()],
            opaque_root: false,
            limits: limits.clone(),
            directory_bytes: 0,
            last_parent: None,
        }
    }

    /// Returns the root.
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// Returns a node.
    pub fn node(&self, id: NodeId) -> &LayerNode<C> {
        &self.nodes[id.index()]
    }

    /// Returns whether the layer hides everything below it.
    pub fn opaque_root(&self) -> bool {
        self.opaque_root
    }

    /// Returns the directories that no entry described, sorted, the root as the empty path.
    pub fn implied(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![(PathBuf::new(), self.root())];
        while let Some((path, id)) = todo.pop() {
            let node = self.node(id);
            let LayerKind::Directory(names) = &node.kind else {
                continue;
            };
            for (name, id) in names {
                let name = OsString::from_vec(name.to_vec());
                todo.push((path.join(name), *id));
            }
            if node.implied {
                found.push(path);
            }
        }
        found.sort();
        found
    }
}

impl NodeId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A directory as the unpacker makes it up.
fn implied<C>() -> LayerNode<C> {
    LayerNode {
        meta: Meta {
            mode: 0o755,
            ..Meta::default()
        },
        kind: LayerKind::Directory(Names::new()),
        implied: true,
        opaque: false,
    }
}
