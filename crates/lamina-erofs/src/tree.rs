//! A file system as a value: inodes, and directories that name them.

use std::collections::BTreeMap;

/// Which inode of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(u32);

/// A point in time: seconds since 1970, which may be negative, and nanoseconds after them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below one thousand million.
    pub nanoseconds: u32,
}

/// What an inode has beside its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The permission bits with set-uid, set-gid and sticky; other bits are not stored.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The modification time, which EROFS shows as access and change time, too.
    pub mtime: Time,
    /// Extended attributes by their whole names.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory(Directory),
    /// A file whose content is in the image.
    File(Vec<u8>),
    /// A file whose content is in the data-only layer of the overlay that the image is mounted in.
    External {
        /// Its length in bytes.
        size: u64,
        /// Where in that layer, from its root, as `/ab/cdef`.
        object: Vec<u8>,
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
    /// A socket's name.
    Socket,
}

/// The names in a directory, in the order of their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory(BTreeMap<Box<[u8]>, InodeId>);

impl Directory {
    /// Returns what a name stands for.
    pub fn get(&self, name: &[u8]) -> Option<InodeId> {
        self.0.get(name).copied()
    }

    /// Goes through the names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], InodeId)> {
        self.0.iter().map(|(name, inode)| (&**name, *inode))
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inode {
    metadata: Metadata,
    node: Node,
}

/// A tree of inodes.
///
/// An inode with several names is a hard link; one with none is not written. A directory has one
/// name. The identifiers are only good for the tree that gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    inodes: Vec<Inode>,
}

impl Tree {
    /// Makes a tree with an empty root.
    pub fn new(root: Metadata) -> Self {
        Self {
            inodes: vec![Inode {
                metadata: root,
                node: Node::Directory(Directory::default()),
            }],
        }
    }

    /// Returns the root.
    pub fn root(&self) -> InodeId {
        InodeId(0)
    }

    /// Returns how many inodes there are, those without a name included.
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Returns false: there is always a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Adds an inode without a name.
    ///
    /// # Panics
    ///
    /// At 2³² inodes, which would take hundreds of gigabytes before.
    pub fn add(&mut self, metadata: Metadata, node: Node) -> InodeId {
        let id = u32::try_from(self.inodes.len()).expect("memory holds fewer than 2³² inodes");
        self.inodes.push(Inode { metadata, node });
        InodeId(id)
    }

    /// Gives an inode a name in a directory and returns what had it before. Nothing happens, and
    /// nothing is returned, where `directory` is none.
    pub fn link(&mut self, directory: InodeId, name: &[u8], inode: InodeId) -> Option<InodeId> {
        match &mut self.inode_mut(directory).node {
            Node::Directory(Directory(names)) => names.insert(name.into(), inode),
            _ => None,
        }
    }

    /// Takes a name away and returns what had it.
    pub fn unlink(&mut self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        match &mut self.inode_mut(directory).node {
            Node::Directory(Directory(names)) => names.remove(name),
            _ => None,
        }
    }

    /// Takes all names of a directory away.
    pub fn clear(&mut self, directory: InodeId) {
        if let Node::Directory(Directory(names)) = &mut self.inode_mut(directory).node {
            names.clear();
        }
    }

    /// Returns what a name in a directory stands for; nothing where `directory` is none.
    pub fn lookup(&self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        match self.node(directory) {
            Node::Directory(directory) => directory.get(name),
            _ => None,
        }
    }

    /// Returns what an inode is.
    pub fn node(&self, inode: InodeId) -> &Node {
        &self.inodes[inode.index()].node
    }

    /// Returns an inode's metadata.
    pub fn metadata(&self, inode: InodeId) -> &Metadata {
        &self.inodes[inode.index()].metadata
    }

    /// Returns an inode's metadata, to change it.
    pub fn metadata_mut(&mut self, inode: InodeId) -> &mut Metadata {
        &mut self.inode_mut(inode).metadata
    }

    fn inode_mut(&mut self, inode: InodeId) -> &mut Inode {
        &mut self.inodes[inode.index()]
    }
}

impl InodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
