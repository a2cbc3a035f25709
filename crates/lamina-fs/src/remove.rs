//! Removing a tree: by descriptors only, never through a symbolic link, never into another mount,
//! going on after a failure.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_types::ErrorKind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::dir::{DIRECTORY, Dir, list};
use crate::{At, PathError};

/// How many directories are held open at once. What lies deeper is first moved up to the top of
/// the tree being removed, so that no depth exhausts the descriptors.
const DEPTH: usize = 48;

/// What could not be removed from a tree; everything else of it is gone.
#[derive(Debug, thiserror::Error)]
#[error("remove {}{}", path.display(), others_text(*others))]
pub struct RemoveError {
    /// The tree.
    pub path: PathBuf,
    /// The first failure.
    #[source]
    pub first: PathError,
    /// How many more there were.
    pub others: usize,
}

fn others_text(others: usize) -> String {
    match others {
        0 => String::new(),
        n => format!(" ({n} more entries could not be removed)"),
    }
}

impl RemoveError {
    /// Returns the class of the first failure.
    pub fn kind(&self) -> ErrorKind {
        self.first.kind()
    }
}

impl Dir {
    /// Removes `name` and everything below it; a missing `name` is no error. Idempotent: a call
    /// that was interrupted is continued by the next.
    ///
    /// Symbolic links are removed as themselves, and a mount point below is reported (`EXDEV`),
    /// never entered: what is mounted there is somebody else's data.
    pub fn remove_tree(&self, name: impl AsRef<OsStr>) -> Result<(), RemoveError> {
        let name = name.as_ref();
        let path = self.path.join(name);
        let mut remover = Remover {
            path: path.clone(),
            top: None,
            moved: 0,
            first: None,
            others: 0,
        };
        match self.name("remove", name) {
            Ok(name) => remover.entry(self.fd.as_fd(), name, FileType::Unknown, &path, 0),
            Err(error) => remover.first = Some(error),
        }
        match remover.first {
            None => Ok(()),
            Some(first) => Err(RemoveError {
                path,
                first,
                others: remover.others,
            }),
        }
    }
}

struct Remover {
    path: PathBuf,
    top: Option<OwnedFd>,
    moved: u64,
    first: Option<PathError>,
    others: usize,
}

impl Remover {
    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        kind: FileType,
        path: &Path,
        depth: usize,
    ) {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return,
                Err(Errno::ISDIR) => {}
                Err(error) => return self.failed(Err(error).at("remove", path)),
            }
        }
        let child = match open_subdirectory(dir, name) {
            Ok(child) => child,
            Err(Errno::NOENT) => return,
            // Replaced by a file or link since the listing: remove that, once.
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => self.failed(Err(error).at("remove", path)),
                };
            }
            Err(error) => return self.failed(Err(error).at("open", path)),
        };
        if depth == 0 {
            self.top = child.try_clone().ok();
        }
        self.contents(child.as_fd(), path, depth);
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Its content's own failure has been noted.
            Err(Errno::NOTEMPTY) if self.first.is_some() => {}
            Err(error) => self.failed(Err(error).at("remove", path)),
        }
    }

    fn contents(&mut self, dir: BorrowedFd<'_>, path: &Path, depth: usize) {
        loop {
            let moved = self.moved;
            let entries = match list(dir) {
                Ok(entries) => entries,
                // Another process removes the same tree and was here first.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(error) => return self.failed(Err(error).at("list", path)),
            };
            for entry in entries {
                let deep = depth >= DEPTH && entry.kind == FileType::Directory;
                if !(deep && self.hoist(dir, &entry.name)) {
                    let below = path.join(&entry.name);
                    self.entry(dir, &entry.name, entry.kind, &below, depth + 1);
                }
            }
            // The top is listed again for what was moved up into it; elsewhere one pass is enough.
            if depth != 0 || moved == self.moved {
                return;
            }
        }
    }

    /// Moves a deep directory to the top of the tree; false where the kernel refuses.
    fn hoist(&mut self, dir: BorrowedFd<'_>, name: &OsStr) -> bool {
        let Some(top) = &self.top else { return false };
        let to = OsString::from(format!(".tmp-deep-{}", self.moved + 1));
        let moved = rustix::fs::renameat(dir, name, top, &to).is_ok();
        self.moved += u64::from(moved);
        moved
    }

    fn failed(&mut self, result: Result<(), PathError>) {
        let Err(mut error) = result else { return };
        if error.path.as_os_str().len() > 1024 {
            error.path = self.path.join("…");
        }
        match self.first {
            None => self.first = Some(error),
            Some(_) => self.others += 1,
        }
    }
}

fn open_subdirectory(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = DIRECTORY | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let open = || rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve);
    match open() {
        // Without CAP_DAC_OVERRIDE a directory of mode 0 that is ours needs its bits first.
        Err(Errno::ACCESS) => {
            let _ = rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::SYMLINK_NOFOLLOW);
            open()
        }
        other => other,
    }
}
