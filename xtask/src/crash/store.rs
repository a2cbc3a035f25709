//! kill -9 of the commands that change the store, at every call that changes a file.
//!
//! Each begins with a copy of a store that was made for it. After each kill the next commands are
//! given: nothing may be half-done, the store is whole (`fsck`), what had been acknowledged is
//! there, and the command, given again, does what it should.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};

use super::checks::migrated_again;
use super::killer::PATIENCE;
use super::places::{Places, Registry, tar};
use super::scenarios::{SCENARIOS, Scenario};
use super::{MOST_CALLS, entries};
use crate::shell;

const MIGRATE: &str = "system migrate";
/// How large the layer is that is pulled and pushed.
pub(super) const LAYER: usize = 8 << 20;
/// Runs every scenario, and `system migrate` in mode plain, whose stores may be of older builds.
pub(super) fn run(
    mode: &str,
    full: bool,
    only: Option<&str>,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let mut host = Host::new(mode)?;
    let asked = |name: &str| only.is_none_or(|word| name.contains(word));
    for scenario in SCENARIOS.iter().filter(|one| asked(one.name)) {
        host.disturb(scenario, full, wrong)?;
    }
    if mode.ends_with("plain") && asked(MIGRATE) {
        host.age()?;
        let migrate = Scenario {
            name: MIGRATE,
            stride: 5,
            words: &["system", "migrate"],
            before: &[],
            check: migrated_again,
        };
        host.disturb(&migrate, full, wrong)?;
    }
    Ok(())
}

pub(super) struct Host {
    pub(super) places: Places,
    killer: PathBuf,
    mode: String,
    pub(super) registry: Registry,
}

impl Host {
    /// Makes a store with two images, one of two names, an idle container with a volume.
    fn new(mode: &str) -> Result<Self> {
        let places = Places::new(mode)?;
        let killer = places.folder().join("killer");
        let mut gcc = shell::command("gcc", &["-O2", "-o"]);
        shell::run(
            gcc.arg(&killer)
                .arg(shell::root().join("tests/crash/killer.c")),
        )?;
        places.images(&[("big:1", LAYER)])?;
        let registry = places.serve()?;
        let host = Self {
            places,
            killer,
            mode: mode.to_owned(),
            registry,
        };
        let root = host.template();
        for (name, size) in [("one", 200_000), ("two", 100_000)] {
            let archive = tar(host.places.folder(), name, size)?;
            let archive = archive.to_string_lossy().into_owned();
            let name = format!("{name}:1");
            host.places.ok_in(&root, &["import", &archive, &name])?;
        }
        for words in [
            &["tag", "one:1", "one:2"][..],
            &[
                "create",
                "--name",
                "idle",
                "-v",
                "/data",
                "two:1",
                "/bin/true",
            ],
        ] {
            host.places.ok_in(&root, words)?;
        }
        Ok(host)
    }

    pub(super) fn template(&self) -> PathBuf {
        self.places.folder().join("template")
    }

    pub(super) fn root(&self) -> PathBuf {
        self.places.root()
    }

    pub(super) fn words(&self, words: &[&str]) -> Vec<String> {
        let folder = self.places.folder().to_string_lossy();
        let replace = |word: &&str| self.registry.word(word).replace("FOLDER", &folder);
        words.iter().map(replace).collect()
    }

