//! The engines and runtimes that lamina is measured against, where they are installed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::scratch::Scratch;
use super::start::Contender;
use crate::shell;

/// Returns crun and runc, each running a bundle.
pub(super) fn runtimes(scratch: &Scratch) -> Result<Vec<Contender<'static>>> {
    mount_hugetlb();
    let mut found = Vec::new();
    for name in ["crun", "runc"] {
        let Some(program) = shell::find(name) else {
            continue;
        };
        let bundle = bundle(scratch, name, &program)?;
        let root = scratch.folder(&format!("{name}-root"))?;
        found.push(Contender {
            name: format!("{name} run"),
            command: Box::new(move |round| {
                let mut command = Command::new(&program);
                let id = format!("bench-{}-{round}", std::process::id());
                command
                    .arg("--root")
                    .arg(&root)
                    .args(["run", "--bundle"])
                    .arg(&bundle)
                    .arg(id);
                command
            }),
            after: None,
        });
    }
    Ok(found)
}

/// crun refuses a hybrid hierarchy whose hugetlb controller is on the v2 side.
fn mount_hugetlb() {
    let script = "grep -q '^hugetlb' /proc/cgroups && ! [ -d /sys/fs/cgroup/hugetlb ] && [ -d /sys/fs/cgroup/pids ] \
        && mkdir /sys/fs/cgroup/hugetlb && mount -t cgroup -o hugetlb cgroup /sys/fs/cgroup/hugetlb";
    let _ = shell::command("sh", &["-c", script])
        .stderr(Stdio::null())
        .status();
}

fn bundle(scratch: &Scratch, name: &str, program: &Path) -> Result<PathBuf> {
    let bundle = scratch.folder(&format!("{name}-bundle"))?;
    shell::run(Command::new(program).arg("spec").current_dir(&bundle))?;
    let path = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = serde_json::json!(["true"]);
    spec["process"]["rlimits"] = serde_json::json!([]);
    spec["root"]["path"] = scratch.join("busybox").to_string_lossy().into();
    std::fs::write(&path, serde_json::to_vec(&spec)?)?;
    Ok(bundle)
}

/// Returns a Podman that keeps everything below `store`.
pub(super) fn podman_in(program: &Path, store: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--root")
        .arg(store.join("root"))
        .arg("--runroot")
        .arg(store.join("run"));
    command.args([
        "--storage-driver",
        "overlay",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "file",
    ]);
    command
}

/// A Docker daemon of our own, stopped with the value.
pub(super) struct Docker {
    daemon: Child,
    client: PathBuf,
    socket: String,
}

impl Docker {
    /// Starts a daemon with an empty store, if one is installed.
    pub(super) fn start(scratch: &Scratch) -> Result<Option<Self>> {
        Self::start_on(&scratch.folder("docker")?)
    }

    /// Starts a daemon that keeps everything below `folder`.
    pub(super) fn start_on(folder: &Path) -> Result<Option<Self>> {
        let (Some(dockerd), Some(client)) = (daemon_path(), client_path()) else {
            return Ok(None);
        };
        let socket = format!("unix://{}/docker.sock", folder.display());
        let log = std::fs::File::create(folder.join("dockerd.log"))?;
        let daemon = Command::new(dockerd)
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("docker.pid"))
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "-H",
                &socket,
            ])
            .args(["--insecure-registry", "127.0.0.0/8"])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("dockerd")?;
        let docker = Self {
            daemon,
            client,
            socket,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !docker
            .command()
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?
            .success()
        {
            if Instant::now() > deadline {
                bail!(
                    "dockerd did not come up: see {}/dockerd.log",
                    folder.display()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Some(docker))
    }

    /// Returns a client command.
    pub(super) fn command(&self) -> Command {
        self.base()()
    }

    /// Returns what makes client commands.
    pub(super) fn base(&self) -> Box<dyn Fn() -> Command + Sync> {
        let (client, socket) = (self.client.clone(), self.socket.clone());
        Box::new(move || {
            let mut command = Command::new(&client);
            command.args(["-H", &socket]);
            command
        })
    }

    /// Returns the words of a client command, for a shell.
    pub(super) fn line(&self) -> String {
        format!("{} -H {}", self.client.display(), self.socket)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = self.daemon.id().to_string();
        let _ = shell::command("kill", &[&pid]).status();
        let deadline = Instant::now() + Duration::from_secs(15);
        while matches!(self.daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn daemon_path() -> Option<PathBuf> {
    shell::find("dockerd")
        .or_else(|| Some(PathBuf::from("/usr/sbin/dockerd")).filter(|p| p.is_file()))
}

/// The client of the daemon's own package is preferred to another version.
fn client_path() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/bin/docker"))
        .filter(|p| p.is_file())
        .or_else(|| shell::find("docker"))
}
