//! The root filesystem: mounted, filled, entered, and the host's let go.

use std::os::fd::{AsFd, OwnedFd};

use lamina_fs::Root;
use lamina_sys::mount::{Attributes, PropagationType, RDONLY, set_attributes};
use lamina_types::explain::Explainer;
use lamina_types::{Rootfs, Source};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
    open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use super::Context;
use super::report::{Failure, Step};
use crate::compat;

/// Makes every mount private: what happens here stays here, and detaching the host's tree later
/// does not unmount it on the host.
pub(super) fn make_private() -> Result<(), Errno> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
}

/// Mounts the root filesystem over `/` of this namespace, where nobody looks: no directory is
/// needed as a mount point, and the mount exists nowhere else.
pub(super) fn mount(context: &Context<'_>, explain: &mut Explainer) -> Result<Root, Failure> {
    let rootfs = &context.plan.rootfs;
    explain.step(
        "root filesystem",
        "the image's layers read-only, one writable layer on top",
        || command(rootfs),
        || {
            let tree = match rootfs {
                Rootfs::Dir(path) => {
                    let flags = OpenTreeFlags::OPEN_TREE_CLONE
                        | OpenTreeFlags::OPEN_TREE_CLOEXEC
                        | OpenTreeFlags::AT_RECURSIVE;
                    let tree = open_tree(CWD, path, flags)
                        .step(|| format!("open the root filesystem {}", path.display()))?;
                    make_tree_private(&tree)?;
                    tree
                }
                Rootfs::Overlay { .. } => compat::overlay(rootfs, context.bundle)?,
            };
            move_mount(&tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .step(|| "attach the root filesystem".to_owned())?;
            Ok(Root::from_fd(tree))
        },
    )
}

fn make_tree_private(tree: &OwnedFd) -> Result<(), Failure> {
    let attributes = Attributes {
        propagation: Some(PropagationType::Private),
        recursive: true,
        ..Attributes::default()
    };
    set_attributes(tree.as_fd(), &attributes).step(|| "make the root filesystem private".to_owned())
}

/// Returns mount(8)'s command for a root filesystem.
fn command(rootfs: &Rootfs) -> String {
    match rootfs {
        Rootfs::Dir(path) => format!("mount --rbind {} rootfs", path.display()),
        Rootfs::Overlay {
            lowers,
            data,
            upper,
            work,
            options,
        } => {
            let mut line = String::new();
            let mut names = Vec::new();
            for (number, lower) in lowers.iter().enumerate() {
                match lower {
                    Source::Dir(path) => names.push(path.display().to_string()),
                    // Mounted without a place in the tree; for people it gets one.
                    Source::Erofs { file } => {
                        line +=
                            &format!("mount -t erofs -o ro {} layer{number} && ", file.display());
                        names.push(format!("layer{number}"));
                    }
                }
            }
            line += &format!("mount -t overlay -o lowerdir={}", names.join(":"));
            if let Some(data) = data {
                line += &format!("::{}", data.display());
            }
            for (key, path) in [("upperdir", upper), ("workdir", work)] {
                if let Some(path) = path {
                    line += &format!(",{key}={}", path.display());
                }
            }
            for option in options {
                line += &format!(",{option}");
            }
            line + " overlay rootfs"
        }
    }
}

/// Makes the root filesystem itself read-only where asked; what is mounted in it is not.
pub(super) fn seal(root: &Root, readonly: bool, explain: &mut Explainer) -> Result<(), Failure> {
    if !readonly {
        return Ok(());
    }
    let attributes = Attributes {
        set: RDONLY,
        ..Attributes::default()
    };
    explain
        .step(
            "read-only root",
            "the image cannot be changed, not even in the writable layer",
            || "mount -o remount,bind,ro /".to_owned(),
            || set_attributes(root.as_fd(), &attributes),
        )
        .step(|| "make the root filesystem read-only".to_owned())
}

/// Changes the root: the container's tree becomes `/`, and the host's is let go for good.
///
/// `pivot_root(".", ".")` stacks the old root on the new one (pivot_root(2), NOTES), from where it
/// is detached. A chroot would leave the host's tree one descriptor away.
pub(super) fn pivot(root: &Root, explain: &mut Explainer) -> Result<(), Failure> {
    explain.step(
        "pivot_root",
        "the host's files are not hidden but gone from this mount namespace",
        || "cd rootfs && pivot_root . . && umount -l . && cd /".to_owned(),
        || {
            fchdir(root).step(|| "enter the root filesystem".to_owned())?;
            pivot_root(".", ".").map_err(pivot_failure)?;
            unmount(".", UnmountFlags::DETACH)
                .step(|| "detach the host's root filesystem".to_owned())?;
            chdir("/").step(|| "enter the new root".to_owned())
        },
    )
}

/// The kernel's own first root, the initial ramfs, has no parent mount and cannot be pivoted away
/// from; a chroot instead could be left again, so there is none.
fn pivot_failure(errno: Errno) -> Failure {
    match errno {
        Errno::INVAL => Failure::invalid(
            "pivot_root: the host's root is the initial ramfs, which cannot be replaced; \
             let the host's init move to another filesystem first (switch_root)"
                .to_owned(),
        ),
        _ => Failure::new("pivot_root", errno),
    }
}
