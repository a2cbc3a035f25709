//! Layers as lists of entries, the tree that they must merge to, and the tree that a mount shows.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lamina_fs::Dir;
use lamina_layer::{Kind, Meta, TarWriter, Time};
use rustix::fs::{FileType, OFlags, XattrFlags};
use rustix::io::Errno;

use super::Failure;

/// One entry of a layer.
#[derive(Debug, Clone)]
pub(super) struct Item {
    path: PathBuf,
    what: What,
    meta: Meta,
}

#[derive(Debug, Clone)]
enum What {
    Directory,
    File(Vec<u8>),
    Symlink(PathBuf),
    Hardlink(PathBuf),
    Fifo,
    Whiteout,
    Opaque,
}

/// A time that no clock gives by chance.
pub(super) const TIME: i64 = 1_234_567_890;

fn item(path: impl Into<PathBuf>, what: What, mode: u32) -> Item {
    let meta = Meta {
        mode,
        mtime: Time {
            seconds: TIME,
            nanoseconds: 0,
        },
        ..Meta::default()
    };
    Item {
        path: path.into(),
        what,
        meta,
    }
}

pub(super) fn dir(path: impl Into<PathBuf>, mode: u32) -> Item {
    item(path, What::Directory, mode)
}

pub(super) fn file(path: impl Into<PathBuf>, content: &str) -> Item {
    item(path, What::File(content.as_bytes().to_vec()), 0o644)
}

pub(super) fn symlink(path: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Item {
    item(path, What::Symlink(target.into()), 0o777)
}

pub(super) fn hardlink(path: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Item {
    item(path, What::Hardlink(target.into()), 0o644)
}

pub(super) fn fifo(path: impl Into<PathBuf>) -> Item {
    item(path, What::Fifo, 0o600)
}

pub(super) fn whiteout(path: impl Into<PathBuf>) -> Item {
    item(path, What::Whiteout, 0)
}

pub(super) fn opaque(path: impl Into<PathBuf>) -> Item {
    item(path, What::Opaque, 0)
}

impl Item {
    pub(super) fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.meta.uid, self.meta.gid) = (uid, gid);
        self
    }

    pub(super) fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        let pair = (name.as_bytes().to_vec(), value.to_vec());
        self.meta.xattrs.push(pair);
        self
    }

    pub(super) fn mode(mut self, mode: u32) -> Self {
        self.meta.mode = mode;
        self
    }

    pub(super) fn time(mut self, seconds: i64, nanoseconds: u32) -> Self {
        self.meta.mtime = Time {
            seconds,
            nanoseconds,
        };
        self
    }
}

/// Returns the layer as a tar.
pub(super) fn tar(items: &[Item]) -> Result<Vec<u8>, Failure> {
    let mut tar = TarWriter::new(Vec::new());
    for item in items {
        let Item { path, what, meta } = item;
        match what {
            What::Directory if path.as_os_str().is_empty() => tar.directory("./", meta)?,
            What::Directory => tar.directory(path, meta)?,
            What::File(content) => tar.file_bytes(path, meta, content)?,
            What::Symlink(target) => tar.symlink(path, target, meta)?,
            What::Hardlink(target) => tar.hardlink(path, target, meta)?,
            What::Fifo => tar.special(path, &Kind::Fifo, meta)?,
            What::Whiteout => {
                let mut name = OsString::from(".wh.");
                name.push(path.file_name().unwrap_or_default());
                tar.file_bytes(path.with_file_name(name), &Meta::default(), b"")?;
            }
            What::Opaque => {
                tar.file_bytes(path.join(".wh..wh..opq"), &Meta::default(), b"")?;
            }
        }
    }
    Ok(tar.finish()?)
}

/// Extended attributes by name.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// One entry of a merged tree. What is not compared is left out: the times and sizes of
/// directories that nobody described, inode numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    kind: FileType,
    mode: u32,
    owner: (u32, u32),
    time: Option<(i64, u64)>,
    content: Vec<u8>,
    /// How many names the file has; 0 for directories.
    links: u64,
    xattrs: Xattrs,
}

/// A tree by path; the root is the empty one.
pub(super) type Tree = BTreeMap<PathBuf, Node>;

fn implied() -> Node {
    Node {
        kind: FileType::Directory,
        mode: 0o755,
        owner: (0, 0),
        time: None,
        content: Vec::new(),
        links: 0,
        xattrs: Vec::new(),
    }
}

/// Merges layers, bottom first, as the image specification says.
pub(super) fn merge(layers: &[Vec<Item>]) -> Tree {
    let mut tree = Tree::from([(PathBuf::new(), implied())]);
    for layer in layers {
        // Whiteouts speak of the layers below, wherever they are in the tar.
        for item in layer {
            match item.what {
                What::Whiteout => remove(&mut tree, &item.path, true),
                What::Opaque => remove(&mut tree, &item.path, false),
                _ => {}
            }
        }
        for item in layer {
            put(&mut tree, item);
        }
    }
    tree
}

fn remove(tree: &mut Tree, path: &Path, itself: bool) {
    tree.retain(|known, _| !known.starts_with(path) || (!itself && known == path));
}

