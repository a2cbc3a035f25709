//! Where everything goes: inodes one after another, level by level of the tree, then whole blocks.

use crate::directory::{self, Named};
use crate::error::WriteError;
use crate::format::{
    BLOCK, DataLayout, FIRST_INODE, INODE, MAX_NAME, MAX_TARGET, SLOT, chunks, device, kind,
};
use crate::tree::{InodeId, Node, Tree};
use crate::xattr::Shared;

/// A tail longer than this goes into a block of its own: any shorter one fits into a block that
/// its inode is moved for.
const MAX_TAIL: u64 = BLOCK - SLOT;

/// Where one inode and its content go.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) inode: InodeId,
    /// Directories have one; files have none, or the first that names them.
    pub(crate) parent: usize,
    /// Where the inode begins.
    pub(crate) offset: u64,
    pub(crate) layout: DataLayout,
    pub(crate) size: u64,
    /// How many whole blocks it has, and the first.
    pub(crate) blocks: u32,
    pub(crate) first_block: u32,
    /// How many names it has; a directory counts itself and its subdirectories' way back.
    pub(crate) links: u32,
    /// The encoded attributes.
    pub(crate) xattrs: Vec<u8>,
}

/// Where everything goes.
#[derive(Debug)]
pub(crate) struct Layout<'t> {
    pub(crate) tree: &'t Tree,
    /// In the order of the image.
    pub(crate) places: Vec<Place>,
    /// By the index of the inode in the tree: its index in `places`.
    pub(crate) index: Vec<usize>,
    pub(crate) shared: Shared<'t>,
    /// The first block after the inodes.
    pub(crate) xattr_block: u32,
    /// How many blocks the image has.
    pub(crate) blocks: u32,
}

/// No place yet.
const NONE: usize = usize::MAX;

impl<'t> Layout<'t> {
    pub(crate) fn new(tree: &'t Tree) -> Result<Self, WriteError> {
        let (mut places, index) = order(tree)?;
        let shared = Shared::new(
            places
                .iter()
                .map(|place| (tree.metadata(place.inode), tree.node(place.inode))),
        )?;
        let mut end = FIRST_INODE;
        for place in &mut places {
            end = put_inode(tree, &shared, place, end)?;
        }
        let block_of =
            |offset: u64| u32::try_from(offset.div_ceil(BLOCK)).map_err(|_| WriteError::TooLarge);
        let xattr_block = block_of(end)?;
        let mut next = u64::from(xattr_block) + (shared.area().len() as u64).div_ceil(BLOCK);
        for place in places.iter_mut().filter(|place| place.blocks > 0) {
            place.first_block = u32::try_from(next).map_err(|_| WriteError::TooLarge)?;
            next += u64::from(place.blocks);
        }
        Ok(Self {
            tree,
            places,
            index,
            shared,
            xattr_block,
            blocks: u32::try_from(next).map_err(|_| WriteError::TooLarge)?,
        })
    }

    /// Returns a directory's content.
    pub(crate) fn directory(&self, place: &Place) -> Vec<u8> {
        let Node::Directory(directory) = self.tree.node(place.inode) else {
            return Vec::new();
        };
        let named = |name, place: &Place| Named {
            name,
            number: place.offset / SLOT,
            kind: kind(self.tree.node(place.inode)).1,
        };
        let mut names = vec![
            named(b".".as_slice(), place),
            named(b"..", &self.places[place.parent]),
        ];
        let entries = directory.iter();
        names.extend(entries.map(|(name, inode)| {
            let index = self.index[inode.index()];
            named(name, &self.places[index])
        }));
        names.sort_by_key(|named| named.name);
        directory::content(&names)
    }
}

