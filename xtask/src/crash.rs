//! `cargo xtask crash`: kill -9 of the CLI, the monitor or init at every system call of a run.
//!
//! After each kill one `lamina ps -a` is given, as a user would, and then nothing of the run may
//! be left: no process, mount, cgroup, snapshot, record, lease or bundle; and the next run works.
//! `--short` takes a sample of the calls, with a stride that differs from role to role; `--full`
//! takes every call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{debian, shell};

/// The processes of a run, as `tests/crash/killer.c` names them, and the stride of the sample.
const ROLES: [(&str, usize); 4] = [("cli", 13), ("spawner", 5), ("monitor", 17), ("init", 13)];
/// Seconds after which a run that lost a process counts as hung.
const PATIENCE: &str = "20";
/// More calls than any role makes: the loop ends when a role ran out of them.
const MOST_CALLS: usize = 5_000;

/// Runs the loop.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    debian::install(&debian::TESTS[..1])?;
    shell::cargo(&["build", "--package", "lamina", "--quiet"])?;
    let full = words.contains(&"--full");
    let host = Host::new()?;
    let mut wrong = Vec::new();
    for (role, stride) in ROLES {
        let stride = if full { 1 } else { stride };
        let mut kills = 0;
        let mut calls = BTreeMap::new();
        for n in (1..MOST_CALLS).step_by(stride) {
            let outcome = host.kill(role, n)?;
            let Some(call) = outcome.strip_prefix("killed ") else {
                if !outcome.starts_with("passed") {
                    wrong.push(format!("{role} at call {n}: {outcome}"));
                    host.sweep();
                    continue;
                }
                break;
            };
            kills += 1;
            *calls.entry(call.to_owned()).or_insert(0) += 1;
            if let Err(error) = host.verify() {
                wrong.push(format!("{role} at call {n} (number {call}): {error:#}"));
                host.sweep();
            }
        }
        println!(
            "crash {role}: {kills} kills at {} different system calls",
            calls.len()
        );
    }
    host.run_works()?;
    if !wrong.is_empty() {
        bail!(
            "{} of the kills left something:\n  {}",
            wrong.len(),
            wrong.join("\n  ")
        );
    }
    Ok(())
}

/// A store and a run directory of our own, with an image of one busybox.
struct Host {
    folder: PathBuf,
    killer: PathBuf,
    parent: String,
}

