//! Paths that are hidden, and paths that are made read-only.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_fs::Root;
use lamina_sys::mount::{Attributes, NODEV, NOEXEC, NOSUID, RDONLY, set_attributes};
use lamina_types::explain::Explainer;
use rustix::fs::{FileType, Mode, OFlags, fstat, makedev, open};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::mounts::attach;
use super::report::{Failure, Step};
use crate::compat::new_filesystem;
use crate::plan::Plan;

/// Hides and protects what the plan says. A path the kernel does not have is skipped; anything
/// else that goes wrong stops the container: it never starts unmasked.
pub(super) fn apply(root: &Root, plan: &Plan, explain: &mut Explainer) -> Result<(), Failure> {
    explain.step(
        "read-only paths",
        "kernel switches that would change the host",
        || list("mount -o bind,ro", &plan.readonly_paths),
        || {
            plan.readonly_paths
                .iter()
                .try_for_each(|path| protect(root, path))
        },
    )?;
    explain.step(
        "masked paths",
        "kernel files, where they exist, that tell about the host or its other tenants",
        || list("mount --bind /dev/null", &plan.masked),
        || {
            let mut masks = Masks {
                root,
                null: None,
                empty: None,
            };
            plan.masked.iter().try_for_each(|path| masks.hide(path))
        },
    )
}

fn list(command: &str, paths: &[impl AsRef<Path>]) -> String {
    let paths = paths.iter().map(|path| path.as_ref().display().to_string());
    format!("{command} {}", paths.collect::<Vec<_>>().join(" "))
}

/// Opens a path to mount on; `None` where there is nothing.
fn existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>, Failure> {
    match root.open(path, OFlags::PATH) {
        Ok(target) => Ok(Some(target)),
        Err(error) => match Errno::from_io_error(&error.source) {
            Some(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            errno => Err(Failure::new(
                &format!("look for {}", path.display()),
                errno.unwrap_or(Errno::IO),
            )),
        },
    }
}

/// Binds a path read-only on itself. The same descriptor is source and target, so both are the
/// same inode whatever happens to the path.
fn protect(root: &Root, path: &Path) -> Result<(), Failure> {
    let Some(target) = existing(root, path)? else {
        return Ok(());
    };
    let act = || format!("make {} read-only", path.display());
    let tree = clone(&target, OpenTreeFlags::AT_RECURSIVE).step(act)?;
    let attributes = Attributes {
        set: RDONLY,
        recursive: true,
        ..Attributes::default()
    };
    set_attributes(tree.as_fd(), &attributes).step(act)?;
    attach(&tree, &target, path)
}

fn clone(source: &impl AsFd, more: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(source.as_fd(), "", flags | more)
}

/// What masks are made of, opened when first needed.
struct Masks<'a> {
    root: &'a Root,
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Masks<'_> {
    fn hide(&mut self, path: &Path) -> Result<(), Failure> {
        let Some(target) = existing(self.root, path)? else {
            return Ok(());
        };
        let act = || format!("mask {}", path.display());
        let stat = fstat(&target).step(act)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return self.hide_directory(path, &target);
        }
        let null = match self.null.take() {
            Some(null) => null,
            None => null_device(self.root)?,
        };
        let mask = clone(&null, OpenTreeFlags::empty()).step(act)?;
        self.null = Some(null);
        attach(&mask, &target, path)
    }

    fn hide_directory(&mut self, path: &Path, target: &OwnedFd) -> Result<(), Failure> {
        // One empty filesystem serves all; the first use attaches it, the others clone that.
        let mask = match &self.empty {
            Some(first) => {
                clone(first, OpenTreeFlags::empty()).step(|| format!("mask {}", path.display()))?
            }
            None => {
                let parameters = [("source", Some("tmpfs"))];
                new_filesystem("tmpfs", &parameters, RDONLY | NOSUID | NODEV | NOEXEC)?
            }
        };
        attach(&mask, target, path)?;
        if self.empty.is_none() {
            self.empty = Some(mask);
        }
        Ok(())
    }
}

/// Opens a null device that is one: the container's, else the host's (CVE-2025-31133).
fn null_device(root: &Root) -> Result<OwnedFd, Failure> {
    let is_null = |fd: &OwnedFd| {
        fstat(fd).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && stat.st_rdev == makedev(1, 3)
        })
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let own = root.open("/dev/null", flags).ok().filter(is_null);
    let host = || open("/dev/null", flags, Mode::empty()).ok().filter(is_null);
    own.or_else(host)
        .ok_or_else(|| Failure::invalid("there is no null device to mask paths with".to_owned()))
}
