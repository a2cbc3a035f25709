//! The engine: one value that every face holds, and where its parts are put together.

use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};

use lamina_distribution::{Client, FetchError};
use lamina_fs::{Dir, PathError};
use lamina_image::{HostPaths, KeepBlobs};
use lamina_monitor::LogConfig;
use lamina_snapshot::{Snapshotter, StorageMode};
use lamina_store::{Removal, Store, Window};
use lamina_types::{ContainerId, ErrorKind, Rootfs, instance_suffix};

use crate::cgroups::Hierarchies;
use crate::container::early;
use crate::rootfs::RootfsError;

/// Where an engine keeps things, and what it works with. Plain values: the binary decides them.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The store: images, layers, containers, volumes. Made if it is missing.
    pub root: PathBuf,
    /// What a reboot ends: bundles and sockets. Made if it is missing.
    pub run: PathBuf,
    /// The program that becomes a monitor, and that a monitor executes to clean up.
    pub binary: PathBuf,
    /// How root filesystems are put together.
    pub storage: StorageMode,
    /// Which blobs of layers are kept beside the layers.
    pub keep_blobs: KeepBlobs,
    /// Where the host keeps the programs of the built-in image.
    pub host: HostPaths,
    /// What becomes of the output of containers.
    pub log: LogConfig,
    /// How long what is removed can be brought back.
    pub window: Window,
}

/// Makes the client of registries; only called when one has to be asked.
pub type MakeClient = Box<dyn Fn() -> Result<Client, FetchError>>;

/// A container engine over one store.
///
/// Opening is cheap and idempotent; several processes may have the same store open. What an
/// operation of a killed process left is undone by the next open.
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) client: MakeClient,
    pub(crate) store: Store,
    /// The parent of its containers' cgroups; another root has another.
    pub(crate) cgroup_parent: String,
    pub(crate) snapshotter: OnceCell<Box<dyn Snapshotter>>,
    run: OnceCell<Dir>,
    hierarchies: OnceCell<Hierarchies>,
}

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] lamina_store::OpenError),
}

impl OpenError {
    /// Returns the class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the store, makes it if it is missing, and undoes what dead processes left half-made.
    pub fn open(config: EngineConfig, client: MakeClient) -> Result<Self, OpenError> {
        let store = Store::open(&config.root)?;
        if store.recovery().undone > 0 {
            // What was undone is in the trash by now; what cannot be unlinked hurts nobody there.
            let _ = store.empty_trash();
        }
        let cgroup_parent = format!("/lamina{}", instance_suffix(&config.root));
        Ok(Self {
            config,
            client,
            cgroup_parent,
            store,
            snapshotter: OnceCell::new(),
            run: OnceCell::new(),
            hierarchies: OnceCell::new(),
        })
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Begins the removals of one command, which can be undone for as long as the configuration
    /// says, or not where `now` is asked for.
    pub fn removal(&self, now: bool) -> Removal {
        match now {
            true => Removal::at_once(&self.store),
            false => Removal::new(&self.store, &self.config.window),
        }
    }

    /// Returns what puts root filesystems together, found out at the first use.
    pub(crate) fn snapshotter(&self) -> Result<&dyn Snapshotter, RootfsError> {
        if let Some(snapshotter) = self.snapshotter.get() {
            return Ok(snapshotter.as_ref());
        }
        let snapshotter = lamina_snapshot::open(&self.store, self.config.storage)?;
        Ok(self.snapshotter.get_or_init(|| snapshotter).as_ref())
    }

    /// Returns the root filesystem of a container that was made before.
    pub(crate) fn existing_rootfs(&self, id: &ContainerId) -> Result<Rootfs, RootfsError> {
        Ok(self.snapshotter()?.get(&id.into())?)
    }

    /// Returns the directory of all bundles, made at the first use.
    pub(crate) fn run_dir(&self) -> Result<&Dir, PathError> {
        if let Some(dir) = self.run.get() {
            return Ok(dir);
        }
        let dir = Dir::create_all(self.config.run.join("containers"), 0o700)?;
        Ok(self.run.get_or_init(|| dir))
    }

    /// Returns the hierarchies of control groups, found at the first use.
    pub(crate) fn hierarchies(&self) -> Result<&Hierarchies, PathError> {
        if let Some(hierarchies) = self.hierarchies.get() {
            return Ok(hierarchies);
        }
        let found = Hierarchies::find()?;
        Ok(self.hierarchies.get_or_init(|| found))
    }

    /// Returns the bundle of a container.
    pub(crate) fn bundle(&self, id: &ContainerId) -> PathBuf {
        early::bundle(&self.config.run, id)
    }

    /// Returns the configuration.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Returns a command on a container, for its monitor to execute.
    pub(crate) fn container_argv(&self, id: &ContainerId, words: &[&str]) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut argv = vec![
            text(&self.config.binary),
            "--root".to_owned(),
            text(&self.config.root),
            "--run-root".to_owned(),
            text(&self.config.run),
            "container".to_owned(),
        ];
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        argv.push(id.to_string());
        argv
    }
}
