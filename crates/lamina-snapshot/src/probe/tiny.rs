//! The tiny mounts that tell whether a mode works.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use lamina_erofs::{Metadata, Node, Tree};
use lamina_fs::{At, Dir, Durability, PathError};
use lamina_types::{Rootfs, Source};
use rustix::fs::{Mode, OFlags, XattrFlags};

use super::{ProbeError, Support};
use crate::detached::mount_detached;

/// How the read-only part was mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// From where it is.
    Direct,
    /// Through a loop device.
    LoopDevice,
}

/// Mounts two layers and an upper, reads through and writes.
pub(super) fn plain(dir: &Dir, support: Support) -> Result<Means, ProbeError> {
    let file = |name: &str, inner: &str| -> Result<Dir, PathError> {
        let dir = dir.mkdir(name, 0o755)?;
        dir.create_exclusive(inner, inner.as_bytes(), 0o644, Durability::Volatile)?;
        Ok(dir)
    };
    let (below, above) = (file("below", "b")?, file("above", "a")?);
    let lowers = [&above, &below].map(|dir| Source::Dir(dir.path().to_path_buf()));
    works(dir, support, lowers.to_vec(), None)?;
    Ok(Means::Direct)
}

/// Mounts an image over a data-only layer and an upper, reads through and writes.
pub(super) fn erofs(dir: &Dir, support: Support) -> Result<Means, ProbeError> {
    let data = dir.mkdir("data", 0o755)?;
    object(&data)?;
    let mut tree = Tree::new(Metadata {
        mode: 0o755,
        ..Metadata::default()
    });
    let external = Node::External {
        size: 1,
        object: b"/object".to_vec(),
    };
    for (name, node) in [("a", Node::File(b"a".to_vec())), ("b", external)] {
        let mode = 0o644;
        let metadata = Metadata {
            mode,
            ..Metadata::default()
        };
        let inode = tree.add(metadata, node);
        tree.link(tree.root(), name.as_bytes(), inode);
    }
    let path = dir.path().join("image");
    let mut image = dir.unnamed_file(0o400)?;
    let mut bytes = Vec::new();
    lamina_erofs::write(&tree, [0; 16], &mut bytes).map_err(ProbeError::Image)?;
    image.write_all(&bytes).at("write", &path)?;
    dir.publish(&image, "image")?;
    let means = match lamina_sys::erofs::mounts_from_file(&path) {
        true => Means::Direct,
        false => Means::LoopDevice,
    };
    let source = Source::Erofs { file: path };
    works(dir, support, vec![source], Some(&data))?;
    Ok(means)
}

/// Makes what the pool is made of: a file without a name that gets an attribute and then its name.
fn object(data: &Dir) -> Result<(), ProbeError> {
    let mut object = data.unnamed_file(0o400)?;
    object.write_all(b"b").at("write", data.path())?;
    let flags = XattrFlags::empty();
    // A tmpfs takes no attributes of users before Linux 6.6.
    if rustix::fs::fsetxattr(&object, "user.lamina.probe", b"1", flags).is_err() {
        return Err(ProbeError::Broken("a file takes no user attribute"));
    }
    Ok(data.publish(&object, "object")?)
}

/// Mounts and tries what containers do: `a` and `b` are read, `b` is written.
fn works(
    dir: &Dir,
    support: Support,
    lowers: Vec<Source>,
    data: Option<&Dir>,
) -> Result<(), ProbeError> {
    let (upper, work) = (dir.mkdir("upper", 0o755)?, dir.mkdir("work", 0o700)?);
    let mut options = support.options();
    if support.volatile {
        options.push("volatile".to_owned());
    }
    let root = mount_detached(&Rootfs::Overlay {
        lowers,
        data: data.map(|dir| dir.path().to_path_buf()),
        upper: Some(upper.path().to_path_buf()),
        work: Some(work.path().to_path_buf()),
        options,
    })?;
    for name in ["a", "b"] {
        let mut content = String::new();
        let read = open(&root, name, OFlags::RDONLY).map(|fd| {
            std::fs::File::from(fd)
                .read_to_string(&mut content)
                .map(drop)
        });
        if !matches!(read, Some(Ok(()))) || content != name {
            return Err(ProbeError::Broken("a file of a lower layer is missing"));
        }
    }
    // Without trusted.* attributes in the store this is where it shows.
    if open(&root, "b", OFlags::WRONLY).is_none() || !upper.exists("b")? {
        return Err(ProbeError::Broken("a file cannot be written"));
    }
    Ok(())
}

fn open(root: &OwnedFd, name: &str, flags: OFlags) -> Option<OwnedFd> {
    rustix::fs::openat(root, name, flags | OFlags::CLOEXEC, Mode::empty()).ok()
}
