//! `ps -s`, `inspect -s`, `diff --stat`: what a container has written.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use lamina_fs::{Dir, Root};
use lamina_layer::{Change, ChangeKind};
use lamina_types::ContainerId;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat};

use crate::Engine;
use crate::container::diff::DiffError;
use crate::rootfs;

/// What a container takes, in bytes of contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerSize {
    /// What it has written: contents of files in its writable layer, each file once.
    pub written: u64,
    /// The contents of its image's layers, which other containers share.
    pub image: u64,
}

impl Engine {
    /// Returns what a container takes; walks its writable layer. What goes away meanwhile is left
    /// out.
    pub fn size(&self, id: &ContainerId) -> Result<ContainerSize, DiffError> {
        let record = self.load(id)?.record;
        let layers = self.store.layers();
        let image = record.layers.iter();
        let image = image.map(|diff_id| match layers.get(diff_id) {
            Ok(Some(layer)) => layer.info.size,
            _ => 0,
        });
        let written = match rootfs::split(self.existing_rootfs(id)?) {
            Some((upper, _)) => contents(&Dir::open(upper)?),
            None => 0,
        };
        Ok(ContainerSize {
            written,
            image: image.sum(),
        })
    }
}

impl Engine {
    /// Lists what a container has changed as [`Engine::diff`], with the contents that each entry
    /// has of its own.
    pub fn diff_sizes(&self, id: &ContainerId) -> Result<Vec<(Change, u64)>, DiffError> {
        let changes = self.diff(id)?;
        let Some((upper, _)) = rootfs::split(self.existing_rootfs(id)?) else {
            return Ok(Vec::new());
        };
        let upper = Root::open_path(upper)?;
        let sized = changes.into_iter().map(|change| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let file = match change.kind {
                ChangeKind::Deleted => None,
                // What a running container removes meanwhile has no size.
                _ => upper.open(&change.path, flags).ok(),
            };
            let stat = file.and_then(|file| fstat(file).ok());
            let stat =
                stat.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
            let size = stat.map_or(0, |stat| stored(&stat));
            (change, size)
        });
        Ok(sized.collect())
    }
}

/// Returns how much content a file has of its own: a copy of metadata alone has none, and holes
/// are none.
fn stored(stat: &Stat) -> u64 {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    size.min(blocks.saturating_mul(512))
}

/// Sums the contents below a directory.
fn contents(dir: &Dir) -> u64 {
    let mut seen = HashSet::new();
    let mut sum = 0;
    let mut waiting: Vec<(Rc<OwnedFd>, Option<OsString>)> = Vec::new();
    waiting.extend((dir.as_fd().try_clone_to_owned().ok()).map(|dir| (Rc::new(dir), None)));
    while let Some((above, name)) = waiting.pop() {
        // A folder stays open only as long as folders in it wait.
        let dir = match name {
            None => above,
            Some(name) => match open(&above, &name) {
                Ok(dir) => Rc::new(dir),
                Err(_) => continue,
            },
        };
        for entry in lamina_fs::list(dir.as_fd()).unwrap_or_default() {
            let name = &entry.name;
            let Ok(stat) = rustix::fs::statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => waiting.push((Rc::clone(&dir), Some(entry.name))),
                FileType::RegularFile if stat.st_nlink == 1 || seen.insert(stat.st_ino) => {
                    sum += stored(&stat);
                }
                _ => {}
            }
        }
    }
    sum
}

fn open(dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
