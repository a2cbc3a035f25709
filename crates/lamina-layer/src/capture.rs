//! What a container changed, as the tar of a layer: what `commit` makes.
//!
//! The list of changes comes from the upper directory alone; what they are is read from the merged
//! tree, where metadata-only copies have their content and moved directories what is in them.
//!
//! The tar is canonical: entries sorted by path, each deletion by name (never by hiding a whole
//! directory), so that what was changed in the same way gives the same bytes.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lamina_fs::{At, Root};
use lamina_types::ErrorKind;
use rustix::fs::{AtFlags, OFlags};

use crate::archive::{ArchiveError, Archiver, LinkKey, TakeContent, attributes, link_key, meta_of};
use crate::diff::{Change, ChangeKind, DiffError, Lower, diff};

/// What stands before the name of what is gone.
const WHITEOUT: &[u8] = b".wh.";

/// The changes of a container could not be archived.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// They could not be found.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// They could not be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl CaptureError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Diff(error) => error.kind(),
            Self::Archive(error) => error.kind(),
        }
    }
}

impl From<lamina_fs::PathError> for CaptureError {
    fn from(error: lamina_fs::PathError) -> Self {
        Self::Archive(error.into())
    }
}

/// The layers below an upper directory, as overlayfs merges them.
#[derive(Debug)]
pub struct Below<'r>(pub &'r Root);

impl Lower for Below<'_> {
    fn exists(&self, path: &Path) -> bool {
        let opened = self.0.open(path, OFlags::PATH | OFlags::NOFOLLOW);
        opened.is_ok()
    }

    fn names(&self, path: &Path) -> Vec<OsString> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let Ok(directory) = self.0.open(path, flags) else {
            return Vec::new();
        };
        let entries = lamina_fs::list(directory.as_fd()).unwrap_or_default();
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

/// Writes what `upper` changes of `below` as a layer's tar; `merged` is both, as the container sees
/// them. Returns the stream and how many entries it has: none if nothing was changed.
///
/// Contents that the upper has itself are offered to `take` first.
///
/// The upper may be in use; what vanishes meanwhile is left out, and a file that becomes shorter
/// while it is read is an error.
pub fn capture<W: Write>(
    upper: BorrowedFd<'_>,
    below: &Root,
    merged: &Root,
    out: W,
    take: Option<TakeContent<W>>,
) -> Result<(W, u64), CaptureError> {
    let changes = diff(upper, Below(below))?;
    let own = Root::from_fd(upper.try_clone_to_owned().at("open", "/")?);
    let mut archiver = Archiver::new(out);
    if let Some(take) = take {
        let upper = upper.try_clone_to_owned().at("open", "/")?;
        archiver = archiver.offering(Root::from_fd(upper), take);
    }
    if root_differs(below, merged)? {
        let root = merged.open(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        archiver.add(root.as_fd(), ".".as_ref(), b"./", None)?;
    }
    for change in &changes {
        let path = change.path.as_os_str().as_bytes();
        if change.kind == ChangeKind::Deleted {
            archiver.marker(&whiteout(path))?;
            continue;
        }
        let (parent, name) = match merged.open_parent(&change.path) {
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        let link = link_of(&own, merged, change)?;
        archiver.add(parent.as_fd(), &name, path, link)?;
    }
    let entries = archiver.entries();
    Ok((archiver.finish()?, entries))
}

fn whiteout(path: &[u8]) -> Vec<u8> {
    let name = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    [&path[..name], WHITEOUT, &path[name..]].concat()
}

/// Says which inode a change is, where that has several names: by the upper directory, because
/// overlayfs has numbers of its own; what is only in a moved directory is known by the merged tree.
fn link_of(own: &Root, merged: &Root, change: &Change) -> Result<Option<LinkKey>, CaptureError> {
    for root in [own, merged] {
        let (parent, name) = match root.open_parent(&change.path) {
            Err(_) => continue,
            Ok(found) => found,
        };
        if let Ok(stat) = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            return Ok(link_key(&stat));
        }
    }
    Ok(None)
}

/// Says whether the root directory itself was changed, beside what is in it.
fn root_differs(below: &Root, merged: &Root) -> Result<bool, CaptureError> {
    let look = |root: &Root| -> Result<_, CaptureError> {
        let fd = root.open(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut meta = meta_of(&rustix::fs::fstat(&fd).at("stat", "/")?);
        meta.mtime = Default::default();
        meta.xattrs = attributes(fd.as_fd(), ".".as_ref()).at("read the attributes of", "/")?;
        Ok(meta)
    };
    Ok(look(below)? != look(merged)?)
}
