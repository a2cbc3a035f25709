//! Containers for tests: an image of busybox, a spec with the defaults, and what came out.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use lamina_runtime::{
    Ahead, CONFIG_JSON, CreateError, CreateRequest, Created, Expected, ROOTFS_JSON, Start,
    StartError, Stdio, begin, create, spec_default, start, start_outcome,
};
use lamina_types::explain::Explainer;
use lamina_types::{ContainerId, Rootfs, Source};
use oci_spec::runtime::{
    Capabilities, Linux, LinuxNamespaceType as Kind, LinuxResources, Process, Spec,
};
use rustix::process::{WaitId, WaitIdOptions, WaitStatus, waitid};
use tempfile::TempDir;

const BUSYBOX: &str = "/usr/bin/busybox";

/// Returns why nothing here can run on this machine.
pub(crate) fn cannot_run() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    (!Path::new(BUSYBOX).exists()).then_some("needs busybox-static")
}

/// A container to be: its directories go with it.
pub(crate) struct Container {
    pub(crate) dir: TempDir,
    pub(crate) spec: Spec,
    pub(crate) id: ContainerId,
    pub(crate) reaper: bool,
    pub(crate) terminal: bool,
}

/// What a container left behind.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) text: String,
    /// The exit code, or 128 and the signal.
    pub(crate) code: i32,
}

pub(crate) fn default_capabilities() -> Capabilities {
    spec_default::CAPABILITIES.into_iter().collect()
}

