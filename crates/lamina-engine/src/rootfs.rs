//! Root filesystems as the engine meets them: found through the snapshotter, looked into unmounted.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread;

use lamina_fs::{PathError, Root};
use lamina_snapshot::{MountError, PrepareError, ProbeError, mount_detached};
use lamina_types::{ErrorKind, Rootfs, Source};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces};

/// Why a root filesystem cannot be had or looked into.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// No storage mode works here.
    #[error("find a storage mode")]
    Probe(#[from] ProbeError),
    /// It cannot be made or found.
    #[error("prepare the root filesystem")]
    Prepare(#[from] PrepareError),
    /// It cannot be mounted to be looked into.
    #[error("look into the root filesystem")]
    Mount(#[from] MountError),
    /// A file in it cannot be read.
    #[error("look into the root filesystem")]
    Path(#[from] PathError),
}

impl RootfsError {
    /// Returns whether a layer is not there that the image's manifest names: the image was removed
    /// after it was found, or it is damaged.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Prepare(PrepareError::MissingLayer(_)))
    }

    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Probe(error) => error.kind(),
            Self::Prepare(error) => error.kind(),
            Self::Mount(error) => error.kind(),
            Self::Path(error) => error.kind(),
        }
    }
}

/// Returns the writable layer of a root filesystem and what is below it; `None` where it has none.
pub(crate) fn split(rootfs: Rootfs) -> Option<(PathBuf, Rootfs)> {
    let Rootfs::Overlay {
        lowers,
        upper: Some(upper),
        data,
        work,
        options,
    } = rootfs
    else {
        return None;
    };
    let below = Rootfs::Overlay {
        lowers,
        upper: None,
        data,
        work,
        options,
    };
    Some((upper, below))
}

/// Opens the root directory of a process that lives, as that sees it, with everything that is
/// mounted there.
///
/// `/proc/PID/root` would be what the process has made its root since; the mount namespace's own
/// is taken, by a thread that enters it, opens one directory and ends. Nothing is executed.
pub(crate) fn of_process(pidfd: &OwnedFd) -> Result<Root, Errno> {
    let pidfd = pidfd.as_fd();
    let enter = || {
        // A thread that shares its root and working directory with others may not enter.
        lamina_sys::namespace::unshare(UnshareFlags::FS)?;
        move_into_thread_name_spaces(pidfd, ThreadNameSpaceType::MOUNT)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open("/", flags, Mode::empty())
    };
    let opened = thread::scope(|scope| scope.spawn(enter).join());
    Ok(Root::from_fd(opened.unwrap_or(Err(Errno::AGAIN))?))
}

/// Opens the merged tree of a root filesystem that no container has mounted, to be read only.
///
/// A detached mount, which no mount table shows and which goes with its descriptor. What a
/// container has written is one more lower: its upper is never mounted writable here.
pub(crate) fn open(rootfs: &Rootfs) -> Result<Root, RootfsError> {
    let readable = match rootfs {
        Rootfs::Dir(path) => Rootfs::Dir(path.clone()),
        Rootfs::Overlay {
            lowers,
            data,
            upper,
            options,
            ..
        } => {
            let upper = upper.iter().map(|upper| Source::Dir(upper.clone()));
            let lowers: Vec<Source> = upper.chain(lowers.iter().cloned()).collect();
            // An overlay without an upper wants two lowers; one tree is its own merge.
            match lowers.as_slice() {
                [Source::Dir(only)] => Rootfs::Dir(only.clone()),
                _ => Rootfs::Overlay {
                    lowers,
                    data: data.clone(),
                    upper: None,
                    work: None,
                    options: options
                        .iter()
                        .filter(|option| *option != "volatile")
                        .cloned()
                        .collect(),
                },
            }
        }
    };
    Ok(Root::from_fd(mount_detached(&readable)?))
}
