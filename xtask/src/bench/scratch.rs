//! A scratch folder of one benchmark run, and fresh filesystems in it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::shell;

/// A folder that goes with the value, and with everything mounted below it.
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder. Its path is short, because sockets below it have 107 bytes.
    pub(super) fn new(name: &str) -> Result<Self> {
        let path = PathBuf::from(format!("/var/tmp/lamina-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// Makes the folder on a new ext4 with a journal, which nothing else writes to.
    pub(super) fn on_new_ext4(name: &str) -> Result<Self> {
        let scratch = Self::new(name)?;
        let image = scratch.path.with_extension("img");
        make_ext4(&image, &scratch.path)?;
        // It goes when the folder is unmounted.
        std::fs::remove_file(image)?;
        Ok(scratch)
    }

    /// Returns the path of something in the folder.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes an empty folder in it.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Mounts a new ext4 with a journal at `name`: what users have. The test machine's own root
    /// has no journal, so that fsync is nearly free and creating after deleting is slow.
    pub(super) fn fresh_ext4(&self, name: &str) -> Result<Mounted> {
        let (image, folder) = (self.join(&format!("{name}.img")), self.folder(name)?);
        let spare = self.join(SPARE);
        if spare.exists() {
            std::fs::rename(&spare, &image)?;
        }
        make_ext4(&image, &folder)?;
        Ok(Mounted {
            image,
            folder,
            spare,
        })
    }
}

/// The file of a filesystem that is not needed any more. The next one gets it: a disk is written to
/// again and again, and the first write to a block of a file costs more.
const SPARE: &str = "spare.img";

/// Mounts a new ext4 in the file `image` at `folder`.
///
/// The file has its blocks and is read and written directly, as a disk is: with the host's page
/// cache in between every byte would be copied and written a second time.
fn make_ext4(image: &Path, folder: &Path) -> Result<()> {
    let (image, folder) = (image.to_string_lossy(), folder.to_string_lossy());
    shell::run(&mut shell::command("fallocate", &["-l", "8G", &image]))?;
    let mut attach = shell::command("losetup", &["--find", "--show", "--direct-io=on", &image]);
    let device = shell::output(&mut attach)?;
    let device = device.trim();
    let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
    let mount = "mkfs.ext4 -q -F -E \"$1\" \"$2\" && mount \"$2\" \"$3\"";
    let words = ["-c", mount, "sh", options, device, &folder];
    let mounted = shell::run(&mut shell::command("sh", &words));
    // It stays until it is unmounted.
    shell::run(&mut shell::command("losetup", &["--detach", device]))?;
    mounted
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path = self.path.to_string_lossy().into_owned();
        let _ = shell::command("sh", &["-c", UNMOUNT, "sh", &path]).status();
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Unmounts everything below `$1`, the deepest first.
const UNMOUNT: &str = r#"awk -v p="$1/" 'index($5 "/", p) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r -n 1 umount -l"#;

/// A mounted filesystem that goes with the value.
pub(super) struct Mounted {
    image: PathBuf,
    folder: PathBuf,
    spare: PathBuf,
}

impl Mounted {
    /// Returns where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = shell::command("umount", &[]).arg(&self.folder).status();
        if unmounted.is_ok_and(|status| status.success()) {
            let _ = std::fs::rename(&self.image, &self.spare);
            return;
        }
        // Somebody still writes there.
        let _ = shell::command("umount", &["-l"]).arg(&self.folder).status();
        let _ = std::fs::remove_file(&self.image);
    }
}
