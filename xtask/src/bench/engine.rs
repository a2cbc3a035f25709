//! The engines, each with the same image in a store of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::peers::{self, Docker};
use super::scratch::Scratch;
use super::start::lamina_in;
use crate::shell;

/// What the image is called everywhere.
pub(super) const IMAGE: &str = "bench";
/// Podman sets these limits otherwise, which needs CAP_SYS_RESOURCE.
const LIMITS: [&str; 4] = [
    "--ulimit",
    "nproc=1000:1000",
    "--ulimit",
    "nofile=1024:1024",
];

/// An engine that has the image [`IMAGE`].
pub(super) struct Engine {
    /// How the tables call it.
    pub(super) name: &'static str,
    base: Box<dyn Fn() -> Command + Sync>,
    limits: &'static [&'static str],
    /// Stopped with the value.
    _daemon: Option<Docker>,
}

impl Engine {
    /// Returns a command of the engine.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = (self.base)();
        command.args(words);
        command
    }

    /// Returns a `run` without a network: the flags, then what is run in the image.
    pub(super) fn run(&self, flags: &[&str], program: &[&str]) -> Command {
        let mut command = self.command(&["run", "--network", "none"]);
        command.args(self.limits).args(flags);
        command.arg(IMAGE).args(program);
        command
    }

    fn with_image(self, archive: &Path) -> Result<Self> {
        let mut import = self.command(&["import"]);
        import.arg(archive).arg(IMAGE);
        shell::run(import.stdout(Stdio::null()).stderr(Stdio::null()))?;
        Ok(self)
    }
}

/// Returns lamina with the image of the archive.
pub(super) fn lamina(scratch: &Scratch, archive: &Path) -> Result<Engine> {
    let (root, run) = (scratch.join("lamina"), scratch.join("lamina-run"));
    Engine {
        name: "lamina",
        base: Box::new(move || lamina_in(&root, &run)),
        limits: &[],
        _daemon: None,
    }
    .with_image(archive)
}

/// Returns the engines that are installed besides lamina, each with the image of the archive.
pub(super) fn others(scratch: &Scratch, archive: &Path) -> Result<Vec<Engine>> {
    let mut found = Vec::new();
    if let Some(program) = shell::find("podman") {
        let store = scratch.folder("podman")?;
        found.push(Engine {
            name: "podman",
            base: Box::new(move || peers::podman_in(&program, &store)),
            limits: &LIMITS,
            _daemon: None,
        });
    }
    if let Some(docker) = Docker::start(scratch)? {
        found.push(Engine {
            name: "docker",
            base: docker.base(),
            limits: &[],
            _daemon: Some(docker),
        });
    }
    found
        .into_iter()
        .map(|engine| engine.with_image(archive))
        .collect()
}
