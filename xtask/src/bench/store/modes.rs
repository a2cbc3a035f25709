//! Mode erofs next to mode plain: starts, and look-ups of names that are nowhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::archive::{self, Layer};
use crate::bench::scratch::Scratch;
use crate::bench::start::{Contender, lamina_in, measure};
use crate::bench::{floor, report};
use crate::shell;

const MODES: [&str; 2] = ["erofs", "plain"];
/// Layers of the image in which names are looked up; all of them have the directory.
const LAYERS: usize = 40;
const DIRECTORY: &str = "usr/lib/deep";
/// Runs in each mode, each of hundreds of look-ups.
const LOOKUP_ROUNDS: usize = 15;

/// Measures both and returns their part of the page.
pub(super) fn run(rounds: usize) -> Result<String> {
    let scratch = Scratch::on_new_ext4("bench-modes")?;
    Ok(starts(&scratch, rounds)? + &lookups(&scratch)?)
}

fn starts(scratch: &Scratch, rounds: usize) -> Result<String> {
    let (_, tree) = floor::build(scratch)?;
    let archive = scratch.join("busybox.tar");
    floor::pack(&tree, &archive)?;
    let (root, run) = places(scratch);
    shell::run(
        lamina_in(&root, &run)
            .arg("import")
            .arg(&archive)
            .arg("bench")
            .stdout(Stdio::null()),
    )?;
    let contenders = MODES.map(|mode| {
        let (root, run) = (root.clone(), run.clone());
        Contender {
            name: mode.to_owned(),
            command: Box::new(move |_| {
                let mut command = lamina_in(&root, &run);
                command.arg(format!("--storage-mode={mode}"));
                command.args(["run", "--rm", "--network", "none", "bench", "true"]);
                command
            }),
            after: None,
        }
    });
    let times = measure(&contenders, rounds)?;
    Ok(format!(
        "### Start and remove in both modes\n\n\
         An image of one layer; {rounds} rounds in turn. The bar: 1.05 × plain.\n\n{}\n",
        report::table(&times, "plain", "× plain")
    ))
}

fn lookups(scratch: &Scratch) -> Result<String> {
    let (root, run) = places(scratch);
    let archive = image(scratch)?;
    let mut load = lamina_in(&root, &run);
    shell::run(
        load.arg("load")
            .arg("-i")
            .arg(archive)
            .stdout(Stdio::null()),
    )?;
    let mut found = MODES.map(|_| Vec::new());
    for round in 0..=LOOKUP_ROUNDS {
        for (mode, found) in MODES.iter().zip(&mut found) {
            let mut command = lamina_in(&root, &run);
            command.arg(format!("--storage-mode={mode}"));
            command.args(["run", "--rm", "--network", "none", "layers", "/lookup"]);
            command
                .arg(format!("{mode}{round}"))
                .arg(format!("/{DIRECTORY}"));
            let printed = shell::output(&mut command)?;
            let nanoseconds: f64 = printed.trim().parse().context("lookup prints a number")?;
            if round > 0 {
                found.push(nanoseconds / 1e3);
            }
        }
    }
    let [erofs, plain] = found.map(|times| report::median(&times));
    let mut text = format!(
        "### The first look-up of a name that is nowhere, {LAYERS} layers\n\n\
         All layers have the directory; medians of {LOOKUP_ROUNDS} containers in each mode, in turn, \
         each asking for 400 names. The bar: a third of plain's.\n\n\
         | | median µs | × plain |\n|---|---|---|\n"
    );
    for (mode, time) in [("erofs", erofs), ("plain", plain)] {
        let _ = writeln!(text, "| {mode} | {time:.2} | {:.2} |", time / plain);
    }
    Ok(text + "\n")
}

/// Makes an image of many layers that have one directory in common.
fn image(scratch: &Scratch) -> Result<PathBuf> {
    let program = scratch.join("lookup");
    let mut gcc = shell::command("gcc", &["-O2", "-static", "-o"]);
    shell::run(
        gcc.arg(&program)
            .arg(shell::root().join("benches/lookup.c")),
    )?;
    let mut layers = Vec::new();
    for number in 0..LAYERS {
        let tree = scratch.folder(&format!("layer-{number}"))?;
        let folder = tree.join(DIRECTORY);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("file-{number}")), "x")?;
        if number == 0 {
            std::fs::copy(&program, tree.join("lookup"))?;
        }
        layers.push(layer(scratch, &tree, number)?);
    }
    archive::write(scratch, "layers", &layers)
}

fn layer(scratch: &Scratch, tree: &Path, number: usize) -> Result<Layer> {
    let tar = scratch.join(&format!("layer-{number}.tar"));
    floor::pack(tree, &tar)?;
    Layer::of(tar)
}

fn places(scratch: &Scratch) -> (PathBuf, PathBuf) {
    (scratch.join("lamina"), scratch.join("lamina-run"))
}
