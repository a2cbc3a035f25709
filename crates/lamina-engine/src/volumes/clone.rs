//! `volume clone`.

use std::num::NonZeroUsize;
use std::thread;

use lamina_monitor::Time;
use lamina_store::{Area, Line, Operation};

use super::{DATA, VolumeError, VolumeFile, check_name, names_lock};
use crate::{Engine, copy};

/// More workers than this wait for the disk.
const WORKERS: usize = 8;

impl Engine {
    /// Makes a volume with the same contents, owners, modes, attributes, links and holes, durably:
    /// blocks are shared where the filesystem can, else files are copied by several threads.
    ///
    /// The new volume appears when it is whole. What a running container writes meanwhile may be
    /// in it or not.
    pub fn clone_volume(&self, from: &str, to: &str) -> Result<(), VolumeError> {
        check_name(to)?;
        let operation = self.use_volume("volume clone", from)?;
        let source = self.volume_file(from)?;
        let volumes = self.store.dir(Area::Volumes)?;
        if volumes.exists(to)? {
            return Err(VolumeError::Exists(to.to_owned()));
        }
        let draft = operation.draft()?;
        let data = draft.dir().mkdir(DATA, 0o700)?;
        let tree = volumes.open_at(from)?.open_at(DATA)?;
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        copy::tree(&tree, &data, NonZeroUsize::new(threads.min(WORKERS)))?;
        // Before it has a name.
        data.syncfs()?;
        let file = VolumeFile {
            labels: source.labels,
            options: source.options,
            ..VolumeFile::new(&Time::now().to_string(), false)
        };
        if !self.publish_volume(draft, &file, to)? {
            return Err(VolumeError::Exists(to.to_owned()));
        }
        operation.finish()?;
        Ok(())
    }

    /// Begins an operation during which a volume is not removed.
    pub(super) fn use_volume(&self, word: &str, name: &str) -> Result<Operation, VolumeError> {
        let line = Line::UsesVolume(name.to_owned());
        let operation = self.store.ops().begin(word, &[line])?;
        // Whoever takes it away has done so by now, or sees the line.
        drop(names_lock(&self.store, false)?);
        self.volume_file(name)?;
        Ok(operation)
    }
}
