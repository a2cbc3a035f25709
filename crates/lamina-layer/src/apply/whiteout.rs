//! Deletions: the tar's names to overlayfs' forms.
//!
//! Sources: OCI image-spec layer.md, "Whiteouts"; kernel overlayfs.rst, "whiteouts and opaque
//! directories". A whiteout is about the layers below, so it never removes what its own layer
//! has, in whatever order the two come.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;

use super::{ApplyError, Layer, Refusal};
use crate::path::split;

/// What a name with `.wh.` in it asks for.
pub(crate) enum Mark {
    /// The parent directory hides everything below it.
    Opaque,
    /// This name is deleted.
    Whiteout(Vec<u8>),
    /// The old aufs' own bookkeeping: nothing.
    Ignored,
}

impl Mark {
    pub(crate) fn of(path: &[u8], raw: &[u8]) -> Result<Option<Self>, ApplyError> {
        if !path.windows(4).any(|w| w == b".wh.") {
            return Ok(None);
        }
        let (parent, name) = split(path);
        if parent
            .split(|&b| b == b'/')
            .any(|part| part.starts_with(b".wh..wh."))
        {
            return Ok(Some(Self::Ignored));
        }
        if name == b".wh..wh..opq" {
            return Ok(Some(Self::Opaque));
        }
        if name.starts_with(b".wh..wh.") {
            return Ok(Some(Self::Ignored));
        }
        match name.strip_prefix(b".wh.") {
            None => Ok(None),
            Some(b"" | b"." | b"..") => Err(ApplyError::refused(raw, Refusal::BadWhiteout)),
            Some(hidden) => Ok(Some(Self::Whiteout(hidden.to_vec()))),
        }
    }
}

impl Layer<'_> {
    pub(super) fn mark(&mut self, path: &[u8], mark: Mark) -> Result<(), ApplyError> {
        let (parent_path, _) = split(path);
        let at = |act| move |error| ApplyError::at(path, act, error);
        match mark {
            Mark::Ignored => Ok(()),
            Mark::Opaque if parent_path.is_empty() => {
                self.applied.opaque_root = true;
                let root = self.parents.root().map_err(at("open the parent of"))?;
                set_opaque(&root).map_err(at("set the opaque mark of the parent of"))
            }
            Mark::Opaque => {
                let parent = self.parent(parent_path, path)?;
                let parent =
                    super::attributes::reopen(&parent).map_err(at("open the parent of"))?;
                set_opaque(&parent).map_err(at("set the opaque mark of the parent of"))
            }
            Mark::Whiteout(name) => {
                let parent = self.parent(parent_path, path)?;
                hide(&*parent, &name).map_err(at("make whiteout"))
            }
        }
    }
}

/// Hides `name` of the layers below.
fn hide(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    let parent = parent.as_fd();
    let device = rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0);
    if device != Err(Errno::EXIST) {
        return device;
    }
    // This layer has the name already: a file hides what is below by itself, a directory when it
    // is opaque.
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        set_opaque(super::attributes::open_directory(parent, name)?)?;
    }
    Ok(())
}

/// Whether overlayfs takes this for a deletion.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Marks a directory (open for more than a path) as hiding what is below it.
pub(super) fn set_opaque(directory: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(
        directory,
        "trusted.overlay.opaque",
        b"y",
        XattrFlags::empty(),
    )
}
