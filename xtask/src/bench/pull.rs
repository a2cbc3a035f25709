//! `bench pull`: the same image from the same registry, each time into a new store on a new ext4
//! with a journal.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

use super::image::Registry;
use super::peers::{self, Docker};
use super::report;
use super::scratch::Scratch;
use super::start::lamina_in;
use crate::shell;

/// The row of storage mode plain; the other is the mode that is chosen by itself.
const PLAIN: &str = "lamina, mode plain";

/// Times the pull of every installed engine in turn.
pub(super) fn run(rounds: usize) -> Result<String> {
    let scratch = Scratch::new("bench-pull")?;
    let Some(registry) = Registry::with_image(&scratch)? else {
        return Ok("SKIP: no Docker to build the image with".to_owned());
    };
    let image = registry.image();
    let image = image.as_str();
    let mut times: Vec<(String, Vec<f64>)> = ["lamina", PLAIN, "docker", "podman"]
        .map(|name| (name.to_owned(), Vec::new()))
        .into();
    for round in 0..rounds {
        for (name, times) in &mut times {
            let store = scratch.fresh_ext4(&format!("{}-{round}", name.replace(' ', "-")))?;
            let took = match name.as_str() {
                "lamina" => lamina(store.path(), image, None).map(Some)?,
                PLAIN => lamina(store.path(), image, Some("plain")).map(Some)?,
                "docker" => docker(store.path(), image)?,
                _ => podman(store.path(), image)?,
            };
            times.extend(took);
        }
    }
    times.retain(|(_, times)| !times.is_empty());
    Ok(report::pull(&times, rounds))
}

/// Pulls into a store of lamina's below `store`, in the default storage mode or another, and
/// returns the milliseconds it took.
pub(super) fn lamina(store: &Path, image: &str, mode: Option<&str>) -> Result<f64> {
    let mut pull = lamina_in(&store.join("root"), &store.join("run"));
    if let Some(mode) = mode {
        pull.args(["--storage-mode", mode]);
    }
    timed(pull.args(["pull", image]))
}

fn docker(store: &Path, image: &str) -> Result<Option<f64>> {
    let Some(docker) = Docker::start_on(store)? else {
        return Ok(None);
    };
    timed(docker.command().args(["pull", image])).map(Some)
}

fn podman(store: &Path, image: &str) -> Result<Option<f64>> {
    let Some(program) = shell::find("podman") else {
        return Ok(None);
    };
    let mut pull = peers::podman_in(&program, store);
    timed(pull.args(["pull", "--tls-verify=false", image])).map(Some)
}

/// Milliseconds until the command says that it is done.
pub(super) fn timed(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if !status.success() {
        bail!("{:?}: {status}", command.get_args());
    }
    Ok(took)
}
