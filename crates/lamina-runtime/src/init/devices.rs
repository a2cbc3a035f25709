//! Device nodes and the links of /dev.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_fs::Root;
use lamina_types::explain::Explainer;
use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, Uid, chownat, makedev, mknodat, openat, statat,
    symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::mounts::attach;
use super::report::{Failure, Step};
use crate::plan::devices::Node;
use crate::spec_default::DEVICE_LINKS;

/// Makes the nodes and the links. What exists already is never replaced nor followed: without a
/// fresh /dev it belongs to the image.
pub(super) fn make(root: &Root, nodes: &[Node], explain: &mut Explainer) -> Result<(), Failure> {
    explain.step(
        "devices",
        "only harmless ones: nothing of the host's disks or memory",
        || command(nodes),
        || {
            let dev = root
                .create_dir_all("/dev", 0o755, None)
                .step(|| "open /dev".to_owned())?;
            for node in nodes {
                match node.path.strip_prefix("/dev") {
                    Ok(name) if name.components().count() == 1 => make_node(&dev, name, node)?,
                    _ => make_deep(root, node)?,
                }
            }
            for (name, target) in DEVICE_LINKS {
                match symlinkat(target, &dev, name) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(Failure::new(&format!("link /dev/{name}"), errno)),
                }
            }
            Ok(())
        },
    )
}

fn command(nodes: &[Node]) -> String {
    let nodes = nodes.iter().map(|node| {
        let kind = match node.kind {
            FileType::BlockDevice => "b",
            FileType::Fifo => "p",
            _ => "c",
        };
        let (mode, path) = (node.mode, node.path.display());
        format!(
            "mknod -m {mode:o} {path} {kind} {} {}",
            node.major, node.minor
        )
    });
    nodes.collect::<Vec<_>>().join("; ")
}

fn make_deep(root: &Root, node: &Node) -> Result<(), Failure> {
    let shown = || format!("make the device {}", node.path.display());
    let parent = node.path.parent().unwrap_or(Path::new("/"));
    let name = node.path.file_name().unwrap_or_default();
    let parent = root.create_dir_all(parent, 0o755, None).step(shown)?;
    make_node(&parent, Path::new(name), node)
}

fn make_node(parent: &OwnedFd, name: &Path, node: &Node) -> Result<(), Failure> {
    let shown = || format!("make the device {}", node.path.display());
    let number = makedev(node.major, node.minor);
    let mode = Mode::from_raw_mode(node.mode);
    match mknodat(parent, name, node.kind, mode, number) {
        Ok(()) => {}
        Err(Errno::EXIST) => return exists(parent, name, node, number),
        // No CAP_MKNOD, or a filesystem mounted nodev: the host's own node is bound instead.
        Err(Errno::PERM | Errno::ACCESS) => return bind(parent, name, node),
        Err(errno) => return Err(Failure::new(&shown(), errno)),
    }
    if node.uid != 0 || node.gid != 0 {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        chownat(
            parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .step(shown)?;
    }
    Ok(())
}

/// A node that is there already must be that device; anything else is the image's attempt at
/// something (CVE-2025-31133).
fn exists(parent: &OwnedFd, name: &Path, node: &Node, number: Dev) -> Result<(), Failure> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .step(|| format!("look at {}", node.path.display()))?;
    let same = FileType::from_raw_mode(stat.st_mode) == node.kind
        && (node.kind == FileType::Fifo || stat.st_rdev == number);
    if same {
        return Ok(());
    }
    let path = node.path.display();
    Err(Failure::invalid(format!(
        "{path} is in the way: it is not the device it should be"
    )))
}

fn bind(parent: &OwnedFd, name: &Path, node: &Node) -> Result<(), Failure> {
    let shown = || format!("bind the device {}", node.path.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, &node.path, flags).step(shown)?;
    let stat = rustix::fs::fstat(&tree).step(shown)?;
    if stat.st_rdev != makedev(node.major, node.minor) {
        let path = node.path.display();
        return Err(Failure::invalid(format!(
            "the host's {path} is not the device it should be"
        )));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::from_raw_mode(0o644)).step(shown)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(parent, name, flags, Mode::empty()).step(shown)?;
    attach(&tree.as_fd(), &target, &node.path)
}
