//! Many containers: started all at once, and a thousand side by side.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Field, STAY};
use crate::bench::engine::IMAGE;
use crate::bench::pull::timed;
use crate::bench::report;
use crate::shell;

/// How many are started at the same time.
const PARALLEL: usize = 200;
/// How many there are.
const MANY: usize = 1_000;
/// How many of them run while they are listed for the bar.
const FEW: usize = 10;
/// How often a list is asked for.
const LISTS: usize = 15;

/// As many `run -d` as [`PARALLEL`] says, all begun before the first is waited for.
pub(super) fn parallel(field: &Field, _rounds: usize) -> Result<String> {
    let lamina = &field.lamina;
    let begun = Instant::now();
    let mut started = Vec::new();
    for number in 0..PARALLEL {
        let mut run = lamina.run(&["-d", "--name", &format!("p{number}")], &STAY);
        started.push(run.stdout(Stdio::null()).spawn()?);
    }
    let mut failed = 0;
    for mut child in started {
        failed += usize::from(!child.wait()?.success());
    }
    let took = begun.elapsed().as_secs_f64();
    let running = shell::output(&mut lamina.command(&["ps", "-q"]))?;
    ensure!(failed == 0, "{failed} of {PARALLEL} failed");
    ensure!(running.lines().count() == PARALLEL, "not all are running");
    remove_all(field, PARALLEL, "p")?;
    Ok(format!(
        "### {PARALLEL} `run -d` at the same time\n\nAll succeed; {took:.2} s, {:.1} ms each.\n\n",
        took * 1e3 / PARALLEL as f64
    ))
}

/// [`MANY`] containers from `create` to `rm`.
pub(super) fn thousand(field: &Field, _rounds: usize) -> Result<String> {
    let lamina = &field.lamina;
    let mut text = format!(
        "### {MANY} containers\n\nEvery step on all of them, without an error. The bar: `ps` under 50 ms \
         while {FEW} run.\n\n| | |\n|---|---|\n"
    );
    let created = Instant::now();
    for number in 0..MANY {
        let mut create = lamina.command(&["create", "--network", "none", "--stop-signal", "KILL"]);
        let name = format!("m{number}");
        create.args(["--name", &name, IMAGE]).args(STAY);
        shell::run(create.stdout(Stdio::null()))?;
    }
    rate(&mut text, "create", created, MANY);
    shell::run(
        lamina
            .command(&["start"])
            .args(names("m", 0..FEW))
            .stdout(Stdio::null()),
    )?;
    for words in [&["ps"][..], &["ps", "-a"]] {
        list(&mut text, field, words, FEW)?;
    }
    let before = available()?;
    let begun = Instant::now();
    for number in FEW..MANY {
        let mut start = lamina.command(&["start", &format!("m{number}")]);
        shell::run(start.stdout(Stdio::null()))?;
    }
    rate(&mut text, "start", begun, MANY - FEW);
    let each = before.saturating_sub(available()?) / (MANY - FEW) as u64;
    let _ = writeln!(
        text,
        "| memory that a container takes, its namespaces, program and supervisor together | {each} KB |"
    );
    list(&mut text, field, &["ps"], MANY)?;
    let running = shell::output(&mut lamina.command(&["ps", "-q"]))?;
    ensure!(running.lines().count() == MANY, "not all are running");
    let begun = Instant::now();
    shell::run(
        lamina
            .command(&["stop"])
            .args(names("m", 0..MANY))
            .stdout(Stdio::null()),
    )?;
    rate(&mut text, "stop, in one command", begun, MANY);
    let begun = Instant::now();
    remove_all(field, MANY, "m")?;
    rate(&mut text, "rm, in one command", begun, MANY);
    let left = shell::output(&mut lamina.command(&["ps", "-a", "-q"]))?;
    ensure!(left.is_empty(), "not all are removed");
    Ok(text + "\n")
}

fn rate(text: &mut String, what: &str, begun: Instant, count: usize) {
    let took = begun.elapsed().as_secs_f64();
    let _ = writeln!(text, "| {what} | {:.0} in a second |", count as f64 / took);
}

fn list(text: &mut String, field: &Field, words: &[&str], running: usize) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..LISTS {
        times.push(timed(&mut field.lamina.command(words))?);
    }
    let _ = writeln!(
        text,
        "| `{}` while {running} of {MANY} run, least and median of {LISTS} | {:.1} ms, {:.1} ms |",
        words.join(" "),
        report::least(&times),
        report::median(&times)
    );
    Ok(())
}

fn names(prefix: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{prefix}{number}")).collect()
}

fn remove_all(field: &Field, count: usize, prefix: &str) -> Result<()> {
    let mut remove: Command = field.lamina.command(&["rm", "-f"]);
    shell::run(remove.args(names(prefix, 0..count)).stdout(Stdio::null()))
}

/// Kilobytes that new programs could have.
fn available() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.unwrap_or("0").parse()?)
}
