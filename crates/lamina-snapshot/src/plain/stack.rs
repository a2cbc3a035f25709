//! Looking a directory up in a stack of layers, as overlayfs would merge it.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lamina_fs::{At, Dir, PathError};
use lamina_store::{LayerError, Store};
use lamina_types::DiffId;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The layers of an image that are visible, the top-most first.
#[derive(Debug)]
pub(super) struct Stack {
    layers: Vec<LayerTree>,
    /// How many layers at the bottom are hidden by one with an opaque root.
    pub(super) hidden: usize,
}

#[derive(Debug)]
struct LayerTree {
    root: Dir,
    implied: HashSet<PathBuf>,
}

/// A directory of the merged tree.
#[derive(Debug)]
pub(super) struct Merged {
    /// The directory whose metadata the merged one should have.
    pub(super) metadata: Dir,
    /// Whether overlayfs would show other metadata: those of a layer that only implied it.
    pub(super) needs_restoring: bool,
}

/// What one layer has at a path.
enum Step {
    /// Nothing: the layers below decide.
    Missing,
    /// Nothing, and the layers below do not count.
    Hidden,
    /// A directory; if it is opaque the layers below do not count.
    Directory { dir: Dir, opaque: bool },
}

impl Stack {
    /// Opens the layers, given bottom first.
    pub(super) fn open(store: &Store, diff_ids: &[DiffId]) -> Result<Self, LayerError> {
        let mut layers = Vec::new();
        let mut hidden = 0;
        for (below, diff_id) in diff_ids.iter().enumerate().rev() {
            let layer = store.layers().get(diff_id)?;
            let info = layer.map(|layer| layer.info).unwrap_or_default();
            layers.push(LayerTree {
                root: Dir::open(store.layers().tree(diff_id))?,
                implied: info.implied.into_iter().collect(),
            });
            if info.opaque_root {
                hidden = below;
                break;
            }
        }
        Ok(Self { layers, hidden })
    }

    /// Returns every path that some layer implied.
    pub(super) fn implied(&self) -> BTreeSet<PathBuf> {
        let all = self.layers.iter().flat_map(|layer| &layer.implied);
        all.cloned().collect()
    }

    /// Looks a directory up; `None` if the merged tree has none there.
    pub(super) fn directory(&self, path: &Path) -> Result<Option<Merged>, PathError> {
        let mut top_most = None;
        for layer in &self.layers {
            let (dir, opaque) = match layer.step(path)? {
                Step::Missing => continue,
                Step::Hidden => break,
                Step::Directory { dir, opaque } => (dir, opaque),
            };
            if !layer.implied.contains(path) {
                return Ok(Some(Merged {
                    metadata: dir,
                    needs_restoring: top_most.is_some(),
                }));
            }
            top_most.get_or_insert(dir);
            if opaque {
                break;
            }
        }
        // No layer describes it: what the unpacker made up stays.
        Ok(top_most.map(|metadata| Merged {
            metadata,
            needs_restoring: false,
        }))
    }
}

impl LayerTree {
    fn step(&self, path: &Path) -> Result<Step, PathError> {
        let mut dir = self.root.try_clone()?;
        let mut opaque = false;
        for name in path {
            let path = dir.path().join(name);
            dir = match open(&dir, name) {
                Ok(fd) => Dir::from_fd(fd, path),
                Err(Errno::NOENT) if opaque => return Ok(Step::Hidden),
                Err(Errno::NOENT) => return Ok(Step::Missing),
                // A file, link or whiteout: nothing below it is visible.
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Step::Hidden),
                Err(error) => return Err(error).at("open", path),
            };
            opaque |= is_opaque(&dir)?;
        }
        Ok(Step::Directory { dir, opaque })
    }
}

fn open(dir: &Dir, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn is_opaque(dir: &Dir) -> Result<bool, PathError> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(dir, "trusted.overlay.opaque", &mut value[..]) {
        Ok(1) => Ok(value == *b"y"),
        Ok(_) | Err(Errno::NODATA | Errno::RANGE | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error).at("read an attribute of", dir.path()),
    }
}
