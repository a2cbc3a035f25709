//! Mounting a root filesystem without attaching it anywhere: for probing, looking inside, tests.
//!
//! The mount exists as long as the returned descriptor (or one opened through it); no mount
//! namespace ever shows it. Containers are mounted by the runtime, not by this.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lamina_fs::{At, PathError};
use lamina_sys::erofs::ErofsError;
use lamina_types::{ErrorKind, Rootfs, Source};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change,
    open_tree,
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
    /// An image could not be mounted.
    #[error("mount {}", path.display())]
    Image {
        /// The image's file.
        path: PathBuf,
        /// Why.
        source: ErofsError,
    },
    /// This kernel knows only the older form of mounts, which has no data-only layers.
    #[error("this kernel has no data-only overlay layers")]
    NoDataLayers,
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
            Self::Image { source, .. } => ErrorKind::of_io(&source.source.into()),
            Self::NoDataLayers => ErrorKind::Unsupported,
        }
    }
}

/// Mounts a root filesystem and returns its root; nosuid, nodev and noexec.
///
/// A [`Rootfs::Dir`] is simply opened.
pub fn mount_detached(rootfs: &Rootfs) -> Result<OwnedFd, MountError> {
    let (lowers, data, upper, work, options) = match rootfs {
        Rootfs::Dir(path) => return Ok(open_path(path)?),
        Rootfs::Overlay {
            lowers,
            data,
            upper,
            work,
            options,
        } => (lowers, data, upper, work, options),
    };
    let mut parts = Parts {
        lowers: Vec::new(),
        data: data.as_deref().map(open_path).transpose()?,
        writable: Vec::new(),
        options,
    };
    for lower in lowers {
        parts.lowers.push(match lower {
            Source::Dir(path) => open_path(path)?,
            Source::Erofs { file } => {
                lamina_sys::erofs::mount(file).map_err(|source| MountError::Image {
                    path: file.clone(),
                    source,
                })?
            }
        });
    }
    for (key, path) in [("upperdir", upper), ("workdir", work)] {
        if let Some(path) = path {
            parts.writable.push((key, open_path(path)?));
        }
    }
    match parts.mount() {
        Err(error) if error.is_unknown_form() && data.is_some() => Err(MountError::NoDataLayers),
        Err(error) if error.is_unknown_form() => parts.mount_older(),
        result => result,
    }
}

/// What an overlay is made of, opened.
struct Parts<'a> {
    lowers: Vec<OwnedFd>,
    data: Option<OwnedFd>,
    writable: Vec<(&'static str, OwnedFd)>,
    options: &'a [String],
}

impl Parts<'_> {
    /// Gives the lower layers one by one (Linux 6.8).
    fn mount(&self) -> Result<OwnedFd, MountError> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).at("open filesystem", "overlay")?;
        for lower in &self.lowers {
            set(fs.as_fd(), APPEND, &by_descriptor(lower))?;
        }
        if let Some(data) = &self.data {
            set(fs.as_fd(), "datadir+", &by_descriptor(data))?;
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

    /// Mounts by mount(2), where all layers must fit one page of options.
    ///
    /// That form needs a place, so a thread does it in a mount namespace of its own, and a working
    /// directory of its own keeps the names short: hundreds of layers fit.
    fn mount_older(&self) -> Result<OwnedFd, MountError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, || self.mount_apart());
            let thread = thread.at("start a thread for", "overlay")?;
            thread.join().map_err(|_| refused(Errno::CANCELED))?
        })
    }

    fn mount_apart(&self) -> Result<OwnedFd, MountError> {
        const FDS: &str = "/proc/self/fd";
        // Any directory will do: nobody else is in this namespace.
        const PLACE: &str = "/proc";
        lamina_sys::namespace::unshare(UnshareFlags::NEWNS).at("make a namespace for", PLACE)?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).at("make private", "/")?;
        // A descriptor from before is on a mount of the other namespace, which overlayfs refuses.
        let again = |fd: &OwnedFd| -> Result<OwnedFd, PathError> {
            let name = by_descriptor(fd);
            let path = std::fs::read_link(&name).at("look at", &name)?;
            open_path(&path)
        };
        let lowers = self
            .lowers
            .iter()
            .map(again)
            .collect::<Result<Vec<_>, _>>()?;
        let writable = self.writable.iter().map(|(key, fd)| Ok((key, again(fd)?)));
        let writable = writable.collect::<Result<Vec<_>, PathError>>()?;
        let names: Vec<String> = lowers.iter().map(number).collect();
        let mut page = format!("lowerdir={}", names.join(":"));
        for (key, fd) in &writable {
            page.push_str(&format!(",{key}={}", number(fd)));
        }
        for option in self.options {
            page.push_str(&format!(",{option}"));
        }
        let page = CString::new(page).map_err(|_| refused(Errno::INVAL))?;
        rustix::process::chdir(FDS).at("enter", FDS)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("overlay", PLACE, "overlay", flags, page.as_c_str()).map_err(refused)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Ok(open_tree(CWD, PLACE, flags).at("detach", "overlay")?)
    }
}

fn refused(source: Errno) -> MountError {
    MountError::Refused {
        what: "up".to_owned(),
        message: None,
        source,
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
