//! `volume rename`.

use lamina_fs::Durability;
use lamina_monitor::events::Kind;
use lamina_store::Area;
use rustix::io::Errno;

use super::{FILE, VolumeError, check_name, names_lock};
use crate::Engine;

impl Engine {
    /// Gives a volume that nobody uses another name, durably: the records of containers have
    /// names. An anonymous one is a named one from then on.
    ///
    /// One rename: killed anywhere, it has one of the two names.
    pub fn rename_volume(&self, from: &str, to: &str) -> Result<(), VolumeError> {
        check_name(to)?;
        let _alone = names_lock(&self.store, true)?;
        let mut file = self.volume_file(from)?;
        let volumes = self.store.dir(Area::Volumes)?;
        if volumes.exists(to)? {
            return Err(VolumeError::Exists(to.to_owned()));
        }
        self.refuse_used("rename", from)?;
        if file.anonymous {
            // Kept rather than lost, if this is killed before the rename.
            file.anonymous = false;
            let volume = volumes.open_at(from)?;
            volume.replace(FILE, &file.to_bytes(), 0o600, Durability::Durable)?;
        }
        match volumes.rename_to(from, volumes, to, Durability::Durable) {
            // A volume is never an empty directory, so rename(2) replaces none.
            Err(error) if matches!(error.errno(), Some(Errno::EXIST | Errno::NOTEMPTY)) => {
                Err(VolumeError::Exists(to.to_owned()))
            }
            other => {
                other?;
                let old = [("driver", "local"), ("oldName", from)];
                self.note(Kind::Volume, "rename", to, &old);
                Ok(())
            }
        }
    }
}
