//! A store, a run directory and an engine of a test's own.

use std::ffi::OsString;
use std::fs::{File, read_dir};
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use lamina_distribution::FetchError;
use lamina_engine::{
    CreateRequest, Engine, EngineConfig, Finished, HealthRequest, IsolationRequest, LogRequest,
    ProcessRequest, PullPolicy, RunError, StartOptions,
};
use lamina_image::{HostPaths, KeepBlobs, Silent};
use lamina_monitor::{ForegroundStdio, LogConfig};
use lamina_snapshot::StorageMode;
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, Resources, instance_suffix};

/// Where a test's containers are.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) engine: Engine,
}

/// What a foreground run came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) id: ContainerId,
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn open(root: PathBuf, run: PathBuf) -> Engine {
    let config = EngineConfig {
        root,
        run,
        binary: std::env::current_exe().unwrap(),
        storage: StorageMode::Auto,
        keep_blobs: KeepBlobs::Auto,
        host: HostPaths::default(),
        window: Default::default(),
        log: LogConfig::default(),
    };
    Engine::open(config, Box::new(|| Err(FetchError::Cancelled))).unwrap()
}

/// What a monitor executes: `PROGRAM --root ROOT --run-root RUN container cleanup ID`.
pub(crate) fn clean_up(words: &[OsString]) -> ExitCode {
    let engine = open(words[2].clone().into(), words[4].clone().into());
    let id = words[7].to_str().unwrap().parse().unwrap();
    match engine.cleanup(&id) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("lam")
            .tempdir_in("/var/tmp")
            .unwrap();
        let engine = open(folder.path().join("root"), folder.path().join("run"));
        Self { folder, engine }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a shell command in the foreground.
    pub(crate) fn sh(&self, script: &str, change: impl FnOnce(&mut CreateRequest)) -> Ran {
        self.run(&["sh", "-c", script], change).unwrap()
    }

    pub(crate) fn run(
        &self,
        words: &[&str],
        change: impl FnOnce(&mut CreateRequest),
    ) -> Result<Ran, RunError> {
        let mut request = request(words);
        change(&mut request);
        let (options, mut explain) = (StartOptions::default(), Explainer::off());
        let running = self.engine.run(&request, options, &Silent, &mut explain)?;
        let (mut stdout, mut stderr) = (file(), file());
        let id = running.id.clone();
        let stdio = ForegroundStdio {
            stdout: Some(stdout.as_fd()),
            stderr: Some(stderr.as_fd()),
            ..ForegroundStdio::default()
        };
        let finished = self
            .engine
            .foreground(running, &stdio, &mut explain)
            .unwrap();
        let Finished::Exit { exit, cleanup } = finished else {
            panic!("detached");
        };
        assert!(cleanup.is_none(), "{cleanup:?}");
        Ok(Ran {
            id,
            code: exit.code,
            stdout: text(&mut stdout),
            stderr: text(&mut stderr),
        })
    }

    /// Starts a command and leaves it alone.
    pub(crate) fn detached(
        &self,
        words: &[&str],
        change: impl FnOnce(&mut CreateRequest),
    ) -> ContainerId {
        let mut request = request(words);
        change(&mut request);
        let (options, mut explain) = (StartOptions::default(), Explainer::off());
        let running = self
            .engine
            .run(&request, options, &Silent, &mut explain)
            .unwrap();
        running.session.detach().unwrap();
        running.id
    }

    /// Waits until nothing of any container is left, in the kernel or on disk.
    pub(crate) fn assert_clean(&self) {
        let mut left = Vec::new();
        for _ in 0..100 {
            left = self.left();
            if left.is_empty() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("left behind: {left:#?}");
    }

    fn left(&self) -> Vec<PathBuf> {
        let root = self.path().join("root");
        let mut left = Vec::new();
        for dir in ["snap", "ops", "containers/names", "volumes"] {
            left.extend(list(&root.join(dir)));
        }
        left.extend(
            list(&root.join("containers"))
                .into_iter()
                .filter(|p| !p.ends_with("names")),
        );
        left.extend(list(&self.path().join("run/containers")));
        let parent = format!("lamina{}", instance_suffix(&root));
        for hierarchy in list(Path::new("/sys/fs/cgroup")) {
            let groups = list(&hierarchy.join(&parent));
            left.extend(groups.into_iter().filter(|path| path.is_dir()));
        }
        left
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let parent = format!("lamina{}", instance_suffix(&self.path().join("root")));
        for hierarchy in list(Path::new("/sys/fs/cgroup")) {
            let _ = rustix::fs::rmdir(hierarchy.join(&parent));
        }
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn file() -> File {
    tempfile::tempfile().unwrap()
}

fn text(file: &mut File) -> String {
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// A request for the built-in image that goes with its exit.
pub(crate) fn request(words: &[&str]) -> CreateRequest {
    CreateRequest {
        image: "minimal".parse().unwrap(),
        platform: None,
        pull: PullPolicy::Missing,
        name: None,
        labels: [].into(),
        annotations: std::collections::BTreeMap::new(),
        process: ProcessRequest {
            args: words.iter().map(|word| (*word).to_owned()).collect(),
            ..ProcessRequest::default()
        },
        isolation: IsolationRequest::default(),
        resources: Resources::default(),
        cgroup_parent: None,
        mounts: Vec::new(),
        volumes_from: Vec::new(),
        read_only: false,
        shm_size: None,
        devices: Vec::new(),
        sysctls: [].into(),
        remove: true,
        restart: lamina_types::RestartPolicy::No,
        cidfile: None,
        log: LogRequest::default(),
        health: HealthRequest::default(),
    }
}
