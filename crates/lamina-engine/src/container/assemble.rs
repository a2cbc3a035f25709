//! The tree of a container that does not run, put together as it is when it runs.
//!
//! In a mount namespace of its own, which a thread makes and which lives as long as the descriptor
//! that is returned: nothing of it is ever on the host, and nothing is left when everything is
//! killed. So whoever looks for a path in it finds what a process of the container would.

use std::fs::metadata;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use lamina_fs::{At, PathError, Root};
use lamina_snapshot::mount_detached;
use lamina_sys::mount::{Attributes, RDONLY, set_attributes};
use lamina_types::Rootfs;
use lamina_types::mount::MountKind;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use rustix::thread::UnshareFlags;

use crate::Engine;
use crate::container::cp::CopyError;
use crate::container::find::Container;
use crate::files::EtcFiles;
use crate::process::lexically;
use crate::rootfs::RootfsError;
use crate::volumes;

/// What is mounted in a container, and where.
#[derive(Debug)]
pub(crate) struct Place {
    source: Source,
    /// The part of it that is mounted.
    beneath: Option<PathBuf>,
    target: PathBuf,
    read_only: bool,
}

#[derive(Debug)]
enum Source {
    /// A file or directory of this machine.
    Host(PathBuf),
    Image(Rootfs),
}

impl Engine {
    /// Returns what is mounted in a container when it runs, shallow places first: volumes, images,
    /// binds, and the generated files of `/etc`. What is empty at every start is left out.
    pub(crate) fn places(&self, container: &Container) -> Result<Vec<Place>, CopyError> {
        let record = &container.record;
        let mut places = Vec::new();
        for (source, target) in EtcFiles::in_dir(container.dir.path()).mounts() {
            places.push(Place {
                source: Source::Host(source),
                beneath: None,
                target,
                read_only: false,
            });
        }
        let mounts = volumes::mounts(&self.store, &record.volumes)?.into_iter();
        places.extend(mounts.filter(|one| one.kind == "bind").map(|one| Place {
            source: Source::Host(one.source),
            beneath: one.subpath,
            target: lexically(&one.target),
            read_only: one.read_only,
        }));
        for image in &record.images {
            places.push(Place {
                source: Source::Image(self.image_view(image)?),
                beneath: image.subpath.clone(),
                target: lexically(&image.target),
                read_only: true,
            });
        }
        for mount in &record.request.mounts {
            // One whose source has gone cannot be started either.
            if let MountKind::Bind { source, .. } = &mount.kind
                && metadata(source).is_ok()
            {
                places.push(Place {
                    source: Source::Host(source.clone()),
                    beneath: None,
                    target: lexically(&mount.target),
                    read_only: mount.read_only,
                });
            }
        }
        places.sort_by_key(|place| place.target.components().count());
        Ok(places)
    }
}

/// Mounts a root filesystem and what belongs in it. Returns its root, and the namespace that holds
/// the mounts.
pub(crate) fn assemble(
    rootfs: &Rootfs,
    places: &[Place],
    read_only: bool,
) -> Result<(Root, OwnedFd), RootfsError> {
    let work = || -> Result<(Root, OwnedFd), RootfsError> {
        const OWN: &str = "/proc/thread-self/ns/mnt";
        lamina_sys::namespace::unshare(UnshareFlags::NEWNS).at("make a namespace for", "/")?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).at("make private", "/")?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(OWN, flags, Mode::empty()).at("open", OWN)?;
        let root = over_root(mount_detached(rootfs)?, Path::new("/"))?;
        for place in places {
            attach(&root, place)?;
        }
        if read_only {
            seal(root.as_fd()).at("make read-only", "/")?;
        }
        Ok((root, namespace))
    };
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|_| Ok(Err(Errno::AGAIN).at("mount", "/")?))
}

/// Attaches a mount over the root of this namespace, where no path leads to: what is not attached
/// cannot be mounted on, nor a part of it taken.
fn over_root(mount: OwnedFd, shown: &Path) -> Result<Root, PathError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&mount, "", CWD, "/", flags).at("attach", shown)?;
    Ok(Root::from_fd(mount))
}

fn seal(mount: impl AsFd) -> Result<(), Errno> {
    let attributes = Attributes {
        set: RDONLY,
        ..Attributes::default()
    };
    set_attributes(mount.as_fd(), &attributes)
}

fn attach(root: &Root, place: &Place) -> Result<(), RootfsError> {
    let shown = &place.target;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = match (&place.source, &place.beneath) {
        (Source::Host(path), None) => {
            flags |= OpenTreeFlags::AT_RECURSIVE;
            open_tree(CWD, path, flags).at("open", path)?
        }
        (Source::Host(path), Some(part)) => clone(
            &Root::open_path(path)?,
            part,
            flags | OpenTreeFlags::AT_RECURSIVE,
        )?,
        (Source::Image(view), part) => {
            let whole = over_root(mount_detached(view)?, shown)?;
            let part = part.as_deref().unwrap_or(Path::new("."));
            clone(&whole, part, flags)?
        }
    };
    if place.read_only {
        seal(&tree).at("make read-only", shown)?;
    }
    let kind = FileType::from_raw_mode(fstat(&tree).at("stat", shown)?.st_mode);
    let target = match kind {
        FileType::Directory => root.create_dir_all(shown, 0o755, None)?,
        _ => root.ensure_file(shown)?,
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(&tree, "", &target, "", flags).at("mount on", shown)?)
}

/// Clones the mount of a part of a tree, which no link leads out of.
fn clone(root: &Root, part: &Path, flags: OpenTreeFlags) -> Result<OwnedFd, PathError> {
    let opened = root.open(part, OFlags::PATH)?;
    open_tree(opened, "", flags | OpenTreeFlags::AT_EMPTY_PATH).at("open", part)
}
