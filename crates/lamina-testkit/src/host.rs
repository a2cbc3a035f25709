//! A hermetic host: a store, a run directory and a cgroup parent of its own, and a cleared
//! environment.

use std::env::var_os;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use lamina_types::instance_suffix;
use tempfile::TempDir;

/// Where the tests' programs are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A place for one test to run lamina in; gone, with everything in it, when it is dropped.
#[derive(Debug)]
pub struct Host {
    folder: TempDir,
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; 128 + n where signal n ended it.
    pub code: i32,
    /// What it wrote on stdout.
    pub stdout: String,
    /// What it wrote on stderr.
    pub stderr: String,
}

impl Host {
    /// Makes an empty host. Its path is short, so that sockets below it can be bound directly.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("lam")
            .tempdir_in("/var/tmp");
        let host = Self {
            folder: folder.expect("a temporary folder"),
        };
        // The whole suites run in another storage mode where the developer asks for it.
        if let Some(mode) = var_os("LAMINA_TEST_STORAGE_MODE") {
            let config = host.folder().join(".config/lamina");
            let made = fs::create_dir_all(&config)
                .and_then(|()| File::create(config.join("config.toml")))
                .and_then(|mut file| {
                    writeln!(file, "storage-mode = {:?}", mode.display().to_string())
                });
            made.expect("the host's configuration");
        }
        host
    }

    /// Returns a folder that goes with the host.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the store's folder.
    pub fn root(&self) -> PathBuf {
        self.folder().join("root")
    }

    /// Returns the run directory.
    pub fn run_root(&self) -> PathBuf {
        self.folder().join("run")
    }

    /// Returns the cgroup, below each hierarchy, that containers of this host are in.
    pub fn cgroup_parent(&self) -> String {
        format!("lamina{}", instance_suffix(&self.root()))
    }

    /// Sets up a command's environment, which is otherwise empty: lamina comes first in `PATH`.
    pub fn environment(&self, command: &mut Command) {
        let binary = binary();
        let folder = binary.parent().unwrap_or(Path::new("/"));
        command
            .env_clear()
            .env("PATH", format!("{}:{PATH}", folder.display()))
            .env("HOME", self.folder())
            .env("LC_ALL", "C.UTF-8")
            .env("LAMINA_ROOT", self.root())
            .env("LAMINA_RUN", self.run_root());
    }

    /// Returns a lamina command with the host's environment and no stdin.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        self.environment(&mut command);
        command
            .args(words)
            .stdin(Stdio::null())
            .current_dir(self.folder());
        command
    }

    /// Runs lamina to its end.
    pub fn lamina(&self, words: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(words))
    }

    /// Runs lamina and returns what it printed, trimmed; panics unless it succeeds.
    pub fn ok(&self, words: &[&str]) -> String {
        let outcome = self.lamina(words);
        assert_eq!(
            outcome.code,
            0,
            "lamina {}: {}",
            words.join(" "),
            outcome.stderr
        );
        outcome.stdout.trim_end().to_owned()
    }

    /// Removes every container, running or not.
    pub fn remove_containers(&self) {
        let ids = self.lamina(&["ps", "-a", "-q", "--no-trunc"]).stdout;
        let ids: Vec<&str> = ids.lines().collect();
        if !ids.is_empty() {
            let mut words = vec!["rm", "-f", "-v"];
            words.extend(ids);
            self.lamina(&words);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Only empty ones go: what a failed test left in them stays to be looked at.
        for parent in self.cgroup_parents() {
            let _ = std::fs::remove_dir(parent);
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Outcome {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let output = command
            .output()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let status = output.status;
        Self {
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Returns the lamina binary of the build that this test is of, building it if it is not there.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(find_binary).clone()
}

fn find_binary() -> PathBuf {
    if let Some(path) = var_os("LAMINA_BINARY") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().expect("the path of this test");
    // target/<triple>/debug/deps/<test>
    let profile = own
        .ancestors()
        .nth(2)
        .expect("a test lies below the profile's folder");
    let path = profile.join("lamina");
    if !path.is_file() {
        let cargo = var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--package", "lamina"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "cannot build lamina"
        );
    }
    path
}

/// Returns whether a program is installed; says SKIP on stderr if it is not.
pub fn have(program: &str) -> bool {
    let found = PATH
        .split(':')
        .any(|folder| Path::new(folder).join(program).is_file());
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skip(why: &str) {
    eprintln!("SKIP: {why}");
}
