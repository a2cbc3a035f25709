//! What stays in memory for each container besides its own program.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::{Field, STAY};
use crate::bench::engine::Engine;
use crate::bench::report;
use crate::shell;

/// How many containers run meanwhile; of the peers fewer.
const CONTAINERS: [usize; 2] = [100, 10];

/// The supervisor of each container, as the kernel accounts for it after a sync.
pub(super) fn run(field: &Field, _rounds: usize) -> Result<String> {
    let [ours, theirs] = CONTAINERS;
    let mut text = format!(
        "### Memory of a container's supervisor\n\n\
         Medians of {ours} containers (of the peers {theirs}), after a `sync`, from `smaps_rollup`: the \
         parent of each container's first process. The bar: 300 KB of private memory. The daemons of \
         Docker come on top.\n\n\
         | | private KB | PSS KB | RSS KB |\n|---|---|---|---|\n"
    );
    for engine in field.engines() {
        let count = if engine.name == "lamina" {
            ours
        } else {
            theirs
        };
        let (program, sizes) = supervisors(engine, count)?;
        let middle =
            |which: fn(&Sizes) -> f64| report::median(&sizes.iter().map(which).collect::<Vec<_>>());
        let _ = writeln!(
            text,
            "| {} ({program}) | {:.0} | {:.0} | {:.0} |",
            engine.name,
            middle(|s| s.private),
            middle(|s| s.proportional),
            middle(|s| s.resident),
        );
    }
    Ok(text + "\n")
}

/// Kilobytes of one process.
struct Sizes {
    private: f64,
    proportional: f64,
    resident: f64,
}

/// Starts containers, measures their supervisors and removes them. Returns their program's name too.
fn supervisors(engine: &Engine, count: usize) -> Result<(String, Vec<Sizes>)> {
    let names: Vec<String> = (0..count).map(|n| format!("memory-{n}")).collect();
    for name in &names {
        shell::run(
            engine
                .run(&["-d", "--name", name], &STAY)
                .stdout(Stdio::null()),
        )?;
    }
    // What the page cache has not written yet counts as dirty, which is private.
    shell::run(&mut shell::command("sync", &[]))?;
    let mut program = String::new();
    let mut sizes = Vec::new();
    for name in &names {
        let printed =
            shell::output(&mut engine.command(&["inspect", "--format", "{{.State.Pid}}", name]))?;
        let status = fs::read_to_string(format!("/proc/{}/status", printed.trim()))?;
        let parent = field_of(&status, "PPid:").context("a status without PPid")?;
        sizes.push(sizes_of(&parent)?);
        program = fs::read_to_string(format!("/proc/{parent}/comm"))?;
    }
    let mut remove = engine.command(&["rm", "-f"]);
    shell::run(remove.args(&names).stdout(Stdio::null()))?;
    Ok((program.trim().to_owned(), sizes))
}

fn sizes_of(pid: &str) -> Result<Sizes> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let value = |name: &str| -> Result<f64> {
        let text = field_of(&rollup, name).context("a line is missing in smaps_rollup")?;
        Ok(text.parse()?)
    };
    Ok(Sizes {
        private: value("Private_Clean:")? + value("Private_Dirty:")?,
        proportional: value("Pss:")?,
        resident: value("Rss:")?,
    })
}

fn field_of(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next().map(str::to_owned)
}
