//! `cargo xtask crash`: kill -9 of the CLI, the monitor or init at every system call of a run.
//!
//! After each kill one `lamina ps -a` is given, as a user would, and then nothing of the run may
//! be left: no process, mount, cgroup, snapshot, record, lease, bundle or rubbish; and the next run
//! works. The command's exit code must be one that is true of what happened. `stay` does the same
//! with the commands that visit a container that runs, `orphan` with the monitor of one that goes on
//! without it. `--short` takes a
//! sample of the calls, with a stride that differs from role to role; `--full` takes every call.
//! `store` does the same with the commands that change the store.
//! `--storage-mode=MODE` has every command in that mode.

mod checks;
mod killer;
mod orphan;
mod places;
mod scenarios;
mod stay;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use killer::Outcome;
pub(crate) use places::Places;

use crate::{debian, shell};

/// The processes of a run as `tests/crash/killer.c` names them, the stride of the sample, and the
/// codes with which the command may end: 125 where no program's end is known, 137 where the process
/// that was to be the program was killed, and 0 where the program had ended before.
const ROLES: [(&str, usize, &[i32]); 4] = [
    ("cli", 17, &[137]),
    ("spawner", 3, &[125, 0]),
    ("monitor", 11, &[125, 0]),
    ("init", 19, &[125, 137]),
];
/// After this many kills a run is given besides.
const RUN_EVERY: usize = 10;
/// How long a monitor may take to end.
const SETTLING: Duration = Duration::from_secs(3);
/// More calls than any role makes: the loop ends when a role ran out of them.
const MOST_CALLS: usize = 5_000;

/// Runs the loop. `--orphan` kills the monitor of a container in the background only, `--stay` what
/// visits one that runs; `--store`
/// leaves out the kills of a run, `--only=WORD` also the commands without
/// that word in their name; `--no-build` takes the binary there is.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    debian::install(&debian::TESTS[..1])?;
    if !words.contains(&"--no-build") {
        shell::build()?;
    }
    let full = words.contains(&"--full");
    let only = words.iter().find_map(|word| word.strip_prefix("--only="));
    let mode = words
        .iter()
        .find(|word| word.starts_with("--storage-mode="));
    let works_on_the_store = |wrong: &mut Vec<_>| {
        let mode = mode.unwrap_or(&"--storage-mode=auto");
        store::run(mode, full, only, wrong)
    };
    if words.contains(&"--store") || only.is_some() {
        let mut wrong = Vec::new();
        works_on_the_store(&mut wrong)?;
        return verdict(&wrong);
    }
    let host = Host::new(mode.copied())?;
    let mut wrong = Vec::new();
    if words.contains(&"--stay") {
        stay::run(&host, full, &mut wrong)?;
        return verdict(&wrong);
    }
    if words.contains(&"--orphan") {
        orphan::run(&host, full, &mut wrong)?;
        return verdict(&wrong);
    }
    for (role, stride, codes) in ROLES {
        let stride = if full { 1 } else { stride };
        let begun = Instant::now();
        let mut calls = BTreeMap::new();
        for n in (1..MOST_CALLS).step_by(stride) {
            let Some(call) = host.kill_once(role, n, codes, &mut wrong)? else {
                break;
            };
            *calls.entry(call).or_insert(0) += 1;
        }
        let kills: usize = calls.values().sum();
        println!(
            "crash {role}: {kills} kills at {} different system calls in {} s",
            calls.len(),
            begun.elapsed().as_secs()
        );
    }
    host.run_works()?;
    stay::run(&host, full, &mut wrong)?;
    orphan::run(&host, full, &mut wrong)?;
    drop(host);
    works_on_the_store(&mut wrong)?;
    verdict(&wrong)
}

fn verdict(wrong: &[String]) -> Result<()> {
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
    /// `--storage-mode=…`, before every command. Without it a `run` is as plain as a user's, and
    /// its monitor is begun before its arguments are read.
    mode: Option<String>,
}

