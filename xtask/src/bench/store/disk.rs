//! What ten related images take on the disk, and how fast the store knows and lets go.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::related;
use crate::bench::image::Registry;
use crate::bench::peers::{self, Docker};
use crate::bench::scratch::{Mounted, Scratch};
use crate::bench::start::lamina_in;
use crate::bench::{pull, report};
use crate::shell;

/// How often `df` and `rmi` are given.
const TIMES: usize = 15;

/// Measures and returns the part of the page.
pub(super) fn run(_rounds: usize) -> Result<String> {
    let scratch = Scratch::new("bench-disk")?;
    let Some(registry) = related::registry(&scratch)? else {
        return Ok("SKIP: no Docker to build the images with\n\n".to_owned());
    };
    let store = scratch.fresh_ext4("lamina")?;
    for name in related::names() {
        pull::lamina(store.path(), &registry.related(name), None)?;
    }
    let mut sizes = vec![("lamina", size(&store.path().join("root"))?)];
    sizes.extend(docker(&scratch, &registry)?.map(|size| ("docker", size)));
    sizes.extend(podman(&scratch, &registry)?.map(|size| ("podman", size)));
    let ours = sizes[0].1;
    let mut text = format!(
        "### Ten related images: {}\n\n\
         Pulled into a new store of each engine; what `du` says of it then. The bar: 60 % of the others'.\n\n\
         | | MB | lamina takes of it |\n|---|---|---|\n",
        related::names().join(", ")
    );
    for (name, size) in sizes {
        let _ = writeln!(
            text,
            "| {name} | {:.0} | {:.0} % |",
            size / 1e6,
            100.0 * ours / size
        );
    }
    Ok(text + "\n" + &times(&store, &registry)?)
}

fn docker(scratch: &Scratch, registry: &Registry) -> Result<Option<f64>> {
    let store = scratch.fresh_ext4("docker-disk")?;
    let Some(docker) = Docker::start_on(store.path())? else {
        return Ok(None);
    };
    for name in related::names() {
        let mut pull = docker.command();
        pull.args(["pull", "-q", &registry.related(name)]);
        shell::run(pull.stdout(Stdio::null()))?;
    }
    drop(docker);
    size(&store.path().join("data")).map(Some)
}

fn podman(scratch: &Scratch, registry: &Registry) -> Result<Option<f64>> {
    let Some(program) = shell::find("podman") else {
        return Ok(None);
    };
    let store = scratch.fresh_ext4("podman-disk")?;
    for name in related::names() {
        let mut pull = peers::podman_in(&program, store.path());
        pull.args(["pull", "-q", "--tls-verify=false", &registry.related(name)]);
        shell::run(pull.stdout(Stdio::null()))?;
    }
    size(&store.path().join("root")).map(Some)
}

/// Bytes on the disk, with those of directories.
fn size(folder: &Path) -> Result<f64> {
    let mut du = shell::command("du", &["-s", "-x", "--block-size=1"]);
    let printed = shell::output(du.arg(folder))?;
    let bytes = printed
        .split_whitespace()
        .next()
        .context("du prints a number")?;
    Ok(bytes.parse()?)
}

/// Times `df` and `rmi` in a store of fifty images.
fn times(store: &Mounted, registry: &Registry) -> Result<String> {
    let lamina = || lamina_in(&store.path().join("root"), &store.path().join("run"));
    for name in related::variants() {
        pull::lamina(store.path(), &registry.related(&name), None)?;
    }
    let images = shell::output(lamina().args(["images", "-q"]))?
        .lines()
        .count();
    let mut df = Vec::new();
    for _ in 0..TIMES {
        df.push(pull::timed(lamina().arg("df"))?);
    }
    let mut rmi = Vec::new();
    for name in related::variants().take(TIMES) {
        rmi.push(pull::timed(
            lamina().args(["rmi", &registry.related(&name)]),
        )?);
    }
    Ok(format!(
        "### With {images} images in the store\n\n\
         Whole processes, {TIMES} of each. The bars: 50 ms and 10 ms.\n\n\
         | | least ms | median ms |\n|---|---|---|\n\
         | `df` | {:.1} | {:.1} |\n| `rmi` of one image | {:.1} | {:.1} |\n\n",
        report::least(&df),
        report::median(&df),
        report::least(&rmi),
        report::median(&rmi)
    ))
}
