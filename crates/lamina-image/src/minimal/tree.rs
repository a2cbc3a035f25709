//! The tree that becomes a minimal image's only layer: copies of host paths, with every symbolic
//! link on the way kept, and a few files of our own.
//!
//! A path is walked as the kernel would walk it below the host's root directory, so a merged
//! `/usr` (`/bin` → `usr/bin`), Debian's alternatives and store-based systems all come out right.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::elf::search::under;

/// How many symbolic links one path may pass through, as Linux has it (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Set-user-id and set-group-id say nothing inside a container whose user is root.
const PERMISSIONS: u32 = 0o1777;

/// One entry of the tree; everything belongs to root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A directory.
    Directory {
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: PathBuf,
    },
    /// A copy of a regular file of the host.
    Copy {
        /// The file on the host, no component of it a symbolic link.
        from: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its length in bytes.
        size: u64,
        /// When it was last changed, in seconds since 1970.
        mtime: i64,
    },
    /// A file of our own.
    Text {
        /// What it holds.
        text: String,
        /// Its permission bits.
        mode: u32,
    },
}

/// Where a walk went.
#[derive(Debug)]
struct Walk {
    /// Each directory, link and file on the way, by its path without any link in it.
    steps: Vec<(PathBuf, Node)>,
    /// The path at the end, without any link in it; absolute in the image.
    real: PathBuf,
}

/// The entries of the layer by absolute path.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// Returns an empty tree that copies from the host whose root directory is `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            nodes: BTreeMap::new(),
        }
    }

    /// Adds a host path with everything on the way to it; returns its path without links.
    ///
    /// A directory is added without its contents. Idempotent.
    pub(crate) fn add(&mut self, path: &Path) -> io::Result<PathBuf> {
        let walk = walk(&self.root, path)?;
        for (path, node) in walk.steps {
            self.nodes.entry(path).or_insert(node);
        }
        Ok(walk.real)
    }

    /// Adds a directory and everything in it, links as they are; sockets, fifos and devices are
    /// left out. Returns the regular files.
    pub(crate) fn add_all(&mut self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let real = self.add(path)?;
        let mut files = Vec::new();
        let mut waiting = vec![real];
        while let Some(path) = waiting.pop() {
            let host = under(&self.root, &path);
            let node = node_of(&host)?;
            match node {
                Some(Node::Directory { .. }) => {
                    for entry in fs::read_dir(&host)? {
                        waiting.push(path.join(entry?.file_name()));
                    }
                }
                Some(Node::Copy { .. }) => files.push(path.clone()),
                _ => {}
            }
            if let Some(node) = node {
                self.nodes.entry(path).or_insert(node);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Adds a file of our own, unless something of the host is there already.
    pub(crate) fn put(&mut self, path: &str, mode: u32, text: impl Into<String>) {
        let text = text.into();
        self.insert(Path::new(path), Node::Text { text, mode });
    }

    /// Adds an empty directory, unless something is there already.
    pub(crate) fn make_dir(&mut self, path: &str, mode: u32) {
        self.insert(Path::new(path), Node::Directory { mode });
    }

    /// Adds a symbolic link, unless something is there already.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) {
        let target = target.to_owned();
        self.insert(path, Node::Link { target });
    }

    fn insert(&mut self, path: &Path, node: Node) {
        let mut parent = path.parent();
        while let Some(directory) = parent.filter(|p| *p != Path::new("/")) {
            self.nodes
                .entry(directory.to_owned())
                .or_insert(Node::Directory { mode: 0o755 });
            parent = directory.parent();
        }
        self.nodes.entry(path.to_owned()).or_insert(node);
    }

    /// Returns whether the tree has `path`, following links that are in the tree.
    pub(crate) fn has(&self, path: &Path) -> bool {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            match self.resolve_once(&path) {
                Resolved::Link(next) => path = next,
                Resolved::Found => return true,
                Resolved::Missing => return false,
            }
        }
        false
    }

    /// Replaces the first link on the way along `path` by its target.
    fn resolve_once(&self, path: &Path) -> Resolved {
        let mut at = PathBuf::from("/");
        let mut rest = path.components().filter_map(|c| match c {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        while let Some(name) = rest.next() {
            at.push(name);
            match self.nodes.get(&at) {
                None => return Resolved::Missing,
                Some(Node::Link { target }) => {
                    let parent = at.parent().unwrap_or(Path::new("/"));
                    let mut next = lexical(&parent.join(target));
                    next.extend(rest);
                    return Resolved::Link(next);
                }
                Some(_) => {}
            }
        }
        Resolved::Found
    }

    /// Returns the entries in order of path, parents before what is in them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// Returns when the newest copied file was changed, in seconds since 1970: the tree's own
    /// date, so that two images of one host are the same image.
    pub(crate) fn newest(&self) -> i64 {
        let times = self.nodes.values().filter_map(|node| match node {
            Node::Copy { mtime, .. } => Some(*mtime),
            _ => None,
        });
        times.max().unwrap_or(0).max(0)
    }
}

enum Resolved {
    Link(PathBuf),
    Found,
    Missing,
}

fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}

/// Returns `path` below `root` without any link in it.
pub(crate) fn real_path(root: &Path, path: &Path) -> io::Result<PathBuf> {
    Ok(walk(root, path)?.real)
}

fn walk(root: &Path, path: &Path) -> io::Result<Walk> {
    let mut rest: VecDeque<OsString> = names(path);
    let mut found = Walk {
        steps: Vec::new(),
        real: PathBuf::from("/"),
    };
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            found.real.pop();
            continue;
        }
        let here = found.real.join(&name);
        let node = node_of(&under(root, &here))?.ok_or_else(|| {
            let message = format!("{} is not a file, directory or link", here.display());
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        if let Node::Link { target } = &node {
            links += 1;
            if links > MAX_LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            if target.is_absolute() {
                found.real = PathBuf::from("/");
            }
            for name in names(target).into_iter().rev() {
                rest.push_front(name);
            }
        } else {
            found.real = here.clone();
        }
        found.steps.push((here, node));
    }
    Ok(found)
}

/// Returns the components to walk; `.` and the root need no step.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// Returns what is at a host path, the last component not followed; `None` for other types.
fn node_of(host: &Path) -> io::Result<Option<Node>> {
    let metadata = fs::symlink_metadata(host)?;
    let kind = metadata.file_type();
    let mode = metadata.permissions().mode() & PERMISSIONS;
    Ok(if kind.is_dir() {
        Some(Node::Directory { mode })
    } else if kind.is_symlink() {
        let target = fs::read_link(host)?;
        Some(Node::Link { target })
    } else if kind.is_file() {
        Some(Node::Copy {
            from: host.to_owned(),
            mode,
            size: metadata.len(),
            mtime: metadata.mtime(),
        })
    } else {
        None
    })
}
