//! Finding the directory that a path leads to, as after a chroot into the layer.

use super::{LayerKind, LayerTree, Names, NodeId, implied};
use crate::apply::{ApplyError, Refusal};
use crate::tar::TarError;

/// How many links are followed on one way (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// Why a path leads to no directory.
#[derive(Debug)]
pub(super) enum Lost {
    /// Something on the way is not there.
    Missing,
    /// Something on the way is no directory.
    NotDirectory,
    /// Links lead in circles.
    Loop,
    /// The directories take too much memory.
    Limit(u64),
}

impl Lost {
    /// Returns the error of an entry whose parent was looked for.
    pub(super) fn of_parent(self, entry: &[u8]) -> ApplyError {
        let refusal = match self {
            Self::Missing | Self::NotDirectory => Refusal::ParentNotDirectory,
            Self::Loop => Refusal::LinkLoop,
            Self::Limit(limit) => {
                return ApplyError::Tar(TarError::Limit {
                    what: "bytes of directory names",
                    limit,
                });
            }
        };
        ApplyError::refused(entry, refusal)
    }
}

/// One name on the way; those of a link's target come from a link.
struct Part {
    name: Vec<u8>,
    from_link: bool,
}

fn push_parts(todo: &mut Vec<Part>, path: &[u8], from_link: bool) {
    let names = path.split(|byte| *byte == b'/').rev();
    let names = names.filter(|name| !matches!(*name, b"" | b"."));
    todo.extend(names.map(|name| Part {
        name: name.to_vec(),
        from_link,
    }));
}

impl<C> LayerTree<C> {
    /// Returns the parent directory of an entry, making what is missing of it.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<NodeId, Lost> {
        if let Some((known, id)) = &self.last_parent
            && known == path
        {
            return Ok(*id);
        }
        let id = self.resolve(path, true)?;
        self.last_parent = Some((path.to_vec(), id));
        Ok(id)
    }

    /// Returns an existing directory.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<NodeId, Lost> {
        self.resolve(path, false)
    }

    fn resolve(&mut self, path: &[u8], make: bool) -> Result<NodeId, Lost> {
        let mut todo = Vec::new();
        push_parts(&mut todo, path, false);
        let mut chain = vec![self.root()];
        let mut links = 0;
        while let Some(part) = todo.pop() {
            let at = *chain.last().unwrap_or(&self.root());
            if part.name == b".." {
                if chain.len() > 1 {
                    chain.pop();
                }
                continue;
            }
            let Some(next) = self.lookup(at, &part.name) else {
                if !make {
                    return Err(Lost::Missing);
                }
                chain.push(self.make_implied(at, &part.name, false)?);
                continue;
            };
            match &self.node(next).kind {
                LayerKind::Directory(_) => chain.push(next),
                LayerKind::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Lost::Loop);
                    }
                    if target.starts_with(b"/") {
                        chain.truncate(1);
                    }
                    push_parts(&mut todo, target, true);
                }
                // `.wh.a` and then `a/b`: the directory is new and hides the one below.
                LayerKind::Whiteout if make && !part.from_link => {
                    chain.push(self.make_implied(at, &part.name, true)?);
                }
                _ => return Err(Lost::NotDirectory),
            }
        }
        Ok(*chain.last().unwrap_or(&self.root()))
    }

    pub(super) fn lookup(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.names(directory)?.get(name).copied()
    }

    fn names(&self, directory: NodeId) -> Option<&Names> {
        match &self.node(directory).kind {
            LayerKind::Directory(names) => Some(names),
            _ => None,
        }
    }

    fn make_implied(&mut self, parent: NodeId, name: &[u8], opaque: bool) -> Result<NodeId, Lost> {
        self.count_directory(name)?;
        let mut node = implied();
        node.opaque = opaque;
        Ok(self.put(parent, name, node))
    }

    /// Counts a directory's memory against the limit.
    pub(super) fn count_directory(&mut self, name: &[u8]) -> Result<(), Lost> {
        self.directory_bytes += (name.len() + size_of::<super::LayerNode<C>>()) as u64;
        let limit = self.limits.max_directory_bytes;
        if self.directory_bytes > limit {
            return Err(Lost::Limit(limit));
        }
        Ok(())
    }
}
