//! kill -9 of the clients of a container that stays, of the supervisor of an `exec`, and of
//! everybody in the life of a container in the background.
//!
//! After each kill the container is as the command found it or as the command was to leave it, the
//! next commands work, and nothing of the killed one is left.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Host, MOST_CALLS, entries};
use crate::shell;

/// How long what a killed command has left may take to go.
const PATIENCE: Duration = Duration::from_secs(10);
/// The container that stays, and one that ends by itself soon after its start.
const STAY: &str = "stay";
const BRIEF: &str = "brief";
/// The container in the background whose whole life is disturbed.
const BACK: &str = "back";

/// One command that is disturbed.
struct Visit {
    name: &'static str,
    /// Its words; `FOLDER` stands for the host's folder, `PARENT` for the parent of its cgroups.
    words: &'static [&'static str],
    /// The processes that are killed, as the killer names them, and the stride of the short form.
    roles: &'static [(&'static str, usize)],
}

const VISITS: [Visit; 9] = [
    Visit {
        name: "exec",
        words: &["exec", STAY, "/bin/true"],
        roles: &[("cli", 43), ("spawner", 7), ("monitor", 37), ("init", 31)],
    },
    Visit {
        name: "cp out of it",
        words: &["cp", "stay:/bin/true", "FOLDER/out"],
        roles: &[("cli", 31)],
    },
    Visit {
        name: "cp into it",
        words: &["cp", "FOLDER/tree/bin/true", "stay:/in"],
        roles: &[("cli", 31)],
    },
    Visit {
        name: "commit while it runs",
        words: &["commit", STAY, "committed"],
        roles: &[("cli", 61)],
    },
    Visit {
        name: "pause",
        words: &["pause", STAY],
        roles: &[("cli", 23)],
    },
    Visit {
        name: "stop",
        words: &["stop", "-t", "0", STAY],
        roles: &[("cli", 23)],
    },
    Visit {
        name: "restart",
        // The killer ends with the last process: the program has to end.
        words: &["restart", "-t", "0", BRIEF],
        roles: &[("cli", 71), ("monitor", 41)],
    },
    Visit {
        name: "attach",
        words: &["attach", "--no-stdin", BRIEF],
        roles: &[("cli", 31)],
    },
    Visit {
        name: "logs -f",
        words: &["logs", "-f", BRIEF],
        roles: &[("cli", 31)],
    },
];

const BACKGROUND: Visit = Visit {
    name: "run -d",
    words: &[
        "run",
        "-d",
        "--network",
        "none",
        "--cgroup-parent",
        "PARENT",
        "--name",
        BACK,
        "crash",
        "/bin/true",
    ],
    roles: &[("cli", 41), ("spawner", 7), ("monitor", 29), ("init", 37)],
};

/// A container that fails and is started again, with the waiting in between.
const AGAIN: Visit = Visit {
    name: "run -d --restart",
    words: &[
        "run",
        "-d",
        "--network",
        "none",
        "--cgroup-parent",
        "PARENT",
        "--name",
        BACK,
        "--restart",
        "on-failure:1",
        "crash",
        "/bin/false",
    ],
    roles: &[("cli", 311), ("monitor", 211), ("other", 601)],
};

/// Disturbs every visit.
pub(super) fn run(host: &Host, full: bool, wrong: &mut Vec<String>) -> Result<()> {
    for (name, seconds) in [(STAY, "100000"), (BRIEF, "0.2")] {
        let parent = [
            "create",
            "--network",
            "none",
            "--cgroup-parent",
            &host.parent,
        ];
        let create = [&parent[..], &["--name", name]].concat();
        host.ok(&[&create[..], &["crash", "/bin/sleep", seconds]].concat())?;
    }
    for visit in VISITS.iter().chain([&BACKGROUND, &AGAIN]) {
        host.disturb(visit, full, wrong)?;
    }
    let _ = host.lamina().args(["rm", "-f", BACK]).output()?;
    host.ok(&["rm", "-f", STAY, BRIEF])?;
    host.verify()
}

