//! A writer at full speed into the logs of a container, rotated all the while: how fast, and whether
//! every line is there afterwards.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::Field;
use crate::bench::engine::Engine;
use crate::shell;

/// The container that writes.
const NAME: &str = "bench-logs";
/// What follows the number in a line; with it a line has 100 bytes.
const FILLING: usize = 88;
/// What is kept, and the part of the time that it is written for: the last lines only, or all.
const KEPT: [(&str, &str, &str, usize); 2] = [
    ("10 MB, 3 files", "max-size=10m", "max-file=3", 1),
    ("all", "max-size=100m", "max-file=100", 4),
];

/// Writes for `seconds`, through lamina and through Docker.
pub(super) fn run(field: &Field, seconds: usize) -> Result<String> {
    let mut text = format!(
        "### Logs\n\nOne awk writes numbered lines of 100 bytes as fast as they are taken, for {seconds} s \
         (where all is kept, for a quarter of that), with json-file in both. Then `logs` is read, and \
         every line looked for. The bar: no line lost or torn, and Docker's throughput.\n\n\
         | kept | engine | lines/s | MB/s | lines | read back |\n|---|---|---|---|---|---|\n"
    );
    for (kept, size, files, part) in KEPT {
        for engine in field.engines().filter(|engine| engine.name != "podman") {
            let seconds = (seconds / part).max(1);
            let found = measure(engine, &[size, files], seconds)
                .with_context(|| format!("{}, {kept}", engine.name))?;
            ensure!(
                files == KEPT[0].2 || found.read == found.written,
                "{}: {} of {} lines are there",
                engine.name,
                found.read,
                found.written
            );
            let _ = writeln!(
                text,
                "| {kept} | {} | {:.0} | {:.0} | {} | {} |",
                engine.name,
                found.rate(),
                found.rate() / 10_000.0,
                found.written,
                found.read,
            );
        }
    }
    Ok(text + "\n")
}

/// What was written and what of it is there.
struct Found {
    written: u64,
    read: u64,
    seconds: f64,
}

impl Found {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn rate(&self) -> f64 {
        self.written as f64 / self.seconds
    }
}

fn measure(engine: &Engine, options: &[&str], seconds: usize) -> Result<Found> {
    let script = format!(
        "BEGIN {{ end = systime() + {seconds}; while (1) {{ printf \"%010d %s\\n\", ++i, \"{}\"; \
         if (i % 10000 == 0 && systime() >= end) break }} print \"END \" i }}",
        "x".repeat(FILLING)
    );
    let mut flags = vec!["-d", "--name", NAME, "--log-driver", "json-file"];
    flags.extend(options.iter().flat_map(|option| ["--log-opt", option]));
    let begun = Instant::now();
    shell::run(
        engine
            .run(&flags, &["busybox", "awk", &script])
            .stdout(Stdio::null()),
    )?;
    shell::run(engine.command(&["wait", NAME]).stdout(Stdio::null()))?;
    let seconds = begun.elapsed().as_secs_f64();
    let (written, read) = verify(engine)?;
    shell::run(engine.command(&["rm", NAME]).stdout(Stdio::null()))?;
    Ok(Found {
        written,
        read,
        seconds,
    })
}

/// Reads the log; returns how many lines were written, and how many of them are there: the last
/// ones, without a gap.
fn verify(engine: &Engine) -> Result<(u64, u64)> {
    let mut logs = engine.command(&["logs", NAME]);
    let mut logs = logs.stdout(Stdio::piped()).spawn()?;
    let output = logs.stdout.take().context("no output")?;
    let (mut last, mut read) = (0, 0);
    let mut end = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        ensure!(end.is_none(), "a line after the last: {line}");
        if let Some(count) = line.strip_prefix("END ") {
            end = Some(count.parse::<u64>()?);
            continue;
        }
        let number = match line.split_once(' ') {
            Some((number, filling)) if filling.len() == FILLING => number.parse::<u64>()?,
            _ => bail!("a torn line after {last}: {line}"),
        };
        ensure!(read == 0 || number == last + 1, "{number} follows {last}");
        (last, read) = (number, read + 1);
    }
    ensure!(logs.wait()?.success(), "logs failed");
    match end {
        Some(written) if written == last => Ok((written, read)),
        end => bail!("{last} is the last line, and the end is {end:?}"),
    }
}