fn put(tree: &mut Tree, item: &Item) {
    let parents = item.path.ancestors().skip(1);
    for parent in parents {
        tree.entry(parent.to_path_buf()).or_insert_with(implied);
    }
    let (kind, content) = match &item.what {
        What::Directory => (FileType::Directory, Vec::new()),
        What::File(content) => (FileType::RegularFile, content.clone()),
        What::Symlink(target) => (FileType::Symlink, target.as_os_str().as_bytes().to_vec()),
        What::Fifo => (FileType::Fifo, Vec::new()),
        What::Hardlink(target) => {
            link(tree, target, &item.path);
            return;
        }
        What::Opaque => {
            tree.entry(item.path.clone()).or_insert_with(implied);
            return;
        }
        What::Whiteout => return,
    };
    let directory = kind == FileType::Directory;
    if !directory {
        remove(tree, &item.path, true);
    }
    let node = Node {
        kind,
        mode: item.meta.mode,
        owner: (item.meta.uid, item.meta.gid),
        time: Some((
            item.meta.mtime.seconds,
            u64::from(item.meta.mtime.nanoseconds),
        )),
        content,
        links: u64::from(!directory),
        xattrs: item.meta.xattrs.clone(),
    };
    tree.insert(item.path.clone(), node);
}

/// Adds a name to a file. The names of one file are those that are alike: the cases give no two
/// files of several names the same content.
fn link(tree: &mut Tree, target: &Path, name: &Path) {
    let Some(old) = tree.get(target).cloned() else {
        return;
    };
    tree.insert(name.to_path_buf(), old.clone());
    for node in tree.values_mut().filter(|node| **node == old) {
        node.links += 1;
    }
}

/// Reads a mounted tree.
pub(super) fn walk(root: &Dir) -> Result<Tree, Failure> {
    let mut tree = Tree::new();
    let stat = rustix::fs::fstat(root)?;
    let mut node = node_of(&stat, Vec::new());
    node.xattrs = xattrs(root, Path::new("."))?;
    tree.insert(PathBuf::new(), node);
    walk_into(root, Path::new(""), &mut tree)?;
    Ok(tree)
}

fn walk_into(dir: &Dir, path: &Path, tree: &mut Tree) -> Result<(), Failure> {
    for entry in dir.entries()? {
        let below = path.join(&entry.name);
        let stat = match dir.stat(&entry.name) {
            // overlayfs lists a whiteout that has nothing to hide, and finds nothing by its name.
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        let content = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let mut content = Vec::new();
                let file = dir.open_file(&entry.name, OFlags::RDONLY)?;
                file.take(1 << 20).read_to_end(&mut content)?;
                content
            }
            FileType::Symlink => rustix::fs::readlinkat(dir, &entry.name, Vec::new())?.into_bytes(),
            FileType::Directory => {
                walk_into(&dir.open_at(&entry.name)?, &below, tree)?;
                Vec::new()
            }
            _ => Vec::new(),
        };
        let mut node = node_of(&stat, content);
        node.xattrs = xattrs(dir, Path::new(&entry.name))?;
        tree.insert(below, node);
    }
    Ok(())
}

/// Reads the attributes of a name, whatever it is, without opening it; the labels of the host's
/// own security module are not the image's.
fn xattrs(dir: &Dir, name: &Path) -> Result<Xattrs, Failure> {
    let fd = dir.as_fd().as_raw_fd();
    let path = Path::new("/proc/self/fd").join(fd.to_string()).join(name);
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(&path, &mut names[..])?;
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || name == b"security.selinux" {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(&path, name, &mut value[..])?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

/// Forgets user attributes where the filesystem of `dir` has none, as tmpfs before Linux 6.6: they
/// are left out there, as Docker does.
pub(super) fn forget_what_is_not_kept(tree: &mut Tree, dir: &Dir) {
    let probe = rustix::fs::fsetxattr(dir, c"user.probe", b"", XattrFlags::empty());
    if probe == Err(Errno::OPNOTSUPP) {
        for node in tree.values_mut() {
            node.xattrs.retain(|(name, _)| !name.starts_with(b"user."));
        }
    }
}

/// Forgets what two modes may show differently.
pub(super) fn forget_what_modes_differ_in(one: &mut Tree, other: &mut Tree) {
    for (path, node) in one {
        let Some(other) = other.get_mut(path) else {
            continue;
        };
        (node.links, other.links) = (0, 0);
        // Implied directories and generated mount points.
        if other.time == Some((0, 0)) {
            (node.time, other.time) = (None, None);
        }
    }
}

fn node_of(stat: &rustix::fs::Stat, content: Vec<u8>) -> Node {
    let kind = FileType::from_raw_mode(stat.st_mode);
    Node {
        kind,
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        time: Some((stat.st_mtime, stat.st_mtime_nsec)),
        content,
        xattrs: Vec::new(),
        links: match kind {
            FileType::Directory => 0,
            _ => stat.st_nlink,
        },
    }
}

/// Compares entry by entry and names the first differences.
pub(super) fn compare(expected: &Tree, found: &Tree) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for (path, node) in expected {
        match found.get(path) {
            None => wrong.push(format!("{} is missing", path.display())),
            Some(other) => {
                let mut other = other.clone();
                if node.time.is_none() {
                    other.time = None;
                }
                if *node != other {
                    wrong.push(format!(
                        "{}: expected {node:?}, found {other:?}",
                        path.display()
                    ));
                }
            }
        }
    }
    let too_many = found.keys().filter(|path| !expected.contains_key(*path));
    wrong.extend(too_many.map(|path| format!("{} should not be there", path.display())));
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.truncate(8);
    Err(wrong.join("\n").into())
}

/// A name of any bytes.
pub(super) fn name(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}