impl Host {
    fn new(mode: Option<&str>) -> Result<Self> {
        let folder = PathBuf::from(format!("/var/tmp/lamina-crash-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("tree/bin"))?;
        let killer = folder.join("killer");
        let mut gcc = shell::command("gcc", &["-O2", "-o"]);
        shell::run(
            gcc.arg(&killer)
                .arg(shell::root().join("tests/crash/killer.c")),
        )?;
        let busybox = shell::find("busybox").context("no busybox")?;
        for applet in ["true", "false", "sleep"] {
            std::fs::copy(&busybox, folder.join("tree/bin").join(applet))?;
        }
        let host = Self {
            folder,
            killer,
            parent: format!("/lamina-crash-{}", std::process::id()),
            mode: mode.map(str::to_owned),
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
            .env("LAMINA_RUN", self.run_root())
            .args(&self.mode);
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

    /// Kills `role` at its `n`-th call and looks at what is left. Returns the call's number;
    /// `None` when the role ended before.
    fn kill_once(
        &self,
        role: &str,
        n: usize,
        codes: &[i32],
        wrong: &mut Vec<String>,
    ) -> Result<Option<String>> {
        let Outcome { words, stderr } = self.kill(role, n, &self.words())?;
        let words: Vec<&str> = words.split(' ').collect();
        let (call, code) = match words.as_slice() {
            ["passed", _, "0"] => return Ok(None),
            ["killed", call, code] => ((*call).to_owned(), code.parse().unwrap_or(-1)),
            other => {
                wrong.push(format!("{role} at call {n}: {}: {stderr}", other.join(" ")));
                self.sweep();
                return Ok(Some("none".to_owned()));
            }
        };
        if !codes.contains(&code) {
            let text = format!("{role} at call {n} (number {call}): exit code {code}: {stderr}");
            wrong.push(text);
        }
        let run = match n.is_multiple_of(RUN_EVERY) {
            true => self.run_works(),
            false => Ok(()),
        };
        if let Err(error) = self.verify().and(run) {
            wrong.push(format!("{role} at call {n} (number {call}): {error:#}"));
            self.sweep();
        }
        Ok(Some(call))
    }

    fn run_works(&self) -> Result<()> {
        shell::run(self.lamina().args(self.words())).context("a plain run")
    }

    /// Gives the next command, then looks for anything that is left. A monitor that is unlinking
    /// what a command has left to it is given a few seconds.
    fn verify(&self) -> Result<()> {
        let next = self.lamina().args(["ps", "-a", "-q"]).output()?;
        if !next.status.success() {
            bail!("ps -a: {}", String::from_utf8_lossy(&next.stderr).trim());
        }
        if !next.stdout.is_empty() {
            let listed = String::from_utf8_lossy(&next.stdout);
            bail!("left behind: containers {}", listed.trim());
        }
        let deadline = Instant::now() + SETTLING;
        loop {
            let left = self.left_behind()?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("left behind: {}", left.join(", "));
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn left_behind(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for folder in ["snap", "ops", "containers/names", "trash"] {
            left.extend(entries(&self.root().join(folder)));
        }
        left.extend(
            entries(&self.root().join("containers")).filter(|path| !path.ends_with("/names")),
        );
        left.extend(entries(&self.run_root().join("containers")));
        left.extend(self.cgroups());
        left.extend(self.processes());
        left.extend(self.mounts()?);
        Ok(left)
    }

    fn cgroups(&self) -> Vec<String> {
        self.parents()
            .flat_map(|parent| entries(&parent))
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

    /// Returns the host's cgroup of every hierarchy.
    fn parents(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let top = PathBuf::from("/sys/fs/cgroup");
        let hierarchies: Vec<PathBuf> = entries(&top).map(PathBuf::from).chain([top]).collect();
        let name = self.parent.trim_start_matches('/').to_owned();
        hierarchies.into_iter().map(move |dir| dir.join(&name))
    }

    /// Clears what a failed iteration left, so that the next one starts clean.
    fn sweep(&self) {
        let groups: Vec<String> = self.parents().flat_map(|dir| entries(&dir)).collect();
        let procs = |group: &String| std::fs::read_to_string(format!("{group}/cgroup.procs"));
        let listed = groups.iter().filter_map(|group| procs(group).ok());
        let mut pids: Vec<String> = listed
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        pids.extend(self.processes().iter().filter_map(|found| {
            let pid = found.strip_prefix("process /proc/")?.split(' ').next()?;
            Some(pid.to_owned())
        }));
        if !pids.is_empty() {
            let _ = Command::new("kill").arg("-9").args(pids).status();
            sleep(Duration::from_millis(200));
        }
        for group in groups {
            let _ = std::fs::remove_dir(group);
        }
        let root = self.root();
        for folder in ["ops", "snap", "containers", "trash"] {
            let _ = std::fs::remove_dir_all(root.join(folder));
            let _ = std::fs::create_dir(root.join(folder));
        }
        let _ = std::fs::create_dir(root.join("containers/names"));
        let _ = std::fs::remove_dir_all(self.run_root());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.sweep();
        for parent in self.parents() {
            let _ = std::fs::remove_dir(parent);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Lists a folder by path.
pub(crate) fn entries(folder: &Path) -> impl Iterator<Item = String> + use<> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().to_string_lossy().into_owned())
}
