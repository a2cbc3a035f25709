//! What every storage mode must do, as functions over a factory.
//!
//! A mode's test makes a [`Subject`] per case, on an empty store, and runs every one of [`CASES`].
//! The root filesystems are really mounted (detached, so nothing is left) and compared entry by
//! entry with a model of the image specification. Needs the privilege to mount.

mod cases;
mod snapshots;
mod tree;

use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::Path;

use lamina_fs::{At, Dir};
use lamina_store::Store;
use lamina_types::{DiffId, Rootfs};
use rustix::fs::{Mode, OFlags};

use crate::detached::mount_detached;
use crate::snapshotter::{ImageLayers, Snapshotter};
use tree::{Item, Tree};

/// What a case found wrong, for people.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A way to bring a layer's tar into the store in the form that a mode needs.
pub type Ingest = fn(&Store, &[u8]) -> Result<DiffId, Failure>;

/// A storage mode on an empty store.
#[derive(Debug)]
pub struct Subject {
    /// The store.
    pub store: Store,
    /// The mode.
    pub snapshotter: Box<dyn Snapshotter>,
    /// Unpacks a layer.
    pub ingest: Ingest,
    /// How many layers an image may have at least; the case of many layers uses that many.
    pub max_layers: usize,
}

/// One thing that every mode must do.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Checks it.
    pub check: fn(&Subject) -> Result<(), Failure>,
}

pub use cases::CASES;

impl Subject {
    fn image(&self, layers: &[Vec<Item>]) -> Result<ImageLayers, Failure> {
        let mut diff_ids = Vec::new();
        for layer in layers {
            diff_ids.push((self.ingest)(&self.store, &tree::tar(layer)?)?);
        }
        Ok(ImageLayers {
            diff_ids,
            ..ImageLayers::default()
        })
    }

    /// Ingests layers and compares the view of the image with the model.
    fn view_is_merged(&self, layers: &[Vec<Item>]) -> Result<ImageLayers, Failure> {
        let image = self.image(layers)?;
        let view = mounted(&self.snapshotter.view(&image)?)?;
        let mut expected = tree::merge(layers);
        tree::forget_what_is_not_kept(&mut expected, self.store.root());
        tree::compare(&expected, &tree::walk(&view)?)?;
        Ok(image)
    }
}

/// Mounts and opens for reading; the mount ends with the value.
fn mounted(rootfs: &Rootfs) -> Result<Dir, Failure> {
    let mount: OwnedFd = mount_detached(rootfs)?;
    let path = Path::new("(mounted)");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&mount, ".", flags, Mode::empty()).at("open", path)?;
    Ok(Dir::from_fd(fd, path))
}

/// Mounts both and compares them entry by entry, names, types, metadata, attributes and contents.
///
/// Left out are the times of what no layer describes, and how many names a file of
/// several has: an overlay of trees counts those that a layer above hides.
pub fn compare_mounted(expected: &Rootfs, found: &Rootfs) -> Result<(), Failure> {
    let (mut expected, mut found) = (walk_mounted(expected)?, walk_mounted(found)?);
    tree::forget_what_modes_differ_in(&mut expected, &mut found);
    tree::compare(&expected, &found)
}

fn walk_mounted(rootfs: &Rootfs) -> Result<Tree, Failure> {
    tree::walk(&mounted(rootfs)?)
}

/// Fails with a message unless the condition holds.
fn ensure(condition: bool, otherwise: impl Into<String>) -> Result<(), Failure> {
    if condition {
        Ok(())
    } else {
        Err(otherwise.into().into())
    }
}