/// Lists the inodes that have a name, level by level, and counts their names.
fn order(tree: &Tree) -> Result<(Vec<Place>, Vec<usize>), WriteError> {
    let mut index = vec![NONE; tree.len()];
    let mut places = vec![unplaced(tree.root(), 0)];
    index[tree.root().index()] = 0;
    let mut at = 0;
    while at < places.len() {
        if let Node::Directory(directory) = tree.node(places[at].inode) {
            // Its own name, and `.` in it; one more for each subdirectory's `..`.
            places[at].links = 2;
            for (name, inode) in directory.iter() {
                check_name(name)?;
                let is_directory = matches!(tree.node(inode), Node::Directory(_));
                let known = &mut index[inode.index()];
                if *known == NONE {
                    *known = places.len();
                    places.push(unplaced(inode, at));
                } else if is_directory {
                    return Err(WriteError::SecondName(name.to_vec()));
                }
                if is_directory {
                    places[at].links += 1;
                } else {
                    let known = *known;
                    places[known].links += 1;
                }
            }
        }
        at += 1;
    }
    Ok((places, index))
}

fn unplaced(inode: InodeId, parent: usize) -> Place {
    Place {
        inode,
        parent,
        offset: 0,
        layout: DataLayout::Plain,
        size: 0,
        blocks: 0,
        first_block: 0,
        links: 0,
        xattrs: Vec::new(),
    }
}

fn check_name(name: &[u8]) -> Result<(), WriteError> {
    let odd = name.is_empty() || name.len() > MAX_NAME || name == b"." || name == b"..";
    if odd || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(WriteError::Name(name.to_vec()));
    }
    Ok(())
}

/// Places an inode at or after `end`, and returns where it ends.
fn put_inode(
    tree: &Tree,
    shared: &Shared<'_>,
    place: &mut Place,
    end: u64,
) -> Result<u64, WriteError> {
    let node = tree.node(place.inode);
    place.xattrs = shared.body(tree.metadata(place.inode), node)?;
    place.size = size(node)?;
    let head = INODE + place.xattrs.len() as u64;
    if let Node::External { size, .. } = node
        && *size > 0
    {
        if i64::try_from(*size).is_err() {
            return Err(WriteError::FileSize(*size));
        }
        place.layout = DataLayout::Chunks;
        place.offset = whole_inode(end);
        return Ok(place.offset + head + 4 * chunks(*size).1);
    }
    let tail = place.size % BLOCK;
    let whole = place.size / BLOCK;
    let inline = (1..=MAX_TAIL).contains(&tail);
    let blocks = whole + u64::from(!inline && tail > 0);
    place.blocks = u32::try_from(blocks).map_err(|_| WriteError::TooLarge)?;
    place.offset = whole_inode(end);
    if !inline {
        return Ok(place.offset + head);
    }
    place.layout = DataLayout::Inline;
    // The tail must not cross a block's end.
    let at = (place.offset + head) % BLOCK;
    if at + tail > BLOCK {
        place.offset += (BLOCK - at).next_multiple_of(SLOT);
    }
    Ok(place.offset + head + tail)
}

/// Returns the next place where an inode does not cross a block's end.
fn whole_inode(end: u64) -> u64 {
    let offset = end.next_multiple_of(SLOT);
    if offset % BLOCK > BLOCK - INODE {
        offset.next_multiple_of(BLOCK)
    } else {
        offset
    }
}

/// Returns the length of an inode's content, checking what can be wrong with it.
fn size(node: &Node) -> Result<u64, WriteError> {
    Ok(match node {
        Node::Directory(directory) => {
            let mut names: Vec<&[u8]> = vec![b".", b".."];
            names.extend(directory.iter().map(|(name, _)| name));
            names.sort_unstable();
            directory::length(names.into_iter())
        }
        Node::File(content) => content.len() as u64,
        Node::External { size, .. } => *size,
        Node::Symlink(target) => {
            if target.is_empty() || target.len() > MAX_TARGET || target.contains(&0) {
                return Err(WriteError::Target(target.clone()));
            }
            target.len() as u64
        }
        Node::Char { major, minor } | Node::Block { major, minor } => {
            let (major, minor) = (*major, *minor);
            device(major, minor).ok_or(WriteError::Device { major, minor })?;
            0
        }
        Node::Fifo | Node::Socket => 0,
    })
}