impl Host {
    fn disturb(&self, visit: &Visit, full: bool, wrong: &mut Vec<String>) -> Result<()> {
        let folder = self.folder.to_string_lossy();
        let named = |word: &&str| {
            word.replace("FOLDER", &folder)
                .replace("PARENT", &self.parent)
        };
        let words: Vec<String> = visit.words.iter().map(named).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let begun = Instant::now();
        let mut kills = 0;
        for (role, stride) in visit.roles {
            for n in (1..MOST_CALLS).step_by(if full { 1 } else { *stride }) {
                self.as_it_was()?;
                let outcome = self.kill(role, n, &words)?;
                if outcome.words.starts_with("passed") {
                    break;
                }
                kills += 1;
                let program = words.last().copied().unwrap_or_default();
                let checked = match outcome.words.starts_with("killed") {
                    true => self
                        .background_ends(program)
                        .and_then(|()| self.as_if_nothing_had_been()),
                    false => Err(anyhow::anyhow!("{}: {}", outcome.words, outcome.stderr)),
                };
                if let Err(error) = checked {
                    wrong.push(format!("{}, {role} at call {n}: {error:#}", visit.name));
                }
            }
        }
        println!(
            "crash {}: {kills} kills in {} s",
            visit.name,
            begun.elapsed().as_secs()
        );
        Ok(())
    }

    pub(super) fn ok(&self, words: &[&str]) -> Result<String> {
        shell::output(self.lamina().args(words)).with_context(|| words.join(" "))
    }

    fn status(&self, name: &str) -> Result<String> {
        let printed = self.ok(&["inspect", "-f", "{{.State.Status}}", name])?;
        Ok(printed.trim().to_owned())
    }

    /// Both containers run, as before every visit, and the third is not there.
    fn as_it_was(&self) -> Result<()> {
        if self.status(STAY)? == "paused" {
            self.ok(&["unpause", STAY])?;
        }
        for name in [STAY, BRIEF] {
            if self.status(name)? != "running" {
                self.ok(&["start", name])?;
            }
        }
        let _ = self.lamina().args(["rm", "-f", BACK]).output()?;
        Ok(())
    }

    /// What was begun in the background ends, and is not said to have done well if it has not.
    fn background_ends(&self, program: &str) -> Result<()> {
        let filter = format!("name=^{BACK}$");
        let begun = Instant::now();
        loop {
            let state = self.ok(&["ps", "-a", "-f", &filter, "--format", "{{.State}}"])?;
            match state.trim() {
                "" | "created" | "dead" => return Ok(()),
                "exited" => break,
                other => ensure!(begun.elapsed() < PATIENCE, "{BACK} is {other} for ever"),
            }
            sleep(Duration::from_millis(5));
        }
        let code = self.ok(&["inspect", "-f", "{{.State.ExitCode}}", BACK])?;
        let invented = program == "/bin/false" && code.trim() == "0";
        ensure!(
            !invented,
            "a program that fails is said to have ended with 0"
        );
        Ok(())
    }

    /// Returns whether a container ends before long.
    fn ends(&self, name: &str) -> Result<bool> {
        let begun = Instant::now();
        while self.status(name)? == "running" {
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
            sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    fn as_if_nothing_had_been(&self) -> Result<()> {
        let status = self.status(STAY)?;
        ensure!(
            ["running", "paused", "exited"].contains(&status.as_str()),
            "the container is {status}"
        );
        self.as_it_was()?;
        let executed = self.ok(&["exec", STAY, "/bin/true"]);
        match executed {
            // Whoever was killed had killed it, and it was just ending.
            Err(_) if self.ends(STAY)? => {
                self.as_it_was()?;
                self.ok(&["exec", STAY, "/bin/true"])?;
            }
            other => drop(other?),
        }
        let code = self.ok(&["wait", BRIEF])?;
        ensure!(code.trim() == "0", "it ended with {}", code.trim());
        let begun = Instant::now();
        loop {
            match self.leftovers() {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Fails where there is more than the two containers. The records of executions whose client was
    /// killed are there until the run ends, as those of detached ones.
    fn leftovers(&self) -> Result<()> {
        let mut left: Vec<String> = Vec::new();
        for folder in ["ops", "trash"] {
            left.extend(entries(&self.root().join(folder)));
        }
        let monitors = self
            .processes()
            .iter()
            .filter(|p| p.contains("__monitor"))
            .count();
        if monitors > 1 {
            left.push(format!("{monitors} monitors"));
        }
        for group in self.cgroups() {
            let members = std::fs::read_to_string(PathBuf::from(&group).join("cgroup.procs"));
            if members.is_ok_and(|members| members.lines().count() > 1) {
                left.push(format!("processes in {group}"));
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        bail!("left behind: {}", left.join(", "))
    }
}
