//! One entry into the tree.

use super::resolve::Lost;
use super::{LayerKind, LayerNode, LayerTree, Names, NodeId};
use crate::apply::{ApplyError, Mark, Refusal, clean_name, wanted};
use crate::path::split;
use crate::tar::{Entry, Kind, Meta, TarError};

impl<C> LayerTree<C> {
    /// Adds an entry; `content` is kept if it is a file.
    ///
    /// After an error the tree is worth nothing.
    pub fn add(&mut self, entry: Entry, content: C) -> Result<(), ApplyError> {
        let raw = &entry.path;
        let refused = |refusal| Err(ApplyError::refused(raw, refusal));
        let path = clean_name(raw, raw, &self.limits)?;
        if path.is_empty() {
            return self.describe_root(entry);
        }
        if let Some(mark) = Mark::of(&path, raw)? {
            return self.mark(&path, raw, mark);
        }
        let (parent_path, name) = split(&path);
        let parent = self
            .parent(parent_path)
            .map_err(|lost| lost.of_parent(raw))?;
        let kind = match entry.kind {
            Kind::Directory => return self.directory(parent, name, raw, entry.meta),
            Kind::Hardlink(ref to) => return self.hardlink(parent, &path, raw, to),
            Kind::Char { major: 0, minor: 0 } => return refused(Refusal::WhiteoutDevice),
            Kind::Symlink(to) if to.is_empty() => return refused(Refusal::EmptyTarget),
            Kind::Symlink(to) if to.contains(&0) => return refused(Refusal::BadName),
            Kind::Symlink(to) => LayerKind::Symlink(to),
            Kind::File => self.file(entry.stored, content)?,
            Kind::Sparse { size, .. } => self.file(size, content)?,
            Kind::Char { major, minor } => LayerKind::Char { major, minor },
            Kind::Block { major, minor } => LayerKind::Block { major, minor },
            Kind::Fifo => LayerKind::Fifo,
        };
        self.put(parent, name, described(entry.meta, kind));
        Ok(())
    }

    fn file(&self, size: u64, content: C) -> Result<LayerKind<C>, ApplyError> {
        let limit = self.limits.max_file_size;
        if size > limit {
            let what = "bytes of one file";
            return Err(ApplyError::Tar(TarError::Limit { what, limit }));
        }
        Ok(LayerKind::File { size, content })
    }

    /// An entry for the root itself (see [`apply`](crate::apply())).
    fn describe_root(&mut self, entry: Entry) -> Result<(), ApplyError> {
        if entry.kind != Kind::Directory {
            return Err(ApplyError::refused(&entry.path, Refusal::Root));
        }
        let root = &mut self.nodes[0];
        describe(root, entry.meta);
        Ok(())
    }

    fn directory(
        &mut self,
        parent: NodeId,
        name: &[u8],
        raw: &[u8],
        meta: Meta,
    ) -> Result<(), ApplyError> {
        let there = self.lookup(parent, name);
        if let Some(id) = there
            && matches!(self.node(id).kind, LayerKind::Directory(_))
        {
            let node = &mut self.nodes[id.index()];
            describe(node, meta);
            return Ok(());
        }
        self.count_directory(name)
            .map_err(|lost| lost.of_parent(raw))?;
        let mut node = described(meta, LayerKind::Directory(Names::new()));
        // `.wh.a` and then a directory `a`: new, hiding the one below.
        node.opaque = there.is_some_and(|id| self.is_whiteout(id));
        self.put(parent, name, node);
        Ok(())
    }

