//! How a file appears in a directory of ours: written under another name, then published by one
//! atomic call. Whoever looks sees the old file, no file, or the whole new file.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::dir::{Dir, list};
use crate::{At, PathError};

/// Whether a change must survive a power cut once the call has returned. A killed process loses
/// nothing either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Data is synced before it is published, the directory after.
    Durable,
    /// The kernel writes when it likes: for what a reboot ends anyway, or what can be made again.
    Volatile,
}

/// What the names of unfinished files begin with. A process killed between writing and renaming
/// leaves one behind; [`Dir::entries`] hides them and [`Dir::sweep_temporaries`] removes old ones.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

impl Dir {
    /// Writes a file whole, replacing the one of that name if there is one, with exactly `mode`.
    ///
    /// Durable order: write → fsync(file) → rename → fsync(directory).
    pub fn replace(
        &self,
        name: impl AsRef<OsStr>,
        bytes: &[u8],
        mode: u32,
        durability: Durability,
    ) -> Result<(), PathError> {
        let name = self.name("write", name.as_ref())?;
        let (temporary, mut file) = self.temporary(mode).at("write", self.path.join(name))?;
        let written = self
            .fill(&mut file, bytes, mode, durability, name)
            .and_then(|()| {
                self.put_in_place(&temporary, name, durability)
                    .at("rename", self.path.join(&temporary))
            });
        if let Err(error) = written {
            // Best effort: the sweep removes it otherwise.
            let _ = rustix::fs::unlinkat(&self.fd, &temporary, AtFlags::empty());
            return Err(error);
        }
        self.sync_if(durability)
    }

    /// Gives `temporary` the name of the file it replaces, if there is one.
    ///
    /// A rename that replaces a file makes ext4 write the new one out at once (`auto_da_alloc`,
    /// ext4(5)), which costs milliseconds; for a volatile file the two are exchanged instead,
    /// which readers see just as atomically.
    fn put_in_place(
        &self,
        temporary: &OsStr,
        name: &OsStr,
        durability: Durability,
    ) -> Result<(), Errno> {
        if durability == Durability::Volatile {
            let exchange = RenameFlags::EXCHANGE;
            match rustix::fs::renameat_with(&self.fd, temporary, &self.fd, name, exchange) {
                Ok(()) => return rustix::fs::unlinkat(&self.fd, temporary, AtFlags::empty()),
                // Nothing there yet, or a filesystem that cannot exchange.
                Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {}
                Err(error) => return Err(error),
            }
        }
        rustix::fs::renameat(&self.fd, temporary, &self.fd, name)
    }

    /// Writes a file whole if there is none of that name; [`PathError::is_already_exists`]
    /// otherwise. Of several callers exactly one wins.
    pub fn create_exclusive(
        &self,
        name: impl AsRef<OsStr>,
        bytes: &[u8],
        mode: u32,
        durability: Durability,
    ) -> Result<(), PathError> {
        let name = self.name("create", name.as_ref())?;
        match self.unnamed(mode) {
            Ok(mut file) => {
                self.fill(&mut file, bytes, mode, durability, name)?;
                self.publish(&file, name)?;
            }
            // Filesystems without O_TMPFILE (NFS, old overlay).
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let (temporary, mut file) =
                    self.temporary(mode).at("create", self.path.join(name))?;
                let linked = self
                    .fill(&mut file, bytes, mode, durability, name)
                    .and_then(|()| {
                        let (from, none) = (temporary.as_os_str(), AtFlags::empty());
                        rustix::fs::linkat(&self.fd, from, &self.fd, name, none)
                            .at("create", self.path.join(name))
                    });
                let _ = rustix::fs::unlinkat(&self.fd, &temporary, AtFlags::empty());
                linked?;
            }
            Err(error) => return Err(error).at("create", self.path.join(name)),
        }
        self.sync_if(durability)
    }

    /// Opens a file without a name, for [`Dir::publish`]; it vanishes if it is never published.
    pub fn unnamed_file(&self, mode: u32) -> Result<File, PathError> {
        self.unnamed(mode).at("create a file in", &self.path)
    }

    /// Gives a file made by [`Dir::unnamed_file`] its name; an existing name is an error. Nothing
    /// is synced.
    pub fn publish(&self, file: &File, name: impl AsRef<OsStr>) -> Result<(), PathError> {
        let name = self.name("create", name.as_ref())?;
        // AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH before 6.10; the procfs spelling never does.
        match rustix::fs::linkat(file, "", &self.fd, name, AtFlags::EMPTY_PATH) {
            Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
                let fd = file.as_raw_fd();
                let by_proc = format!("/proc/self/fd/{fd}");
                let flags = AtFlags::SYMLINK_FOLLOW;
                rustix::fs::linkat(CWD, by_proc, &self.fd, name, flags)
            }
            other => other,
        }
        .at("create", self.path.join(name))
    }

    /// Makes a symbolic link; an existing name is an error.
    pub fn symlink(
        &self,
        name: impl AsRef<OsStr>,
        target: impl AsRef<OsStr>,
    ) -> Result<(), PathError> {
        let name = self.name("create symbolic link", name.as_ref())?;
        rustix::fs::symlinkat(target.as_ref(), &self.fd, name)
            .at("create symbolic link", self.path.join(name))
    }

    /// Removes files that a killed process left unfinished at least `age` ago; returns how many.
    pub fn sweep_temporaries(&self, age: Duration) -> Result<usize, PathError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let before = now.saturating_sub(age).as_secs();
        let mut swept = 0;
        for entry in list(self.fd.as_fd()).at("list", &self.path)? {
            if !entry
                .name
                .as_bytes()
                .starts_with(TEMPORARY_PREFIX.as_bytes())
            {
                continue;
            }
            let Ok(stat) = self.stat(&entry.name) else {
                continue;
            };
            if u64::try_from(stat.st_mtime).unwrap_or(0) <= before {
                match self.unlink(&entry.name) {
                    Ok(()) => swept += 1,
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(swept)
    }

    fn unnamed(&self, mode: u32) -> rustix::io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, ".", flags, Mode::from_raw_mode(mode)).map(File::from)
    }

    fn temporary(&self, mode: u32) -> rustix::io::Result<(OsString, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let pid = rustix::process::getpid().as_raw_nonzero();
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!("{TEMPORARY_PREFIX}{pid}-{number}"));
            match rustix::fs::openat(&self.fd, &name, flags, Mode::from_raw_mode(mode)) {
                Ok(fd) => return Ok((name, File::from(fd))),
                // Left by a killed process that had our pid.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn fill(
        &self,
        file: &mut File,
        bytes: &[u8],
        mode: u32,
        durability: Durability,
        name: &OsStr,
    ) -> Result<(), PathError> {
        let path = || self.path.join(name);
        file.write_all(bytes).at("write", path())?;
        // The umask may have taken bits away.
        rustix::fs::fchmod(&*file, Mode::from_raw_mode(mode)).at("set the mode of", path())?;
        if durability == Durability::Durable {
            rustix::fs::fsync(&*file).at("sync", path())?;
        }
        Ok(())
    }

    fn sync_if(&self, durability: Durability) -> Result<(), PathError> {
        match durability {
            Durability::Durable => self.sync(),
            Durability::Volatile => Ok(()),
        }
    }
}
