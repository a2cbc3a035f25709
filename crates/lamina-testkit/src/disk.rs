//! A filesystem in a file, whose power can be cut.
//!
//! `xfs_io -x -c shutdown` stops a filesystem at once, without writing what is in memory; the next
//! mount replays the journal, as after a power cut.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// How often a filesystem that is kept busy is unmounted again before that is given up.
const PATIENCE: usize = 600;

/// A filesystem of 320 MiB in a file, mounted until it is dropped.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes a filesystem of this kind (`ext4`, `xfs`) in the new file `image` and mounts it on
    /// the new folder `mount`; returns why that cannot be done here.
    pub fn new(image: PathBuf, mount: PathBuf, kind: &str) -> Result<Self, String> {
        let disk = Self { image, mount };
        fs::create_dir(&disk.mount).map_err(|error| error.to_string())?;
        let file = File::create(&disk.image).map_err(|error| error.to_string())?;
        file.set_len(320 << 20).map_err(|error| error.to_string())?;
        run(Command::new(format!("mkfs.{kind}"))
            .arg("-q")
            .arg(&disk.image))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Returns where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Keeps everybody who writes to it waiting until the value is dropped (`fsfreeze`).
    pub fn freeze(&self) -> Result<FrozenDisk<'_>, String> {
        run(Command::new("fsfreeze").arg("-f").arg(&self.mount))?;
        Ok(FrozenDisk(self))
    }

    /// Stops it at once and mounts it again.
    pub fn cut_power(&self) {
        let mut shutdown = Command::new("xfs_io");
        let result = run(shutdown.args(["-x", "-c", "shutdown"]).arg(&self.mount))
            .and_then(|()| self.unmount())
            .and_then(|()| self.mount_again());
        result.expect("the power can be cut");
    }

    /// Mounts what was stopped. A process that was just making a mount namespace of its own may
    /// have a copy of the mount there for a moment; then it is still the stopped one that comes.
    fn mount_again(&self) -> Result<(), String> {
        let probe = self.mount.join(".alive");
        let mut result = Ok(());
        for _ in 0..PATIENCE {
            self.mount()?;
            result = fs::create_dir(&probe)
                .and_then(|()| fs::remove_dir(&probe))
                .map_err(|error| error.to_string());
            if result.is_ok() {
                return result;
            }
            self.unmount()?;
            sleep(Duration::from_millis(100));
        }
        result
    }

    fn mount(&self) -> Result<(), String> {
        let mut command = Command::new("mount");
        run(command
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.mount))
    }

    fn unmount(&self) -> Result<(), String> {
        let mut result = Ok(());
        for _ in 0..PATIENCE {
            result = run(Command::new("umount").arg(&self.mount));
            if result.is_ok() {
                return result;
            }
            // What a command leaves behind it at idle priority has not ended yet.
            sleep(Duration::from_millis(100));
        }
        result
    }
}

/// A filesystem that nobody can write to.
#[derive(Debug)]
pub struct FrozenDisk<'a>(&'a Disk);

impl Drop for FrozenDisk<'_> {
    fn drop(&mut self) {
        let _ = run(Command::new("fsfreeze").arg("-u").arg(&self.0.mount));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mounted = |table: String| {
            let place = self.mount.to_string_lossy();
            let mut places = table.lines().filter_map(|line| line.split(' ').nth(4));
            places.any(|other| other == place)
        };
        if fs::read_to_string("/proc/self/mountinfo").is_ok_and(mounted) {
            let _ = self.unmount();
        }
    }
}

/// Makes the store in `root` believe that the machine was started again: a reboot changes the boot
/// id, here the markers of what was not synced are given another one instead.
pub fn as_another_boot(root: &Path) {
    let unsynced = root.join("unsynced");
    for entry in fs::read_dir(&unsynced).expect("the markers") {
        let name = entry.expect("a marker").file_name();
        let name = name.to_string_lossy();
        let (_, rest) = name.split_once('.').expect("a marker has a boot id");
        let foreign = unsynced.join(format!("another-boot.{rest}"));
        fs::rename(unsynced.join(&*name), foreign).expect("a marker can be renamed");
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {text}"))
}
