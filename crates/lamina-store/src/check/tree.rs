//! A layer's tree compared with what its split stream says: every name, kind, owner, mode, time,
//! attribute, link and, where the tar has not vouched for them, every byte.
//!
//! What an unpacker is free to do is not compared: times of directories that it made up, and what a
//! filesystem cannot keep.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;

use lamina_fs::list;
use lamina_layer::{
    Content, LayerKind, LayerNode, Meta, NodeId, ObjectId, ObjectRef, Shown, StoredParts,
};
use lamina_types::DiffId;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::Work;
use super::contents::holes_are_empty;
use super::layer::Said;
use crate::layers::LayerError;

/// How many paths a finding shows.
const SHOWN: usize = 3;
/// Times beyond are cut by some filesystem.
const TIMES: std::ops::Range<i64> = -(1 << 31)..(1 << 31);
/// What a file is opened with: never blocking, never following.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// One path that is not what it should be.
#[derive(Debug)]
pub(super) struct Wrong {
    path: Vec<u8>,
    what: &'static str,
}

impl Wrong {
    pub(super) fn new(path: &[u8], what: &'static str) -> Self {
        let path = path.to_vec();
        Self { path, what }
    }
}

/// Returns one line for all of them; `None` if there are none.
pub(super) fn summary(wrong: &[Wrong]) -> Option<String> {
    if wrong.is_empty() {
        return None;
    }
    let some = wrong.iter().take(SHOWN);
    let some: Vec<String> = some
        .map(|one| format!("/{} ({})", Shown(&one.path), one.what))
        .collect();
    let more = match wrong.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{}{more}", some.join(", ")))
}

/// Compares the tree of a layer; `hash` says whether the larger contents are read.
pub(super) fn check(
    work: &Work<'_>,
    diff_id: &DiffId,
    said: &Said,
    hash: bool,
) -> Result<Vec<Wrong>, LayerError> {
    let root = work.store.layers().open_tree(diff_id)?;
    let root = root.as_fd().try_clone_to_owned();
    let root = root.map_err(|source| lamina_fs::PathError {
        act: "open",
        path: work.store.layers().tree(diff_id),
        source,
    })?;
    let mut walk = Walk {
        work,
        said,
        hash,
        wrong: Vec::new(),
        inodes: HashMap::new(),
        hashed: HashSet::new(),
    };
    let mut waiting = vec![(
        said.tree.root(),
        Rc::new(root),
        None::<OsString>,
        Vec::new(),
    )];
    while let Some((id, parent, name, path)) = waiting.pop() {
        let dir = match &name {
            None => parent,
            Some(name) => match openat(&*parent, name, READ | OFlags::DIRECTORY, Mode::empty()) {
                Ok(dir) => Rc::new(dir),
                Err(_) => {
                    walk.found(&path, "cannot be opened");
                    continue;
                }
            },
        };
        for (child, name) in walk.directory(id, &dir, &path) {
            let path = joined(&path, &name);
            waiting.push((child, Rc::clone(&dir), Some(name), path));
        }
    }
    Ok(walk.wrong)
}

fn joined(parent: &[u8], name: &OsStr) -> Vec<u8> {
    let slash: &[u8] = if parent.is_empty() { b"" } else { b"/" };
    [parent, slash, name.as_bytes()].concat()
}

struct Walk<'w, 's> {
    work: &'w Work<'s>,
    said: &'w Said,
    hash: bool,
    wrong: Vec<Wrong>,
    /// Which inode a node with several names has.
    inodes: HashMap<NodeId, u64>,
    /// Inodes whose content has been read.
    hashed: HashSet<u64>,
}

impl Walk<'_, '_> {
    fn found(&mut self, path: &[u8], what: &'static str) {
        self.wrong.push(Wrong::new(path, what));
    }

