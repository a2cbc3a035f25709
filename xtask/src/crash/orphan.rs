//! kill -9 of the monitor of a container in the background at every system call of its life, and
//! what the commands find that follow.
//!
//! The container's own process is not killed: it goes on, and the commands bring supervision back.
//! They are given while the killer still watches, because the program does not end by itself.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Host, MOST_CALLS, Outcome};

/// The container whose monitor is killed.
const ORPHAN: &str = "orphan";
/// The stride of the short form.
const STRIDE: usize = 23;
/// How long a command may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kills the monitor at call after call, until its life has fewer.
pub(super) fn run(host: &Host, full: bool, wrong: &mut Vec<String>) -> Result<()> {
    let mut kills = 0;
    for n in (1..MOST_CALLS).step_by(if full { 1 } else { STRIDE }) {
        let words = [
            "run",
            "-d",
            "--network",
            "none",
            "--cgroup-parent",
            &host.parent,
            "--name",
            ORPHAN,
            "crash",
            "/bin/sleep",
            "1000",
        ];
        let mut killer = host.killer("monitor", n, &words);
        let mut killer = killer
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let followed = host.follow(&mut killer);
        // What has begun it ends, whatever was found.
        let _ = host.lamina().args(["rm", "-f", ORPHAN]).output()?;
        let outcome = Outcome::of(&killer.wait_with_output()?);
        if outcome.words.starts_with("passed") && followed.is_ok() {
            break;
        }
        kills += 1;
        let is_well = ["killed", "passed"]
            .iter()
            .any(|word| outcome.words.starts_with(word));
        let killed = match is_well {
            true => Ok(()),
            false => Err(anyhow::anyhow!("{}: {}", outcome.words, outcome.stderr)),
        };
        if let Err(error) = followed.and(killed).and_then(|()| host.verify()) {
            wrong.push(format!("orphan, monitor at call {n}: {error:#}"));
            host.sweep();
        }
    }
    println!("crash orphan: {kills} kills");
    Ok(())
}

impl Host {
    /// Gives `ps`, `logs`, `stop` and `rm` as soon as the container runs, or its command has given
    /// up; the monitor may be killed before any of them, and in the middle.
    fn follow(&self, killer: &mut Child) -> Result<()> {
        let begun = Instant::now();
        loop {
            let inspect = ["inspect", "-f", "{{.State.Status}}", ORPHAN];
            let inspect = self.lamina().args(inspect).output()?;
            let is_over = killer.try_wait()?.is_some();
            if inspect.stdout.starts_with(b"running") || is_over {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "the container does not begin");
            sleep(Duration::from_millis(2));
        }
        let listed = self.ok(&["ps", "-a", "--format", "{{.State}}"])?;
        if listed.is_empty() {
            // The command was told, and has taken everything back.
            return Ok(());
        }
        for words in [&["logs", ORPHAN][..], &["stop", "-t", "0", ORPHAN]] {
            self.ok(words)?;
        }
        let state = self.ok(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}}",
            ORPHAN,
        ])?;
        // SIGKILL; or an end that nobody saw; or it never began.
        let is_true = match state.trim() {
            "exited 137" => true,
            "exited 255" => self.is_said_to_be_unknown()?,
            other => other.starts_with("created"),
        };
        ensure!(is_true, "after stop it is {}", state.trim());
        self.ok(&["rm", ORPHAN])?;
        Ok(())
    }

    fn is_said_to_be_unknown(&self) -> Result<bool> {
        let error = self.ok(&["inspect", "-f", "{{.State.Error}}", ORPHAN])?;
        Ok(error.contains("not known"))
    }
}
