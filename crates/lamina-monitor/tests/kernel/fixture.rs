//! A container of busybox: its bundle, its records, and what a test does with them.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, iter};

use lamina_fs::Dir;
use lamina_monitor::{
    Ahead, Begin, ForegroundStdio, Liveness, LogConfig, MonitorConfig, Relayed, Session, liveness,
};
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, RestartPolicy, Rootfs};
use serde_json::json;

const BUSYBOX: &str = "/bin/busybox";

/// A test's name and what it does.
pub(crate) type Test = (&'static str, fn());

pub(crate) fn requirements() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("not root".to_owned());
    }
    let program = fs::read(BUSYBOX).map_err(|e| format!("{BUSYBOX}: {e}"))?;
    let is_static = !program.windows(9).any(|window| window == b"/ld-linux");
    is_static
        .then_some(())
        .ok_or_else(|| format!("{BUSYBOX} is not static"))
}

/// One container.
pub(crate) struct Container {
    root: tempfile::TempDir,
    pub(crate) config: MonitorConfig,
    pub(crate) spec: serde_json::Value,
}

/// Makes the folders of a bundle, with a root filesystem of one busybox.
fn lay_out(root: &Path) {
    for dir in [
        "bundle",
        "state",
        "rootfs/bin",
        "rootfs/dev",
        "rootfs/proc",
        "rootfs/sys",
        "rootfs/tmp",
    ] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let bin = root.join("rootfs/bin");
    fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
    for name in [
        "sh", "cat", "sleep", "yes", "head", "stty", "ls", "grep", "printf", "tail", "true", "tr",
    ] {
        symlink("busybox", bin.join(name)).unwrap();
    }
}

impl Container {
    /// A container that runs a shell script.
    pub(crate) fn of(script: &str) -> Self {
        Self::executing(&["sh", "-c", script])
    }

    pub(crate) fn executing(arguments: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        lay_out(root.path());
        let mut bytes = [0; 32];
        let mut random = File::open("/dev/urandom").unwrap();
        random.read_exact(&mut bytes).unwrap();
        let id = ContainerId::from_random(bytes);
        let marker = root.path().join("cleaned").display().to_string();
        let config = MonitorConfig {
            joins: None,
            events: None,
            restart: RestartPolicy::No,
            restart_argv: Vec::new(),
            restarts: 0,
            version: MonitorConfig::VERSION,
            id: id.clone(),
            state_dir: root.path().join("state"),
            tty: false,
            stdin_open: false,
            stdin_once: false,
            log: LogConfig::default(),
            cleanup_argv: vec!["lamina".to_owned(), "__cleanup".to_owned(), marker],
            init_reaper: false,
            remove: false,
            health: None,
            bound: false,
        };
        let namespaces =
            ["pid", "mount", "uts", "ipc", "network"].map(|kind| json!({"type": kind}));
        let spec = json!({
            "ociVersion": "1.2.0",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": arguments,
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": {"path": "rootfs"},
            "hostname": "test",
            "mounts": lamina_runtime::spec_default::mounts(1 << 20),
            "linux": {
                "cgroupsPath": format!("/lamina-monitor-test/{id}"),
                "namespaces": namespaces,
            },
        });
        Self { root, config, spec }
    }

    pub(crate) fn with_terminal(mut self) -> Self {
        self.config.tty = true;
        self.spec["process"]["terminal"] = json!(true);
        self.with_input()
    }

    pub(crate) fn with_input(mut self) -> Self {
        self.config.stdin_open = true;
        self.config.stdin_once = true;
        self
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.root.path().join("bundle")
    }

    pub(crate) fn state_dir(&self) -> Dir {
        Dir::open(&self.config.state_dir).unwrap()
    }

    /// Writes the bundle's documents.
    pub(crate) fn write(&self) {
        let rootfs = Rootfs::Dir(self.root.path().join("rootfs"));
        let bundle = Dir::open(self.bundle()).unwrap();
        let documents = [
            ("config.json", serde_json::to_vec(&self.spec).unwrap()),
            ("rootfs.json", serde_json::to_vec(&rootfs).unwrap()),
            ("monitor.json", serde_json::to_vec(&self.config).unwrap()),
        ];
        for (name, bytes) in documents {
            bundle
                .replace(name, &bytes, 0o600, lamina_fs::Durability::Volatile)
                .unwrap();
        }
        // Programs of other users reach it too.
        fs::set_permissions(self.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn spawn(&self) -> Session {
        self.write();
        spawn(&self.bundle())
    }

    /// Starts it and waits for its end; returns its stdout.
    pub(crate) fn run(&self) -> (lamina_monitor::ExitRecord, String) {
        let mut session = self.spawn();
        session.start().unwrap();
        let mut out = tempfile::tempfile().unwrap();
        let stdio = ForegroundStdio {
            stdout: Some(out.as_fd()),
            stderr: Some(out.as_fd()),
            ..ForegroundStdio::default()
        };
        let Relayed::Exit(exit) = session.relay(&stdio).unwrap() else {
            panic!("detached");
        };
        let mut text = String::new();
        out.rewind().unwrap();
        out.read_to_string(&mut text).unwrap();
        (exit, text)
    }

    pub(crate) fn liveness(&self) -> Liveness {
        liveness(&self.state_dir()).unwrap()
    }

    /// Waits until the cleanup command has been executed.
    pub(crate) fn is_cleaned(&self, patience: Duration) -> bool {
        let marker = self.root.path().join("cleaned");
        eventually(patience, || marker.exists())
    }

    pub(crate) fn log(&self) -> String {
        let options = lamina_monitor::log::ReadOptions::default();
        let format = lamina_monitor::log::Format::Json;
        let entries = lamina_monitor::log::read(&self.state_dir(), format, options).unwrap();
        entries.map(|entry| entry.unwrap().text()).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let path = format!("lamina-monitor-test/{}", self.config.id);
        let hierarchies = fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        let roots = hierarchies
            .map(|entry| entry.path())
            .chain(iter::once("/sys/fs/cgroup".into()));
        for root in roots {
            let dir = root.join(&path);
            for pid in fs::read_to_string(dir.join("cgroup.procs"))
                .unwrap_or_default()
                .lines()
            {
                let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
                let _ = pid.map(|pid| lamina_sys::signals::kill(pid, 9));
            }
            eventually(Duration::from_secs(2), || {
                !dir.exists() || fs::remove_dir(&dir).is_ok()
            });
        }
    }
}

pub(crate) fn eventually(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if start.elapsed() > patience {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn spawn(bundle: &Path) -> Session {
    spawn_from(bundle, &env::current_exe().unwrap())
}

pub(crate) fn spawn_from(bundle: &Path, binary: &Path) -> Session {
    let ahead = Ahead::default();
    let spawned = lamina_monitor::spawn(bundle, binary, &mut Explainer::off(), ahead).unwrap();
    spawned.begin(Begin::default()).unwrap()
}

/// The client process that tests kill: creates, and if the file `hold` is not there starts and
/// relays, writing what it does to stdout.
pub(crate) fn client(bundle: &Path) -> ExitCode {
    let mut session = spawn(bundle);
    session.created().unwrap();
    if bundle.join("hold").exists() {
        println!("created");
        thread::sleep(Duration::from_secs(60));
    }
    session.start().unwrap();
    println!("started");
    let out = std::io::stdout();
    let stdio = ForegroundStdio {
        stdout: Some(out.as_fd()),
        ..ForegroundStdio::default()
    };
    session.relay(&stdio).unwrap();
    ExitCode::SUCCESS
}
