//! `bench start`: `run --rm --network none IMAGE true`, from the command to its exit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::engine::{self, Engine};
use super::peers;
use super::scratch::Scratch;
use super::{floor, report};
use crate::shell;

/// One program that starts a container.
pub(super) struct Contender<'e> {
    /// How the table calls it.
    pub(super) name: String,
    /// Makes the command of one start; the number is the round.
    pub(super) command: Box<dyn Fn(usize) -> Command + 'e>,
    /// Makes the command that is given afterwards, and not measured.
    pub(super) after: Option<Box<dyn Fn(usize) -> Command + 'e>>,
}

/// Times every contender in turn and returns the section of the report.
pub(super) fn run(rounds: usize) -> Result<String> {
    let scratch = Scratch::on_new_ext4("bench")?;
    let (program, tree) = floor::build(&scratch)?;
    let archive = scratch.join("busybox.tar");
    floor::pack(&tree, &archive)?;

    let work = scratch.folder("floor-work")?;
    let mut contenders = vec![floor::contender(program, tree, work)];
    let lamina = engine::lamina(&scratch, &archive)?;
    let steps = steps(&lamina)?;
    contenders.push(contender(lamina));
    contenders.extend(peers::runtimes(&scratch)?);
    contenders.extend(
        engine::others(&scratch, &archive)?
            .into_iter()
            .map(contender),
    );
    let times = measure(&contenders, rounds)?;
    Ok(report::start(&times, &steps, rounds))
}

fn contender(engine: Engine) -> Contender<'static> {
    Contender {
        name: engine.name.to_owned(),
        command: Box::new(move |_| engine.run(&["--rm"], &["true"])),
        after: None,
    }
}

/// Returns a lamina that keeps everything in these two folders.
pub(super) fn lamina_in(root: &Path, run: &Path) -> Command {
    let mut command = Command::new(shell::binary("release"));
    command.env("LAMINA_ROOT", root).env("LAMINA_RUN", run);
    command
}

/// How long the machine is left alone before every start. What one contender leaves to the
/// kernel's workers (the end of a network namespace takes them tens of milliseconds) would
/// otherwise be paid by the next: the floor, coming after Docker, took three times its own time.
const SETTLE: Duration = Duration::from_millis(150);

/// Runs everyone once unmeasured, then `rounds` times in turn. Milliseconds, by contender.
pub(super) fn measure<'c, 'e: 'c>(
    contenders: impl IntoIterator<Item = &'c Contender<'e>>,
    rounds: usize,
) -> Result<Vec<(String, Vec<f64>)>> {
    let contenders: Vec<&Contender<'e>> = contenders.into_iter().collect();
    let mut times: Vec<(String, Vec<f64>)> = contenders
        .iter()
        .map(|c| (c.name.clone(), Vec::new()))
        .collect();
    for round in 0..=rounds {
        for (contender, (name, times)) in contenders.iter().zip(&mut times) {
            let mut command = (contender.command)(round);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            std::thread::sleep(SETTLE);
            let start = Instant::now();
            let status = command.status()?;
            let took = start.elapsed().as_secs_f64() * 1e3;
            if !status.success() {
                bail!("{name}: {status}");
            }
            if let Some(after) = &contender.after {
                shell::run(after(round).stdout(Stdio::null()).stderr(Stdio::null()))?;
            }
            if round > 0 {
                times.push(took);
            }
        }
    }
    Ok(times)
}

/// Returns the step table of one explained start, which is not the first.
fn steps(lamina: &Engine) -> Result<String> {
    shell::run(&mut lamina.run(&["--rm"], &["true"]))?;
    let output = lamina.run(&["--rm", "--explain"], &["true"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // The table of times comes last, after the steps themselves.
    Ok(text
        .rsplit("\n\n")
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned())
}
