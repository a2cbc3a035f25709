//! Sources of bind mounts, taken as detached trees while the host is in sight.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_fs::Root;
use lamina_sys::mount::{Attributes, PropagationType, set_attributes};
use rustix::fs::{CWD, OFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::report::{Failure, Step};
use crate::plan::mounts::{MountPlan, What};

/// Opens the source of each bind, and sets its attributes and propagation before anybody can see
/// it. The entries are in the order of `mounts`; what is no bind has none.
pub(super) fn open_sources(mounts: &[MountPlan]) -> Result<Vec<Option<OwnedFd>>, Failure> {
    mounts.iter().map(open).collect()
}

/// Clones what is mounted at `source`, or at the part `beneath` it, which no link leads out of;
/// `shown` is what people call the source.
pub(super) fn clone(
    source: &Path,
    beneath: Option<&Path>,
    flags: OpenTreeFlags,
    shown: &Path,
) -> Result<OwnedFd, Failure> {
    let Some(part) = beneath else {
        return open_tree(CWD, source, flags).step(|| format!("bind {}", shown.display()));
    };
    let act = || format!("bind {} in {}", part.display(), shown.display());
    let root = Root::open_path(source).step(act)?;
    let part = root.open(part, OFlags::PATH).step(act)?;
    open_tree(part, "", flags | OpenTreeFlags::AT_EMPTY_PATH).step(act)
}

fn open(mount: &MountPlan) -> Result<Option<OwnedFd>, Failure> {
    let What::Bind {
        source,
        beneath,
        recursive,
    } = &mount.what
    else {
        return Ok(None);
    };
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if *recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = clone(source, beneath.as_deref(), flags, source)?;
    let (propagation, below) = mount
        .propagation
        .unwrap_or((PropagationType::Private, true));
    let act = || format!("set the options of the bind of {}", source.display());
    set_attributes(
        tree.as_fd(),
        &Attributes {
            propagation: Some(propagation),
            recursive: below,
            ..Attributes::default()
        },
    )
    .step(act)?;
    if mount.attributes | mount.clear != 0 {
        let attributes = Attributes {
            set: mount.attributes,
            clear: mount.clear,
            ..Attributes::default()
        };
        set_attributes(tree.as_fd(), &attributes).step(act)?;
    }
    if mount.recursive != 0 {
        let attributes = Attributes {
            set: mount.recursive,
            recursive: true,
            ..Attributes::default()
        };
        set_attributes(tree.as_fd(), &attributes).step(act)?;
    }
    Ok(Some(tree))
}