    /// The target is resolved as every other path in the layer, and is not followed itself.
    fn hardlink(
        &mut self,
        parent: NodeId,
        path: &[u8],
        raw: &[u8],
        to: &[u8],
    ) -> Result<(), ApplyError> {
        let refused = |refusal| ApplyError::refused(raw, refusal);
        let to = clean_name(to, raw, &self.limits)?;
        if to.is_empty() || to == path {
            return Err(refused(Refusal::BadTarget));
        }
        let (to_parent, to_name) = split(&to);
        let target = match self.existing(to_parent) {
            Ok(directory) => self.lookup(directory, to_name),
            Err(lost @ Lost::Limit(_)) => return Err(lost.of_parent(raw)),
            Err(_) => None,
        };
        let target = target.ok_or_else(|| refused(Refusal::MissingTarget))?;
        let (_, name) = split(path);
        let directory = matches!(self.node(target).kind, LayerKind::Directory(_));
        // What the link replaces goes first, with everything in it.
        let gone =
            self.lookup(parent, name).is_some() && !self.has_other_name(target, parent, name);
        if directory || gone || self.is_whiteout(target) {
            return Err(refused(Refusal::BadTarget));
        }
        self.name(parent, name, target);
        Ok(())
    }

    fn mark(&mut self, path: &[u8], raw: &[u8], mark: Mark) -> Result<(), ApplyError> {
        let (parent_path, _) = split(path);
        let name = match mark {
            Mark::Ignored => return Ok(()),
            Mark::Opaque if parent_path.is_empty() => {
                self.opaque_root = true;
                return Ok(());
            }
            Mark::Opaque => None,
            Mark::Whiteout(name) => Some(name),
        };
        let parent = self
            .parent(parent_path)
            .map_err(|lost| lost.of_parent(raw))?;
        let Some(name) = name else {
            self.nodes[parent.index()].opaque = true;
            return Ok(());
        };
        match self.lookup(parent, &name) {
            None => {
                let node = described(Meta::default(), LayerKind::Whiteout);
                self.put(parent, &name, node);
            }
            // This layer has the name already: a file hides what is below by itself.
            Some(id) => {
                let node = &mut self.nodes[id.index()];
                node.opaque |= matches!(node.kind, LayerKind::Directory(_));
            }
        }
        Ok(())
    }

    /// Returns whether a node has a name that does not go when `name` in `parent` does.
    fn has_other_name(&self, id: NodeId, parent: NodeId, name: &[u8]) -> bool {
        let mut todo = vec![self.root()];
        while let Some(at) = todo.pop() {
            let LayerKind::Directory(names) = &self.node(at).kind else {
                continue;
            };
            for (other, below) in names {
                if at == parent && **other == *name {
                    continue;
                }
                if *below == id {
                    return true;
                }
                todo.push(*below);
            }
        }
        false
    }

    fn is_whiteout(&self, id: NodeId) -> bool {
        matches!(self.node(id).kind, LayerKind::Whiteout)
    }

    /// Adds a node under a name; what had it before gives way.
    pub(super) fn put(&mut self, parent: NodeId, name: &[u8], node: LayerNode<C>) -> NodeId {
        let id = u32::try_from(self.nodes.len()).expect("entries are bounded far below 2³²");
        self.nodes.push(node);
        self.name(parent, name, NodeId(id));
        NodeId(id)
    }

    fn name(&mut self, parent: NodeId, name: &[u8], id: NodeId) {
        if let LayerKind::Directory(names) = &mut self.nodes[parent.index()].kind
            && names.insert(name.into(), id).is_some()
        {
            // It may have been on the way to the last parent.
            self.last_parent = None;
        }
    }
}

fn described<C>(meta: Meta, kind: LayerKind<C>) -> LayerNode<C> {
    LayerNode {
        meta: without_private(meta),
        kind,
        implied: false,
        opaque: false,
    }
}

/// Describes a directory, perhaps again: attributes that the new entry has not stay.
fn describe<C>(node: &mut LayerNode<C>, meta: Meta) {
    let mut meta = without_private(meta);
    for (name, value) in std::mem::take(&mut node.meta.xattrs) {
        if meta.xattrs.iter().all(|(known, _)| *known != name) {
            meta.xattrs.push((name, value));
        }
    }
    node.meta = meta;
    node.implied = false;
}

/// Leaves out what a layer may not set.
fn without_private(mut meta: Meta) -> Meta {
    meta.xattrs.retain(|(name, _)| wanted(name));
    meta
}
