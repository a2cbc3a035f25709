//! One command each: a start in the background, and an `exec`.

use std::process::Stdio;

use anyhow::Result;

use super::{Field, STAY};
use crate::bench::report;
use crate::bench::start::{Contender, measure};
use crate::shell;

/// `run -d`, until the command is back; the container is removed afterwards.
pub(super) fn detached(field: &Field, rounds: usize) -> Result<String> {
    let name = |round: usize| format!("bench-{round}");
    let engines: Vec<Contender<'_>> = field
        .engines()
        .map(|engine| Contender {
            name: engine.name.to_owned(),
            command: Box::new(move |round| engine.run(&["-d", "--name", &name(round)], &STAY)),
            after: Some(Box::new(move |round| {
                engine.command(&["rm", "-f", &name(round)])
            })),
        })
        .collect();
    let times = measure(std::iter::once(&field.floor).chain(&engines), rounds)?;
    Ok(format!(
        "### `run -d`\n\nUntil the command is back; {rounds} rounds in turn. The floor goes further: to the \
         end of its container. The bar: 2.5 × the floor.\n\n{}\n",
        report::table(&times, "floor", "× floor")
    ))
}

/// `exec true` in a container that runs.
pub(super) fn exec(field: &Field, rounds: usize) -> Result<String> {
    for engine in field.engines() {
        shell::run(
            engine
                .run(&["-d", "--name", "long"], &STAY)
                .stdout(Stdio::null()),
        )?;
    }
    let engines: Vec<Contender<'_>> = field
        .engines()
        .map(|engine| Contender {
            name: engine.name.to_owned(),
            command: Box::new(move |_| engine.command(&["exec", "long", "true"])),
            after: None,
        })
        .collect();
    let times = measure(&engines, rounds)?;
    for engine in field.engines() {
        shell::run(engine.command(&["rm", "-f", "long"]).stdout(Stdio::null()))?;
    }
    Ok(format!(
        "### `exec true`\n\nIn a container that runs; {rounds} rounds in turn. The bar: a tenth of Docker's \
         time.\n\n{}\n",
        report::table(&times, "docker", "× docker")
    ))
}