    /// Runs a command to its end; returns what it printed.
    pub(super) fn ok(&self, words: &[&str]) -> Result<String> {
        let words = self.words(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.places.ok(&words)
    }

    /// Puts the store back to how a scenario begins.
    fn reset(&self, from: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(self.root());
        let mut copy = shell::command("cp", &["-a"]);
        shell::run(copy.arg(from).arg(self.root()))
    }

    /// The store as the scenario begins.
    pub(super) fn begin(&self) -> PathBuf {
        self.places.folder().join("begin")
    }

    fn disturb(&mut self, scenario: &Scenario, full: bool, wrong: &mut Vec<String>) -> Result<()> {
        let stride = if full { 1 } else { scenario.stride };
        self.reset(&self.template())?;
        for words in scenario.before {
            self.ok(words)?;
        }
        let begin = self.begin();
        let _ = fs::remove_dir_all(&begin);
        fs::rename(self.root(), &begin)?;
        let mut calls = BTreeMap::new();
        for n in (1..MOST_CALLS).step_by(stride) {
            self.reset(&begin)?;
            if scenario.name == "push" {
                // What one attempt has sent the next one would not send.
                self.registry = self.places.serve_empty()?;
                if let Some(name) = self.pushed_name() {
                    self.ok(&["tag", "one:1", &name])?;
                }
            }
            let Some(call) = self.kill(scenario, n)? else {
                break;
            };
            if let Err(error) = self
                .verify(scenario)
                .and_then(|()| (scenario.check)(self, scenario))
            {
                let name = scenario.name;
                wrong.push(format!("{name} at call {n} (number {call}): {error:#}"));
            }
            *calls.entry(call).or_insert(0) += 1;
        }
        let kills: usize = calls.values().sum();
        println!(
            "crash {}: {kills} kills at {} different system calls",
            scenario.name,
            calls.len()
        );
        Ok(())
    }

    fn pushed_name(&self) -> Option<String> {
        self.words(&["REGISTRY/one:1"]).pop()
    }

    /// Kills the command at its `n`-th call that changes a file; `None` when it made fewer.
    fn kill(&self, scenario: &Scenario, n: usize) -> Result<Option<String>> {
        let mut command = Command::new(&self.killer);
        command.args(["store", &n.to_string(), PATIENCE]);
        command.arg(shell::binary("debug")).arg(&self.mode);
        command.args(self.words(scenario.words));
        self.places.surround(&mut command, &self.root());
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last: Vec<&str> = text.lines().last().unwrap_or("").split(' ').collect();
        match last.as_slice() {
            ["passed", _, "0"] => Ok(None),
            ["killed", call, _] => Ok(Some((*call).to_owned())),
            other => bail!(
                "{} at call {n}: {}: {}",
                scenario.name,
                other.join(" "),
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }

    /// Gives the next commands; then nothing of the killed one may be left.
    fn verify(&self, scenario: &Scenario) -> Result<()> {
        for words in [&["ps", "-a"][..], &["images"], &["df"]] {
            self.ok(words)?;
        }
        let mut left = Vec::new();
        for folder in ["ops", "trash"] {
            left.extend(entries(&self.root().join(folder)));
        }
        ensure!(left.is_empty(), "left behind: {}", left.join(", "));
        if scenario.name == MIGRATE {
            // What is not converted yet is what it is there to convert.
            return Ok(());
        }
        self.whole()
    }

    pub(super) fn whole(&self) -> Result<()> {
        self.places.whole()
    }

    /// Everything that removing changes: names of images, containers, layers and volumes, with
    /// the content of the files that say what they are.
    pub(super) fn picture(&self, root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut all = BTreeMap::new();
        let mut waiting: Vec<PathBuf> = Vec::new();
        for folder in ["refs", "snap", "containers", "volumes"] {
            waiting.push(root.join(folder));
        }
        while let Some(path) = waiting.pop() {
            // Made when somebody first took it.
            if path.file_name().is_some_and(|name| name == "lock") {
                continue;
            }
            let metadata = path.symlink_metadata()?;
            let content = if metadata.is_dir() {
                waiting.extend(entries(&path).map(PathBuf::from));
                metadata.permissions().mode().to_string().into_bytes()
            } else if metadata.is_symlink() {
                fs::read_link(&path)?.into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path)?
            };
            all.insert(path.strip_prefix(root)?.display().to_string(), content);
        }
        Ok(all)
    }

    /// Makes the layers of the template what an older build left.
    fn age(&self) -> Result<()> {
        let root = self.template();
        for image in ["one:1", "two:1"] {
            self.places
                .ok_in(&root, &["image", "blobs", "--rebuild", image])?;
        }
        for layer in entries(&root.join("layers")) {
            for name in ["split.zst", "idx"] {
                fs::remove_file(Path::new(&layer).join(name))?;
            }
        }
        Ok(())
    }
}
