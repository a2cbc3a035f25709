//! `bench start`: `run --rm --network none IMAGE true`, from the command to its exit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::peers::{self, Docker};
use super::scratch::Scratch;
use super::{floor, report};
use crate::shell;

/// One program that starts a container.
pub(super) struct Contender {
    /// How the table calls it.
    pub(super) name: String,
    /// Makes the command of one start; the number is the round.
    pub(super) command: Box<dyn Fn(usize) -> Command>,
}

/// Times every contender in turn and returns the section of the report.
pub(super) fn run(rounds: usize) -> Result<String> {
    let scratch = Scratch::on_new_ext4("bench")?;
    let (program, tree) = floor::build(&scratch)?;
    let archive = scratch.join("busybox.tar");
    floor::pack(&tree, &archive)?;

    let work = scratch.folder("floor-work")?;
    let mut contenders = vec![Contender {
        name: "floor".to_owned(),
        command: Box::new(move |_| {
            let mut command = Command::new(&program);
            command.arg(&tree).current_dir(&work);
            command
        }),
    }];
    contenders.push(lamina(&scratch, &archive)?);
    contenders.extend(peers::runtimes(&scratch)?);
    contenders.extend(peers::podman(&scratch, &archive)?);
    let docker = Docker::start(&scratch)?;
    if let Some(docker) = &docker {
        contenders.push(docker.contender(&archive)?);
    }
    let times = measure(&contenders, rounds)?;
    let steps = steps(&scratch)?;
    drop(docker);
    Ok(report::start(&times, &steps, rounds))
}

fn lamina(scratch: &Scratch, archive: &Path) -> Result<Contender> {
    shell::run(
        lamina_command(scratch)
            .arg("import")
            .arg(archive)
            .arg("bench")
            .stdout(Stdio::null()),
    )?;
    let (root, run) = (scratch.join("lamina"), scratch.join("lamina-run"));
    Ok(Contender {
        name: "lamina".to_owned(),
        command: Box::new(move |_| {
            let mut command = lamina_in(&root, &run);
            command.args(["run", "--rm", "--network", "none", "bench", "true"]);
            command
        }),
    })
}

fn lamina_command(scratch: &Scratch) -> Command {
    lamina_in(&scratch.join("lamina"), &scratch.join("lamina-run"))
}

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
pub(super) fn measure(contenders: &[Contender], rounds: usize) -> Result<Vec<(String, Vec<f64>)>> {
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
            if round > 0 {
                times.push(took);
            }
        }
    }
    Ok(times)
}

/// Returns the step table of one explained start.
fn steps(scratch: &Scratch) -> Result<String> {
    let mut command = lamina_command(scratch);
    command.args([
        "run",
        "--rm",
        "--network",
        "none",
        "--explain",
        "bench",
        "true",
    ]);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // The table of times comes last, after the steps themselves.
    Ok(text
        .rsplit("\n\n")
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned())
}