impl Host {
    fn new() -> Result<Self> {
        let folder = PathBuf::from(format!("/var/tmp/lamina-crash-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("tree/bin"))?;
        let killer = folder.join("killer");
        let mut gcc = shell::command("gcc", &["-O2", "-o"]);
        shell::run(
            gcc.arg(&killer)
                .arg(shell::root().join("tests/crash/killer.c")),
        )?;
        let busybox = shell::find("busybox").context("no busybox")?;
        std::fs::copy(busybox, folder.join("tree/bin/true"))?;
        let host = Self {
            folder,
            killer,
            parent: format!("/lamina-crash-{}", std::process::id()),
        };
        let archive = host.folder.join("image.tar");
        let mut tar = shell::command("tar", &["-C"]);
        shell::run(
            tar.arg(host.folder.join("tree"))
                .arg("-cf")
                .arg(&archive)
                .arg("."),
        )?;
        shell::run(
            host.lamina()
                .arg("import")
                .arg(&archive)
                .arg("crash")
                .stdout(Stdio::null()),
        )?;
        host.run_works()?;
        Ok(host)
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    fn run_root(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn lamina(&self) -> Command {
        let mut command = Command::new(shell::binary("debug"));
        command
            .env("LAMINA_ROOT", self.root())
            .env("LAMINA_RUN", self.run_root());
        command.stdin(Stdio::null());
        command
    }

    /// Returns the words of the run that is disturbed.
    fn words(&self) -> [&str; 8] {
        [
            "run",
            "--rm",
            "--network",
            "none",
            "--cgroup-parent",
            &self.parent,
            "crash",
            "/bin/true",
        ]
    }

    fn kill(&self, role: &str, n: usize) -> Result<String> {
        let mut command = Command::new(&self.killer);
        command
            .args([role, &n.to_string(), PATIENCE])
            .arg(shell::binary("debug"))
            .args(self.words());
        command
            .env("LAMINA_ROOT", self.root())
            .env("LAMINA_RUN", self.run_root());
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().last().unwrap_or("no answer").to_owned())
    }

    fn run_works(&self) -> Result<()> {
        shell::run(self.lamina().args(self.words())).context("a plain run")
    }

    /// Gives the next command, then looks for anything that is left.
    fn verify(&self) -> Result<()> {
        let next = self.lamina().args(["ps", "-a", "-q"]).output()?;
        if !next.status.success() {
            bail!("ps -a: {}", String::from_utf8_lossy(&next.stderr).trim());
        }
        let mut left = Vec::new();
        if !next.stdout.is_empty() {
            left.push(format!(
                "containers {}",
                String::from_utf8_lossy(&next.stdout).trim()
            ));
        }
        for folder in ["snap", "ops", "containers/names"] {
            left.extend(entries(&self.root().join(folder)));
        }
        left.extend(
            entries(&self.root().join("containers")).filter(|path| !path.ends_with("/names")),
        );
        left.extend(entries(&self.run_root().join("containers")));
        left.extend(self.cgroups());
        left.extend(self.processes());
        left.extend(self.mounts()?);
        if !left.is_empty() {
            bail!("left behind: {}", left.join(", "));
        }
        Ok(())
    }

    fn cgroups(&self) -> Vec<String> {
        let mut hierarchies = vec![PathBuf::from("/sys/fs/cgroup")];
        hierarchies.extend(entries(&hierarchies[0]).map(PathBuf::from));
        let name = self.parent.trim_start_matches('/');
        hierarchies
            .iter()
            .flat_map(|hierarchy| entries(&hierarchy.join(name)))
            .filter(|path| Path::new(path).is_dir())
            .collect()
    }

    /// Returns every process that has our store or run directory in its command line or, for
    /// one in a container, one of our files open.
    fn processes(&self) -> Vec<String> {
        let ours = self.folder.to_string_lossy().into_owned();
        let mut found = Vec::new();
        for path in
            entries(Path::new("/proc")).filter(|p| p[6..].bytes().all(|b| b.is_ascii_digit()))
        {
            let words = std::fs::read(format!("{path}/cmdline")).unwrap_or_default();
            let environment = std::fs::read(format!("{path}/environ")).unwrap_or_default();
            let stat = std::fs::read_to_string(format!("{path}/stat")).unwrap_or_default();
            let gone = stat.is_empty() || stat.contains(") Z ");
            let mentions = |bytes: &[u8]| bytes.windows(ours.len()).any(|w| w == ours.as_bytes());
            if !gone && (mentions(&words) || mentions(&environment)) {
                found.push(format!(
                    "process {path} {}",
                    String::from_utf8_lossy(&words).replace('\0', " ")
                ));
            }
        }
        found
    }

    fn mounts(&self) -> Result<Vec<String>> {
        let ours = self.folder.to_string_lossy().into_owned();
        let table = std::fs::read_to_string("/proc/self/mountinfo")?;
        Ok(table
            .lines()
            .filter(|line| line.contains(&ours))
            .map(|line| format!("mount {line}"))
            .collect())
    }

    /// Clears what a failed iteration left, so that the next one starts clean.
    fn sweep(&self) {
        let script = r#"for f in $(find /sys/fs/cgroup -path "*$1/*" -name cgroup.procs 2>/dev/null); do for p in $(cat $f); do kill -9 $p; done; done; sleep 0.2; find /sys/fs/cgroup -depth -path "*$1/*" -type d -exec rmdir {} + 2>/dev/null; rm -rf "$2"/run/containers/* "$2"/root/ops/* "$2"/root/snap/*; find "$2"/root/containers -mindepth 1 -maxdepth 1 ! -name names -exec rm -rf {} +; rm -rf "$2"/root/containers/names/*; pkill -9 -f "$2""#;
        let folder = self.folder.to_string_lossy().into_owned();
        let _ = shell::command("sh", &["-c", script, "sh", &self.parent, &folder]).status();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.sweep();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = String> + use<> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().to_string_lossy().into_owned())
}
