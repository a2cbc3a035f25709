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
use rustix::thread::UnshareFlags;

/// The option that takes one lower layer.
const APPEND: &str = "lowerdir+";

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
    /// Returns whether the kernel may know only the older form of the options. Up to 6.4 it says
    /// so when the filesystem is made, with no word about why; from 6.5 when the option is set.
    fn is_unknown_form(&self) -> bool {
        match self {
            Self::Refused {
                what,
                message,
                source: Errno::INVAL,
            } => what == APPEND || message.is_none(),
            _ => false,
        }
    }

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
    let mut parts = Parts {
        lowers: Vec::new(),
        writable: Vec::new(),
        options,
    };
    for lower in lowers {
        match lower {
            Source::Dir(path) => parts.lowers.push(open_path(path)?),
            Source::Erofs { file } => return Err(MountError::Unsupported(file.clone())),
        }
    }
    for (key, path) in [("upperdir", upper), ("workdir", work)] {
        if let Some(path) = path {
            parts.writable.push((key, open_path(path)?));
        }
    }
    match parts.mount(Names::Appended) {
        Err(error) if error.is_unknown_form() => parts.mount_joined(),
        result => result,
    }
}

/// What an overlay is made of, opened.
struct Parts<'a> {
    lowers: Vec<OwnedFd>,
    writable: Vec<(&'static str, OwnedFd)>,
    options: &'a [String],
}

/// How the lower layers are given, by descriptor in both forms.
#[derive(Debug, Clone, Copy)]
enum Names {
    /// One by one, `lowerdir+` (Linux 6.8).
    Appended,
    /// In one string, relative to /proc/self/fd: a value of fsconfig(2) has at most 255 bytes.
    Joined,
}

impl Parts<'_> {
    fn mount(&self, names: Names) -> Result<OwnedFd, MountError> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).at("open filesystem", "overlay")?;
        match names {
            Names::Appended => {
                for lower in &self.lowers {
                    set(fs.as_fd(), APPEND, &by_descriptor(lower))?;
                }
            }
            Names::Joined => {
                let all: Vec<String> = self.lowers.iter().map(number).collect();
                set(fs.as_fd(), "lowerdir", &all.join(":"))?;
            }
        }
        for (key, fd) in &self.writable {
            set(fs.as_fd(), key, &by_descriptor(fd))?;
        }
        for option in self.options {
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

    /// Mounts from a thread that has a working directory of its own, which is where the kernel
    /// looks for relative names; the process keeps its own.
    fn mount_joined(&self) -> Result<OwnedFd, MountError> {
        const FDS: &str = "/proc/self/fd";
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                lamina_sys::namespace::unshare(UnshareFlags::FS)
                    .at("leave the working directory for", FDS)?;
                rustix::process::chdir(FDS).at("enter", FDS)?;
                self.mount(Names::Joined)
            });
            let ended = |_| MountError::Refused {
                what: "up".to_owned(),
                message: None,
                source: Errno::CANCELED,
            };
            thread.join().map_err(ended)?
        })
    }
}

fn open_path(path: &Path) -> Result<OwnedFd, PathError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).at("open", path)
}

fn by_descriptor(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn number(fd: &OwnedFd) -> String {
    fd.as_raw_fd().to_string()
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
