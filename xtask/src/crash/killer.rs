//! `tests/crash/killer.c`, and what it says.

use std::process::{Command, Output, Stdio};

use anyhow::Result;

use super::Host;
use crate::shell;

/// Seconds after which a run that lost a process counts as hung.
pub(super) const PATIENCE: &str = "20";

/// What the killer printed, and what lamina said on stderr.
pub(super) struct Outcome {
    pub(super) words: String,
    pub(super) stderr: String,
}

impl Outcome {
    pub(super) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Self {
            words: text(&output.stdout)
                .lines()
                .last()
                .unwrap_or("no answer")
                .to_owned(),
            stderr: text(&output.stderr),
        }
    }
}

impl Host {
    pub(super) fn kill(&self, role: &str, n: usize, words: &[&str]) -> Result<Outcome> {
        Ok(Outcome::of(&self.killer(role, n, words).output()?))
    }

    /// Returns the killer, about to give a command and to kill a part of it.
    pub(super) fn killer(&self, role: &str, n: usize, words: &[&str]) -> Command {
        let mut command = Command::new(&self.killer);
        command
            .args([role, &n.to_string(), PATIENCE])
            .arg(shell::binary("debug"))
            .args(&self.mode)
            .args(words);
        command
            .env("LAMINA_ROOT", self.root())
            .env("LAMINA_RUN", self.run_root())
            .stdin(Stdio::null());
        command
    }
}
