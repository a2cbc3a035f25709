//! Mounting a root filesystem without attaching it anywhere: for probing, looking inside, tests.
//!
//! The mount exists as long as the returned descriptor (or one opened through it); no mount
//! namespace ever shows it. Containers are mounted by the runtime, not by this.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_fs::{At, PathError};
use lamina_types::{ErrorKind, Rootfs, Source};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// Why a root filesystem could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A layer could not be opened.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The kernel refused an option or the mount.
    #[error("mount overlay: set {what}{}", said(message))]
    Refused {
        /// The option, or "up" for the mount itself.
        what: String,
        /// What the kernel said about it, if it did.
        message: Option<String>,
        /// The errno.
        source: Errno,
    },
    /// The root filesystem has a part that only the runtime mounts.
    #[error("look into {}: image layers are mounted by the runtime only", .0.display())]
    Unsupported(PathBuf),
}

fn said(message: &Option<String>) -> String {
    message
        .as_ref()
        .map_or_else(String::new, |text| format!(" (the kernel says: {text})"))
}

impl MountError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Refused { source, .. } => ErrorKind::of_io(&(*source).into()),
            Self::Unsupported(_) => ErrorKind::Unsupported,
        }
    }
}

/// Mounts a root filesystem and returns its root; nosuid, nodev and noexec.
///
/// A [`Rootfs::Dir`] is simply opened.
pub fn mount_detached(rootfs: &Rootfs) -> Result<OwnedFd, MountError> {
    let Rootfs::Overlay {
        lowers,
        upper,
        work,
        options,
        ..
    } = rootfs
    else {
        let Rootfs::Dir(path) = rootfs else {
            return Err(MountError::Unsupported(PathBuf::new()));
        };
        return Ok(open_path(path)?);
    };
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).at("open filesystem", "overlay")?;
    let mut opened = Vec::new();
    for lower in lowers {
        match lower {
            Source::Dir(path) => opened.push(open_path(path)?),
            Source::Erofs { file } => return Err(MountError::Unsupported(file.clone())),
        }
    }
    add_lowers(fs.as_fd(), &opened)?;
    for (key, path) in [("upperdir", upper), ("workdir", work)] {
        if let Some(path) = path {
            let fd = open_path(path)?;
            set(fs.as_fd(), key, &by_descriptor(&fd))?;
            opened.push(fd);
        }
    }
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => set(fs.as_fd(), key, value)?,
            None => checked(fs.as_fd(), option, fsconfig_set_flag(&fs, option.as_str()))?,
        }
    }
    checked(fs.as_fd(), "up", fsconfig_create(&fs))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
    Ok(mount.at("mount", "overlay")?)
}

/// Adds the lowers one by one (6.5), or in one string where the kernel does not know that. Both
/// go by descriptor, because a value of fsconfig(2) has at most 255 bytes.
fn add_lowers(fs: BorrowedFd<'_>, lowers: &[OwnedFd]) -> Result<(), MountError> {
    let mut names = lowers.iter().map(by_descriptor);
    let Some(first) = names.next() else {
        return Ok(());
    };
    match fsconfig_set_string(fs, "lowerdir+", first.as_str()) {
        Ok(()) => {}
        Err(Errno::INVAL) => {
            let all: Vec<String> = lowers.iter().map(by_descriptor).collect();
            return set(fs, "lowerdir", &all.join(":"));
        }
        Err(error) => checked(fs, "lowerdir+", Err(error))?,
    }
    names.try_for_each(|name| set(fs, "lowerdir+", &name))
}

fn open_path(path: &Path) -> Result<OwnedFd, PathError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).at("open", path)
}

fn by_descriptor(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn set(fs: BorrowedFd<'_>, key: &str, value: &str) -> Result<(), MountError> {
    checked(fs, key, fsconfig_set_string(fs, key, value))
}

/// Adds what the kernel wrote into the context's log; the log is read by read(2) on the context.
fn checked(
    fs: BorrowedFd<'_>,
    what: &str,
    result: rustix::io::Result<()>,
) -> Result<(), MountError> {
    result.map_err(|source| {
        let mut buffer = [0; 1024];
        let message = rustix::io::read(fs, &mut buffer[..])
            .ok()
            .map(|length| String::from_utf8_lossy(&buffer[..length]).trim().to_owned());
        MountError::Refused {
            what: what.to_owned(),
            message,
            source,
        }
    })
}
