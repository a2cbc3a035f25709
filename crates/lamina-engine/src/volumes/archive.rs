//! `volume export` and `volume import`: a volume's contents as a tar.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use lamina_fs::{At, Root};
use lamina_layer::{Archiver, extract_whole};
use lamina_monitor::Time;
use lamina_store::Area;

use super::{DATA, VolumeError, VolumeFile, check_name};
use crate::Engine;
use crate::container::export::{ExportError, archive_below};

impl Engine {
    /// Writes what a volume holds as a tar, sorted, `./` first. What vanishes meanwhile is left
    /// out.
    pub fn export_volume(&self, name: &str, out: impl Write) -> Result<(), VolumeError> {
        let operation = self.use_volume("volume export", name)?;
        if self.volume_file(name)?.driver().is_some() {
            return Err(VolumeError::Elsewhere(name.to_owned(), "export"));
        }
        let volume = self.store.dir(Area::Volumes)?.open_at(name)?;
        let data = volume.open_at(DATA)?;
        let mut archiver = Archiver::new(out);
        let archived = |error| VolumeError::from(ExportError::from(error));
        archiver
            .add(data.as_fd(), ".".as_ref(), b"./", None)
            .map_err(archived)?;
        let tree = data.as_fd().try_clone_to_owned();
        let tree = Root::from_fd(tree.at("open", data.path())?);
        archive_below(&mut archiver, &tree, &[])?;
        archiver.finish().map_err(archived)?;
        operation.finish()?;
        Ok(())
    }

    /// Extracts a tar, plain, gzip or zstd, into a volume, durably. One that does not exist is
    /// made, and appears when it is whole; in one that is there the files of the tar take the
    /// place of those of the same names, and a call that was killed is completed by the next.
    pub fn import_volume(&self, name: &str, tar: impl Read) -> Result<(), VolumeError> {
        check_name(name)?;
        let volumes = self.store.dir(Area::Volumes)?;
        let extract = |root: &Root, tar: &mut dyn Read| {
            extract_whole(tar, root, Path::new(DATA)).map_err(|source| VolumeError::Extract {
                name: name.to_owned(),
                source,
            })
        };
        let mut tar = tar;
        if volumes.exists(name)? {
            let operation = self.use_volume("volume import", name)?;
            if self.volume_file(name)?.driver().is_some() {
                return Err(VolumeError::Elsewhere(name.to_owned(), "import into"));
            }
            let volume = volumes.open_at(name)?;
            let root = volume.as_fd().try_clone_to_owned();
            extract(&Root::from_fd(root.at("open", volume.path())?), &mut tar)?;
            volume.syncfs()?;
            operation.finish()?;
            return Ok(());
        }
        let operation = self.store.ops().begin("volume import", &[])?;
        let draft = operation.draft()?;
        draft.dir().mkdir(DATA, 0o755)?;
        let root = draft.dir().as_fd().try_clone_to_owned();
        extract(&Root::from_fd(root.at("open", volumes.path())?), &mut tar)?;
        draft.dir().syncfs()?;
        let file = VolumeFile::new(&Time::now().to_string(), false);
        if !self.publish_volume(draft, &file, name)? {
            return Err(VolumeError::Exists(name.to_owned()));
        }
        operation.finish()?;
        Ok(())
    }
}
