//! Which storage mode works here: found by tiny real mounts, never by comparing versions.
//!
//! Distributions backport and disable; only the kernel that runs and the filesystem that the
//! store is on can tell. The answer is kept in `probe.json` with the kernel's release and the
//! filesystem's identity, so that a run reads one small file.

use std::os::fd::OwnedFd;

use lamina_fs::{At, Dir, Durability, PathError};
use lamina_store::{OpError, Store};
use lamina_types::{ErrorKind, Rootfs, Source};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::detached::{MountError, mount_detached};
use crate::plain::Plain;
use crate::snapshotter::{Snapshotter, StorageMode};

const FILE: &str = "probe.json";
const LIMIT: u64 = 64 << 10;
const VERSION: u32 = 1;
/// statfs(2): what a folder on an overlay says.
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// What overlayfs can do with the store's filesystem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Support {
    /// A change of owner or mode copies no data (`metacopy=on`), and directories of the image can
    /// be renamed (`redirect_dir=on`).
    pub metacopy: bool,
    /// The upper need not be synced (`volatile`).
    pub volatile: bool,
}

impl Support {
    /// Returns the options of a writable mount.
    ///
    /// `index=off`: a layer that is unpacked anew must not make old uppers stale. `xino=auto`:
    /// one `st_dev` for the whole tree where layers are on several filesystems.
    pub(crate) fn options(self) -> Vec<String> {
        let mut options = vec!["index=off".to_owned(), "xino=auto".to_owned()];
        if self.metacopy {
            options.push("redirect_dir=on".to_owned());
            options.push("metacopy=on".to_owned());
        }
        options
    }

    /// Returns the options of a mount without an upper.
    pub(crate) fn view_options(self) -> Vec<String> {
        vec!["xino=auto".to_owned()]
    }
}

/// Why no storage mode works.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A folder for the probe could not be made.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The probe could not be noted.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The store is on an overlay, which overlayfs does not write to.
    #[error("store {0} is on an overlay filesystem, which cannot hold writable layers")]
    OnOverlay(String),
    /// The kernel refused a small overlay in the store.
    #[error("overlayfs does not work in the store")]
    Refused(#[from] MountError),
    /// A small overlay was mounted but does not do what it should.
    #[error("overlayfs in the store does not work as it should: {0}")]
    Broken(&'static str),
}

impl ProbeError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Op(error) => error.kind(),
            Self::OnOverlay(_) | Self::Broken(_) => ErrorKind::Unsupported,
            Self::Refused(error) => match error.kind() {
                ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                _ => ErrorKind::Unsupported,
            },
        }
    }
}

/// `probe.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cached {
    version: u32,
    kernel: String,
    filesystem: String,
    plain: Support,
}

/// Returns the snapshotter of a store. Probes once per kernel and filesystem.
pub fn open(store: &Store, mode: StorageMode) -> Result<Box<dyn Snapshotter>, ProbeError> {
    match mode {
        StorageMode::Auto | StorageMode::Plain => {
            let support = plain(store)?;
            Ok(Box::new(Plain::new(store, support)))
        }
    }
}

/// Returns the cached answer for mode plain, or asks the kernel.
fn plain(store: &Store) -> Result<Support, ProbeError> {
    let root = store.root();
    let kernel = rustix::system::uname();
    let kernel = kernel.release().to_string_lossy().into_owned();
    let stat = rustix::fs::fstatfs(root).at("stat", root.path())?;
    let device = rustix::fs::fstat(root).at("stat", root.path())?.st_dev;
    let filesystem = format!("{:x}-{device:x}", stat.f_type);
    if let Ok(bytes) = root.read(FILE, LIMIT)
        && let Ok(cached) = serde_json::from_slice::<Cached>(&bytes)
        && (cached.version, &cached.kernel, &cached.filesystem) == (VERSION, &kernel, &filesystem)
    {
        return Ok(cached.plain);
    }
    if i128::from(stat.f_type) == i128::from(OVERLAYFS_MAGIC) {
        return Err(ProbeError::OnOverlay(root.path().display().to_string()));
    }
    let support = ask(store)?;
    let cached = Cached {
        version: VERSION,
        kernel,
        filesystem,
        plain: support,
    };
    if let Ok(bytes) = serde_json::to_vec(&cached) {
        // Only a cache: a read-only or full filesystem does not matter here.
        let _ = root.replace(FILE, &bytes, 0o600, Durability::Volatile);
    }
    Ok(support)
}

/// Mounts small overlays in the store, with all options first.
fn ask(store: &Store) -> Result<Support, ProbeError> {
    let op = store.ops().begin("probe", &[])?;
    let draft = op.draft()?;
    let candidates = [(true, true), (true, false), (false, true), (false, false)];
    let mut last = Ok(Support::default());
    for (number, (metacopy, volatile)) in candidates.into_iter().enumerate() {
        let support = Support { metacopy, volatile };
        let dir = draft.dir().mkdir(number.to_string(), 0o700)?;
        last = try_out(&dir, support).map(|()| support);
        if last.is_ok() {
            break;
        }
    }
    drop(draft);
    op.finish()?;
    last
}

/// Mounts two layers and an upper, reads through and writes.
fn try_out(dir: &Dir, support: Support) -> Result<(), ProbeError> {
    let file = |name: &str, inner: &str| -> Result<Dir, PathError> {
        let dir = dir.mkdir(name, 0o755)?;
        dir.create_exclusive(inner, inner.as_bytes(), 0o644, Durability::Volatile)?;
        Ok(dir)
    };
    let (below, above) = (file("below", "b")?, file("above", "a")?);
    let (upper, work) = (dir.mkdir("upper", 0o755)?, dir.mkdir("work", 0o700)?);
    let mut options = support.options();
    if support.volatile {
        options.push("volatile".to_owned());
    }
    let lowers = [&above, &below].map(|dir| Source::Dir(dir.path().to_path_buf()));
    let root = mount_detached(&Rootfs::Overlay {
        lowers: lowers.to_vec(),
        data: None,
        upper: Some(upper.path().to_path_buf()),
        work: Some(work.path().to_path_buf()),
        options,
    })?;
    let sees = |name: &str| opens(&root, name, OFlags::RDONLY);
    if !sees("a") || !sees("b") {
        return Err(ProbeError::Broken("a file of a lower layer is missing"));
    }
    // Without trusted.* attributes in the store this is where it shows.
    if !opens(&root, "b", OFlags::WRONLY) || !upper.exists("b")? {
        return Err(ProbeError::Broken("a file cannot be written"));
    }
    Ok(())
}

fn opens(root: &OwnedFd, name: &str, flags: OFlags) -> bool {
    rustix::fs::openat(root, name, flags | OFlags::CLOEXEC, Mode::empty()).is_ok()
}
