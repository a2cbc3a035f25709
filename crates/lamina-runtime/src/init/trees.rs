//! Trees of images, mounted beside the root filesystem.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_sys::mount::{Attributes, set_attributes};
use lamina_types::Rootfs;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, unmount};

use super::binds;
use super::report::{Failure, Step};
use crate::compat;
use crate::plan::mounts::MountPlan;

/// Mounts the tree of an image, or the part `beneath` it, detached. This mount namespace must be private by now:
/// `spare` is a directory that is mounted on meanwhile.
pub(super) fn mount(
    plan: &MountPlan,
    (source, tree): (&str, &Rootfs),
    beneath: Option<&Path>,
    spare: &Path,
) -> Result<OwnedFd, Failure> {
    let shown = Path::new(source);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = match (tree, beneath) {
        (Rootfs::Dir(path), _) => binds::clone(path, beneath, flags, shown)?,
        (Rootfs::Overlay { .. }, None) => compat::overlay(tree, spare)?,
        (Rootfs::Overlay { .. }, Some(_)) => {
            // A part of a mount can be taken where that is attached (before Linux 6.15).
            let whole = compat::overlay(tree, spare)?;
            let attach = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&whole, "", CWD, spare, attach).step(|| plan.command())?;
            let part = binds::clone(spare, beneath, flags, shown);
            unmount(spare, UnmountFlags::DETACH).step(|| plan.command())?;
            part?
        }
    };
    let attributes = Attributes {
        set: plan.attributes,
        clear: plan.clear,
        ..Attributes::default()
    };
    set_attributes(tree.as_fd(), &attributes).step(|| plan.command())?;
    Ok(tree)
}