impl Container {
    /// Returns a container with every default that runs `script`.
    pub(crate) fn new(script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut id = [0x5a_u8; 32];
        id[..4].copy_from_slice(&std::process::id().to_be_bytes());
        id[4..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let mut container = Self {
            dir: tempfile::tempdir().unwrap(),
            spec: spec(),
            id: ContainerId::from_random(id),
            reaper: false,
            terminal: false,
        };
        for name in [
            "lower/bin",
            "lower/proc",
            "lower/sys",
            "lower/etc",
            "upper",
            "work",
            "bundle",
        ] {
            fs::create_dir_all(container.path(name)).unwrap();
        }
        fs::copy(BUSYBOX, container.path("lower/bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "ls", "id", "echo", "mount", "umount", "hostname", "stat", "readlink",
            "true", "sleep", "touch", "mkdir", "pwd", "grep", "kill", "mknod", "dd", "tty", "ps",
            "head", "od", "ulimit", "test", "cut", "wc", "chmod", "ln", "rm", "seq", "tail",
            "sort",
        ] {
            symlink("busybox", container.path(&format!("lower/bin/{applet}"))).unwrap();
        }
        container.args(&["/bin/sh", "-c", script]);
        container
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn args(&mut self, args: &[&str]) -> &mut Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self.process().set_args(Some(args));
        self
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.spec.process_mut().as_mut().unwrap()
    }

    pub(crate) fn linux(&mut self) -> &mut Linux {
        self.spec.linux_mut().as_mut().unwrap()
    }

    pub(crate) fn resources(&mut self) -> &mut LinuxResources {
        self.linux().resources_mut().as_mut().unwrap()
    }

    /// Adds a mount after the default ones.
    pub(crate) fn mount(
        &mut self,
        target: &str,
        kind: &str,
        source: &Path,
        options: &[&str],
    ) -> &mut Self {
        let mount = spec_default::mount(target, kind, source.to_str().unwrap(), options);
        self.spec.mounts_mut().as_mut().unwrap().push(mount);
        self
    }

    /// Binds this program into the container as /probe and makes it what runs.
    pub(crate) fn probe(&mut self, what: &[&str]) -> &mut Self {
        let own = std::env::current_exe().unwrap();
        self.mount("/probe", "bind", &own, &["bind", "ro"]);
        let args: Vec<&str> = ["/probe", "probe"].iter().chain(what).copied().collect();
        self.args(&args)
    }

    pub(crate) fn rootfs(&self) -> Rootfs {
        Rootfs::Overlay {
            lowers: vec![Source::Dir(self.path("lower"))],
            data: None,
            upper: Some(self.path("upper")),
            work: Some(self.path("work")),
            options: vec!["volatile".to_owned()],
        }
    }

    /// Creates it; the second value is where its output can be read.
    pub(crate) fn create(&self) -> Result<(Created, OwnedFd), CreateError> {
        self.create_explained(None)
    }

    pub(crate) fn create_explained(
        &self,
        pipe: Option<&OwnedFd>,
    ) -> Result<(Created, OwnedFd), CreateError> {
        use std::os::fd::AsFd;
        let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let stdio = match self.terminal {
            true => Stdio::Terminal,
            false => Stdio::Fds {
                stdin: File::open("/dev/null").unwrap().into(),
                stdout: writing.try_clone().unwrap(),
                stderr: writing,
            },
        };
        let created = create(CreateRequest {
            id: &self.id,
            spec: &self.spec,
            filter: None,
            rootfs: &self.rootfs(),
            bundle: &self.path("bundle"),
            stdio,
            start: Start::Fifo,
            explain: &mut Explainer::off(),
            explain_pipe: pipe.map(AsFd::as_fd),
            init_reaper: self.reaper,
        })?;
        Ok((created, reading))
    }

    /// Creates it with what was made before its bundle, `meanwhile` and the bundle being done in
    /// between, and orders the start at once.
    pub(crate) fn begin(
        &self,
        is_init_expected: bool,
        meanwhile: impl FnOnce(),
    ) -> (Created, OwnedFd) {
        let bundle = self.path("bundle");
        let expected = Expected {
            network: true,
            bundle: is_init_expected.then_some(bundle.as_path()),
            explain_pipe: None,
        };
        let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut ahead = Ahead::prepare(expected, &mut Explainer::off()).unwrap();
        meanwhile();
        self.write_bundle();
        ahead.bundle_is_there(0).unwrap();
        let request = CreateRequest {
            id: &self.id,
            spec: &self.spec,
            filter: None,
            rootfs: &self.rootfs(),
            bundle: &self.path("bundle"),
            stdio: Stdio::Fds {
                stdin: File::open("/dev/null").unwrap().into(),
                stdout: writing.try_clone().unwrap(),
                stderr: writing,
            },
            start: Start::Ordered,
            explain: &mut Explainer::off(),
            explain_pipe: None,
            init_reaper: self.reaper,
        };
        let begun = begin(request, ahead).unwrap();
        begun.start().unwrap();
        (begun.ready(&mut Explainer::off()).unwrap(), reading)
    }

    fn write_bundle(&self) {
        let write = |name, bytes: serde_json::Result<Vec<u8>>| {
            std::fs::write(self.path("bundle").join(name), bytes.unwrap()).unwrap();
        };
        write(CONFIG_JSON, serde_json::to_vec(&self.spec));
        write(ROOTFS_JSON, serde_json::to_vec(&self.rootfs()));
    }

    pub(crate) fn start(&self, created: &Created) -> Result<(), StartError> {
        start(&self.path("bundle"))?;
        start_outcome(&created.errors)
    }

    /// Runs it to its end and removes its cgroup.
    pub(crate) fn run(&self) -> Output {
        let (created, output) = self
            .create()
            .unwrap_or_else(|error| panic!("create: {error}"));
        self.start(&created)
            .unwrap_or_else(|error| panic!("start: {error}"));
        finish(created, output)
    }
}

/// Reads the output to its end, reaps, removes the cgroup.
pub(crate) fn finish(created: Created, output: OwnedFd) -> Output {
    let mut text = String::new();
    File::from(output).read_to_string(&mut text).unwrap();
    let code = code(&created);
    created.cgroup.unwrap().remove().unwrap();
    Output { text, code }
}

/// Waits for the init process and returns its exit code, or 128 and its signal.
pub(crate) fn code(created: &Created) -> i32 {
    let status = waitid(WaitId::Pid(created.pid), WaitIdOptions::EXITED)
        .unwrap()
        .unwrap();
    let _ = WaitStatus::exited;
    match status.exit_status() {
        Some(code) => code,
        None => 128 + status.terminating_signal().unwrap(),
    }
}

fn spec() -> Spec {
    let caps = default_capabilities();
    let mut spec = Spec::default();
    let process = spec.process_mut().as_mut().unwrap();
    process.set_rlimits(None);
    process.set_no_new_privileges(Some(false));
    process.set_capabilities(Some(spec_default::process_capabilities(&caps)));
    spec.root_mut().as_mut().unwrap().set_readonly(Some(false));
    spec.set_hostname(Some("boxed".to_owned()));
    spec.set_mounts(Some(spec_default::mounts(spec_default::SHM_SIZE)));
    let linux = spec.linux_mut().as_mut().unwrap();
    let kinds = [
        Kind::Mount,
        Kind::Pid,
        Kind::Uts,
        Kind::Ipc,
        Kind::Network,
        Kind::Cgroup,
    ];
    linux.set_namespaces(Some(spec_default::namespaces(&kinds)));
    linux.set_masked_paths(Some(spec_default::masked_paths(2)));
    linux.set_readonly_paths(Some(spec_default::readonly_paths()));
    linux.set_seccomp(Some(spec_default::seccomp(&caps)));
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(spec_default::device_rules()));
    linux.set_resources(Some(resources));
    spec
}
