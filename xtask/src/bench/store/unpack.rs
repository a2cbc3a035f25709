//! What it costs to have a layer: next to inflating and hashing it, and when its files are here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::related;
use crate::bench::image::Registry;
use crate::bench::scratch::Scratch;
use crate::bench::start::lamina_in;
use crate::bench::{pull, report};
use crate::shell;

const ROUNDS: usize = 4;

/// Measures both and returns their part of the page.
pub(super) fn run(_rounds: usize) -> Result<String> {
    let program = build()?;
    let scratch = Scratch::new("bench-unpack")?;
    let mut text = match Registry::with_image(&scratch)? {
        Some(registry) => first(&scratch, &program, &registry)?,
        None => return Ok("SKIP: no Docker to build the image with\n\n".to_owned()),
    };
    if let Some(registry) = related::registry(&scratch)? {
        text += &second(&scratch, &program, &registry)?;
    }
    Ok(text)
}

/// Builds the program that does the same with the same libraries, one step after the other.
fn build() -> Result<PathBuf> {
    let example = [
        "build",
        "--release",
        "--quiet",
        "--package",
        "lamina-image",
        "--example",
        "unpacking",
    ];
    shell::cargo(&example)?;
    let folder = shell::binary("release");
    let folder = folder.parent().context("the binary is in a folder")?;
    Ok(folder.join("examples/unpacking"))
}

/// Runs the program; names and milliseconds.
fn measure(program: &Path, words: &[&Path]) -> Result<BTreeMap<String, f64>> {
    let (verb, rest) = words.split_first().context("a verb")?;
    let printed = shell::output(Command::new(program).arg(verb).args(rest))?;
    let pairs = printed.lines().filter_map(|line| line.split_once(' '));
    pairs
        .map(|(name, value)| Ok((name.to_owned(), value.parse()?)))
        .collect()
}

fn first(scratch: &Scratch, program: &Path, registry: &Registry) -> Result<String> {
    let layers = Registry::layers("debian", "app")?;
    let largest = layers.first().context("an image without layers")?;
    let floor = measure(program, &[Path::new("floor"), largest])?;
    let image = registry.image();
    let mut modes = Vec::new();
    for mode in ["erofs", "plain"] {
        modes.push((mode.to_owned(), Vec::new()));
    }
    for round in 0..ROUNDS {
        for (mode, times) in &mut modes {
            let store = scratch.fresh_ext4(&format!("{mode}-{round}"))?;
            times.push(pull::lamina(store.path(), &image, Some(mode.as_str()))?);
        }
    }
    let floor_both = floor["inflate_and_hash"];
    let mut text = format!(
        "### Unpacking the image of `bench pull`\n\n\
         Its large layer, {:.0} MB of {:.0} MB compressed, inflated with zlib-rs and hashed once on one \
         thread, in memory; and the pull of the whole image, in turn, into new stores: the fastest of \
         {ROUNDS}, and the median. The bar: 1.3 × inflating and hashing.\n\n\
         | | ms | median | × inflating and hashing |\n|---|---|---|---|\n\
         | inflating alone | {:.0} | | {:.2} |\n\
         | the same with libdeflate, all of it in memory | {:.0} | | {:.2} |\n\
         | inflating and hashing | {floor_both:.0} | | 1.00 |\n",
        floor["tar_bytes"] / 1e6,
        floor["compressed_bytes"] / 1e6,
        floor["inflate"],
        floor["inflate"] / floor_both,
        floor["inflate_at_once"],
        floor["inflate_at_once"] / floor_both,
    );
    for (mode, times) in &modes {
        let least = report::least(times);
        let _ = writeln!(
            text,
            "| pull in mode {mode} | {least:.0} | {:.0} | {:.2} |",
            report::median(times),
            least / floor_both
        );
    }
    Ok(text + "\n" + WHY)
}

/// What no run finds out by itself.
const WHY: &str = "zlib-rs is what is used. Told to look for the processor's instructions (`runtime_detection`) \
    it takes three quarters of the time that it took without. libdeflate is faster still and cannot stream: \
    it begins when the last byte of a layer has come, when the pipeline is as good as done, and wants the \
    whole tar in memory; for the layers that are small enough for that it is a matter of a millisecond. \
    ISA-L streams, wants an assembler to be built with, and takes 0.9 of zlib-rs's time \
    (`igzip -dc`, version 2.30, 0.75 s of processor time for this layer): less than the tenth that would be worth it.\n\n\
    Where the new store's disk is a loop device over a sparse file and goes through the host's page cache, which copies, \
    allocates and writes every byte a second time, the pull in mode erofs takes 1.38 × (the fastest of 5).\n\n";

fn second(scratch: &Scratch, program: &Path, registry: &Registry) -> Result<String> {
    let (second, first) = related::SECOND;
    let layers = Registry::layers(&format!("related/{second}"), "1")?;
    let layer = layers.first().context("an image without layers")?;
    let mut work = Vec::new();
    let mut pulls = Vec::new();
    for round in 0..ROUNDS {
        let store = scratch.fresh_ext4(&format!("second-{round}"))?;
        pull::lamina(store.path(), &registry.related(first), None)?;
        let root = store.path().join("root");
        pulls.push(pull::lamina(store.path(), &registry.related(second), None)?);
        let mut remove = lamina_in(&root, &store.path().join("run"));
        shell::run(
            remove
                .args(["rmi", &registry.related(second)])
                .stdout(std::process::Stdio::null()),
        )?;
        work.push(measure(program, &[Path::new("store"), layer, &root])?);
    }
    let of = |name: &str| {
        let times: Vec<f64> = work.iter().map(|one| one[name]).collect();
        report::least(&times)
    };
    Ok(format!(
        "### A second image that shares its files\n\n\
         `{first}`, then the same tree in a single layer of another digest: every file is here. The least of {ROUNDS}. \
         The bar: 150 ms of work for the store besides inflating and hashing.\n\n\
         | | ms |\n|---|---|\n\
         | hashing the tar once, in memory | {:.0} |\n\
         | the same with the files' own hashes and the split stream, and finding each in the pool | {:.0} |\n\
         | checking, publishing, merging, syncing | {:.0} |\n\
         | **the store's own work** | **{:.0}** |\n\
         | the whole pull, with inflating | {:.0} |\n\n",
        of("hash_tar"),
        of("split_into_pool"),
        of("publish_and_merge"),
        of("store_work"),
        report::least(&pulls),
    ))
}
