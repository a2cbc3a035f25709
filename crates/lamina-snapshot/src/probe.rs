//! Which storage mode works here: found by tiny real mounts, never by comparing versions.
//!
//! Distributions backport and disable; only the kernel that runs and the filesystem that the
//! store is on can tell. The answer is kept in `probe.json` with the kernel's release and the
//! filesystem's identity, so that a run reads one small file.

use lamina_fs::{At, Dir, Durability, PathError};
use lamina_store::{OpError, Store};
use lamina_types::{ErrorKind, with_causes};
use serde::{Deserialize, Serialize};

mod tiny;

use crate::detached::MountError;
use crate::snapshots::Snapshots;
use crate::snapshotter::{Snapshotter, StorageMode};
use tiny::Means;

const FILE: &str = "probe.json";
const LIMIT: u64 = 64 << 10;
const VERSION: u32 = 3;
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

    /// Returns the options of an image over its data-only layer without an upper.
    pub(crate) fn data_options(self) -> Vec<String> {
        let options = ["xino=auto", "redirect_dir=on", "metacopy=on"];
        options.map(str::to_owned).to_vec()
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
    /// The mode that was asked for does not work.
    #[error("storage mode {mode} does not work here: {reason}")]
    Unusable {
        /// The mode.
        mode: &'static str,
        /// Why not.
        reason: String,
    },
    /// A tiny image for the probe could not be made.
    #[error("make an image for the probe")]
    Image(#[source] lamina_erofs::WriteError),
    /// Something small was made or mounted but does not do what it should.
    #[error("the filesystem of the store does not do what is needed: {0}")]
    Broken(&'static str),
}

impl ProbeError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Op(error) => error.kind(),
            Self::OnOverlay(_) | Self::Broken(_) | Self::Unusable { .. } => ErrorKind::Unsupported,
            Self::Image(lamina_erofs::WriteError::Io(error)) => ErrorKind::of_io(error),
            Self::Image(_) => ErrorKind::Internal,
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
    /// What mode erofs can do.
    erofs: Option<Support>,
    /// Why it does not work, where it does not.
    #[serde(default)]
    why_not_erofs: String,
    /// Whether its images are mounted through loop devices.
    #[serde(default)]
    by_loop: bool,
}

impl Cached {
    /// Returns what `auto` means here, and why.
    fn automatic(&self) -> (StorageMode, String) {
        let (mode, reason) = match (self.erofs, self.by_loop) {
            (None, _) => {
                let reason = format!("mode erofs does not work here: {}", self.why_not_erofs);
                return (StorageMode::Plain, reason);
            }
            (Some(_), false) => (
                StorageMode::Erofs,
                "images are mounted from their files in the store, over data-only layers",
            ),
            (Some(_), true) => (
                StorageMode::Erofs,
                "data-only layers work in the store; its images are mounted through loop devices, \
                 because the kernel does not mount them from files there",
            ),
        };
        (mode, reason.to_owned())
    }
}

/// Returns the snapshotter of a store. Probes once per kernel and filesystem.
///
/// Snapshots that were made in another mode stay in it, as long as that works here.
pub fn open(store: &Store, mode: StorageMode) -> Result<Box<dyn Snapshotter>, ProbeError> {
    let cached = cached(store)?;
    let asked = || "it was asked for".to_owned();
    let (mode, reason) = match (mode, cached.erofs) {
        (StorageMode::Auto, _) => cached.automatic(),
        (StorageMode::Plain, _) => (StorageMode::Plain, asked()),
        (StorageMode::Erofs, Some(_)) => (StorageMode::Erofs, asked()),
        (StorageMode::Erofs, None) => {
            return Err(ProbeError::Unusable {
                mode: StorageMode::Erofs.name(),
                reason: cached.why_not_erofs,
            });
        }
    };
    Ok(Box::new(Snapshots {
        store: store.clone(),
        mode,
        reason,
        plain: cached.plain,
        erofs: cached.erofs.ok_or(cached.why_not_erofs),
    }))
}

/// Returns the cached answer, or asks the kernel.
fn cached(store: &Store) -> Result<Cached, ProbeError> {
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
        return Ok(cached);
    }
    if i128::from(stat.f_type) == i128::from(OVERLAYFS_MAGIC) {
        return Err(ProbeError::OnOverlay(root.path().display().to_string()));
    }
    let (plain, _) = ask(store, tiny::plain, &[true, false])?;
    let (erofs, why_not_erofs) = match ask(store, tiny::erofs, &[true]) {
        Ok(found) => (Some(found), String::new()),
        Err(error) => (None, with_causes(&error)),
    };
    let cached = Cached {
        version: VERSION,
        kernel,
        filesystem,
        plain,
        erofs: erofs.map(|(support, _)| support),
        why_not_erofs,
        by_loop: erofs.is_some_and(|(_, means)| means == Means::LoopDevice),
    };
    if let Ok(bytes) = serde_json::to_vec(&cached) {
        // Only a cache: a read-only or full filesystem does not matter here.
        let _ = root.replace(FILE, &bytes, 0o600, Durability::Volatile);
    }
    Ok(cached)
}

/// Mounts small overlays in the store, with all options first.
fn ask(
    store: &Store,
    try_out: fn(&Dir, Support) -> Result<Means, ProbeError>,
    metacopy: &[bool],
) -> Result<(Support, Means), ProbeError> {
    let op = store.ops().begin("probe", &[])?;
    let draft = op.draft()?;
    let candidates = metacopy
        .iter()
        .flat_map(|metacopy| [(*metacopy, true), (*metacopy, false)]);
    let mut last = Ok((Support::default(), Means::Direct));
    for (number, (metacopy, volatile)) in candidates.enumerate() {
        let support = Support { metacopy, volatile };
        let dir = draft.dir().mkdir(number.to_string(), 0o700)?;
        last = try_out(&dir, support).map(|means| (support, means));
        if last.is_ok() {
            break;
        }
    }
    drop(draft);
    op.finish()?;
    last
}