    /// Compares one directory; returns the directories in it.
    fn directory(&mut self, id: NodeId, dir: &OwnedFd, path: &[u8]) -> Vec<(NodeId, OsString)> {
        let node = self.said.tree.node(id);
        let LayerKind::Directory(names) = &node.kind else {
            return Vec::new();
        };
        let opaque = node.opaque || (path.is_empty() && self.said.tree.opaque_root());
        if is_opaque(dir) != opaque {
            self.found(path, "hides what is below, or does not");
        }
        let Ok(entries) = list(dir.as_fd()) else {
            self.found(path, "cannot be listed");
            return Vec::new();
        };
        for entry in entries {
            if !names.contains_key(entry.name.as_bytes()) {
                self.found(&joined(path, &entry.name), "should not be there");
            }
        }
        if path.is_empty() {
            match rustix::fs::fstat(dir) {
                Ok(stat) => self.metadata(dir, None, path, node, &stat),
                Err(_) => self.found(path, "cannot be read"),
            }
        }
        let mut below = Vec::new();
        for (name, child) in names {
            let name = OsString::from_vec(name.to_vec());
            let path = joined(path, &name);
            let stat = match statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => {
                    self.found(&path, "missing");
                    continue;
                }
                Err(_) => {
                    self.found(&path, "cannot be read");
                    continue;
                }
            };
            if self.node(dir, &name, &path, *child, &stat) {
                below.push((*child, name));
            }
        }
        below
    }

    /// Compares one name; returns whether it is a directory to be gone into.
    fn node(&mut self, dir: &OwnedFd, name: &OsStr, path: &[u8], id: NodeId, stat: &Stat) -> bool {
        let node = self.said.tree.node(id);
        let expected = match &node.kind {
            LayerKind::Directory(_) => FileType::Directory,
            LayerKind::File { .. } => FileType::RegularFile,
            LayerKind::Symlink(_) => FileType::Symlink,
            LayerKind::Char { .. } | LayerKind::Whiteout => FileType::CharacterDevice,
            LayerKind::Block { .. } => FileType::BlockDevice,
            LayerKind::Fifo => FileType::Fifo,
        };
        if FileType::from_raw_mode(stat.st_mode) != expected {
            self.found(path, "kind");
            return false;
        }
        let device = match node.kind {
            LayerKind::Char { major, minor } | LayerKind::Block { major, minor } => {
                rustix::fs::makedev(major, minor)
            }
            _ => 0,
        };
        if stat.st_rdev != device {
            self.found(path, "device");
        }
        if matches!(node.kind, LayerKind::Whiteout) {
            return false;
        }
        if self
            .inodes
            .insert(id, stat.st_ino)
            .is_some_and(|known| known != stat.st_ino)
        {
            self.found(path, "no link of the other");
        }
        self.metadata(dir, Some(name), path, node, stat);
        match &node.kind {
            LayerKind::Directory(_) => return true,
            LayerKind::Symlink(to) => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new());
                if !target.is_ok_and(|found| found.as_bytes() == to.as_slice()) {
                    self.found(path, "target");
                }
            }
            LayerKind::File { size, content } => {
                if u64::try_from(stat.st_size) != Ok(*size) {
                    self.found(path, "size");
                } else if self.hashed.insert(stat.st_ino) {
                    self.content(dir, name, path, *size, content);
                }
            }
            _ => {}
        }
        false
    }

    fn metadata(
        &mut self,
        dir: &OwnedFd,
        name: Option<&OsStr>,
        path: &[u8],
        node: &LayerNode<Content>,
        stat: &Stat,
    ) {
        let meta = &node.meta;
        if (stat.st_uid, stat.st_gid) != (meta.uid, meta.gid) {
            self.found(path, "owner");
        }
        let has_acl = meta
            .xattrs
            .iter()
            .any(|(key, _)| key.starts_with(b"system."));
        // A link has no mode of its own, and an access list changes that of its file.
        let is_link = matches!(node.kind, LayerKind::Symlink(_));
        if stat.st_mode & 0o7777 != meta.mode & 0o7777 && !is_link && !has_acl {
            self.found(path, "mode");
        }
        if !node.implied && !same_time(meta, stat) {
            self.found(path, "time");
        }
        for (key, value) in &meta.xattrs {
            if !has_attribute(dir, name, key, value) {
                self.found(path, "attribute");
            }
        }
    }

    fn content(&mut self, dir: &OwnedFd, name: &OsStr, path: &[u8], size: u64, content: &Content) {
        let same = match content {
            Content::Inline(bytes) => self.is_same(dir, name, bytes),
            Content::Object(_) if !self.hash => return,
            Content::Object(object) => self.is_object(dir, name, size, object),
        };
        match same {
            Ok(true) => {}
            Ok(false) => self.found(path, "content"),
            Err(_) => self.found(path, "cannot be read"),
        }
    }

    fn is_same(&self, dir: &OwnedFd, name: &OsStr, expected: &[u8]) -> io::Result<bool> {
        let file = File::from(openat(dir, name, READ, Mode::empty())?);
        let mut found = Vec::with_capacity(expected.len());
        file.take(expected.len() as u64 + 1)
            .read_to_end(&mut found)?;
        self.work.read(found.len() as u64);
        Ok(found == expected)
    }

    fn is_object(
        &self,
        dir: &OwnedFd,
        name: &OsStr,
        size: u64,
        object: &ObjectRef,
    ) -> io::Result<bool> {
        let file = File::from(openat(dir, name, READ, Mode::empty())?);
        let map = self.said.maps.get(&object.id);
        let kind = match map {
            Some((size, parts)) => {
                if holes_are_empty(&file, *size, parts).is_err() {
                    return Ok(false);
                }
                lamina_layer::Kind::Sparse {
                    size: *size,
                    parts: parts.clone(),
                }
            }
            None => lamina_layer::Kind::File,
        };
        let mut hash = Sha256::new();
        let mut stored = StoredParts::of(file, &kind)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match stored.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    self.work.read(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let stored = ObjectId::from_bytes(hash.finalize().into());
        Ok(object.id
            == match map {
                Some((_, parts)) => ObjectId::sparse(size, parts, stored),
                None => stored,
            })
    }
}

/// Whole seconds are enough where a filesystem keeps no more.
fn same_time(meta: &Meta, stat: &Stat) -> bool {
    let time = meta.mtime;
    !TIMES.contains(&time.seconds)
        || (stat.st_mtime == time.seconds
            && (stat.st_mtime_nsec == u64::from(time.nanoseconds) || stat.st_mtime_nsec == 0))
}

fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0_u8; 1];
    rustix::fs::fgetxattr(dir, "trusted.overlay.opaque", &mut value[..])
        .is_ok_and(|_| value == *b"y")
}

/// Whether an attribute is as the tar has it. What the kernel writes in a form of its own (access
/// lists, capabilities) must be there, in whatever form.
fn has_attribute(dir: &OwnedFd, name: Option<&OsStr>, key: &[u8], value: &[u8]) -> bool {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.unwrap_or(OsStr::new(".")).as_bytes());
    let mut found = vec![0; 64 << 10];
    match rustix::fs::lgetxattr(&path[..], key, &mut found[..]) {
        Ok(length) => {
            let own_form = key.starts_with(b"system.") || key.starts_with(b"security.");
            own_form || found[..length] == *value
        }
        Err(Errno::OPNOTSUPP) => true,
        Err(_) => false,
    }
}
