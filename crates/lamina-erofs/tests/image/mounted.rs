//! A tree as one sees it: a value's, and that of a mounted image.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lamina_erofs::{InodeId, Metadata, Node, Tree};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

/// Mounts an image file without attaching it anywhere.
pub(crate) fn mount(file: &Path) -> Result<OwnedFd, Errno> {
    let fs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", file)?;
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    links: u64,
    device: u64,
    size: u64,
    /// Of files in the image and of links; `None` for what has none.
    content: Option<Vec<u8>>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first of the names that the inode has.
    first_name: PathBuf,
}

/// Everything below a root, by path.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<PathBuf, Entry>);

impl Seen {
    pub(crate) fn of_tree(tree: &Tree) -> Self {
        let mut seen = Self::default();
        let mut todo = vec![(PathBuf::new(), tree.root())];
        let mut names: BTreeMap<InodeId, Vec<PathBuf>> = BTreeMap::new();
        while let Some((path, inode)) = todo.pop() {
            names.entry(inode).or_default().push(path.clone());
            if let Node::Directory(directory) = tree.node(inode) {
                todo.extend(
                    directory
                        .iter()
                        .map(|(name, inode)| (path.join(std::ffi::OsStr::from_bytes(name)), inode)),
                );
            }
        }
        for (inode, mut paths) in names {
            paths.sort();
            for path in &paths {
                let entry = Entry::of_node(tree, inode, &paths);
                seen.0.insert(path.clone(), entry);
            }
        }
        seen
    }

    pub(crate) fn of_mount(root: &OwnedFd) -> Self {
        let base = PathBuf::from(format!("/proc/self/fd/{}/.", root.as_raw_fd()));
        let mut seen = Self::default();
        let mut first = BTreeMap::new();
        let mut paths = vec![PathBuf::new()];
        let mut at = 0;
        while at < paths.len() {
            let path = base.join(&paths[at]);
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                for entry in fs::read_dir(&path).unwrap() {
                    let name = entry.unwrap().file_name();
                    paths.push(paths[at].join(name));
                }
            }
            at += 1;
        }
        paths.sort();
        for path in paths {
            let number = fs::symlink_metadata(base.join(&path)).unwrap().ino();
            let first_name = first.entry(number).or_insert_with(|| path.clone());
            let entry = Entry::of_file(&base.join(&path), first_name);
            seen.0.insert(path, entry);
        }
        seen
    }
}

impl Entry {
    fn of_node(tree: &Tree, inode: InodeId, paths: &[PathBuf]) -> Self {
        let Metadata {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        } = tree.metadata(inode).clone();
        let mut entry = Self {
            kind: "",
            mode,
            owner: (uid, gid),
            time: (mtime.seconds, mtime.nanoseconds.into()),
            links: paths.len() as u64,
            device: 0,
            size: 0,
            content: None,
            xattrs,
            first_name: paths[0].clone(),
        };
        let (kind, content) = match tree.node(inode) {
            Node::Directory(directory) => {
                let below = directory
                    .iter()
                    .filter(|(_, inode)| matches!(tree.node(*inode), Node::Directory(_)));
                entry.links = 2 + below.count() as u64;
                ("directory", None)
            }
            Node::File(content) => ("file", Some(content.clone())),
            Node::External { size, object } => {
                entry.size = *size;
                let attribute = |name: &str| format!("trusted.overlay.{name}").into_bytes();
                entry.xattrs.insert(attribute("metacopy"), Vec::new());
                entry.xattrs.insert(attribute("redirect"), object.clone());
                ("file", None)
            }
            Node::Symlink(target) => ("link", Some(target.clone())),
            Node::Char { major, minor } => {
                entry.device = rustix::fs::makedev(*major, *minor);
                ("char", None)
            }
            Node::Block { major, minor } => {
                entry.device = rustix::fs::makedev(*major, *minor);
                ("block", None)
            }
            Node::Fifo => ("fifo", None),
            Node::Socket => ("socket", None),
        };
        if !matches!(kind, "file" | "directory") {
            // The kernel does not give these away of anything else (xattr(7)).
            entry.xattrs.retain(|name, _| !name.starts_with(b"user."));
        }
        entry.size = entry
            .size
            .max(content.as_ref().map_or(0, |c| c.len() as u64));
        (entry.kind, entry.content) = (kind, content);
        entry
    }

    fn of_file(path: &Path, first_name: &Path) -> Self {
        let stat = fs::symlink_metadata(path).unwrap();
        let kind = stat.file_type();
        let xattrs = xattrs(path);
        let external = xattrs.contains_key(b"trusted.overlay.metacopy".as_slice());
        let (kind, content) = if kind.is_dir() {
            ("directory", None)
        } else if kind.is_symlink() {
            let target = fs::read_link(path).unwrap().into_os_string().into_vec();
            ("link", Some(target))
        } else if kind.is_file() {
            ("file", (!external).then(|| fs::read(path).unwrap()))
        } else if kind.is_char_device() {
            ("char", None)
        } else if kind.is_block_device() {
            ("block", None)
        } else if kind.is_fifo() {
            ("fifo", None)
        } else {
            ("socket", None)
        };
        Self {
            kind,
            mode: stat.mode() & 0o7777,
            owner: (stat.uid(), stat.gid()),
            time: (stat.mtime(), stat.mtime_nsec()),
            links: stat.nlink(),
            device: stat.rdev(),
            // A directory's size is the image's own business.
            size: if kind == "directory" { 0 } else { stat.size() },
            content,
            xattrs,
            first_name: first_name.to_owned(),
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(&path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0);
    names
        .filter(|name| !name.is_empty())
        .filter_map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = match rustix::fs::lgetxattr(&path, name, &mut value[..]) {
                Err(Errno::NODATA) => return None,
                other => other.unwrap(),
            };
            value.truncate(length);
            Some((name.to_vec(), value))
        })
        .collect()
}

/// Compares entry by entry and names the first differences.
pub(crate) fn compare(expected: &Seen, found: &Seen) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (path, entry) in &expected.0 {
        match found.0.get(path) {
            None => wrong.push(format!("{path:?} is missing")),
            Some(other) if other != entry => {
                wrong.push(format!("{path:?}: expected {entry:?}, found {other:?}"));
            }
            Some(_) => {}
        }
    }
    let extra = found
        .0
        .keys()
        .filter(|path| !expected.0.contains_key(*path));
    wrong.extend(extra.map(|path| format!("{path:?} should not be there")));
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.truncate(5);
    for line in &mut wrong {
        line.truncate(1500);
    }
    Err(wrong.join("\n"))
}
