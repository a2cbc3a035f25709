//! `cargo xtask stress`: 32 processes that pull, run, remove, bring back and prune the same images.
//!
//! Every outcome must be one that some order of the commands, one after the other, allows: success,
//! or one of a few errors that say what somebody else did. At the end the store is whole, `df` says
//! what `du` says, and nothing is left. `--seconds=N` says how long (60); `--storage-mode=MODE` has
//! every command in that mode; `--no-build` takes the binary there is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::crash::{Places, entries};
use crate::shell;

const PROCESSES: u64 = 32;
const SECONDS: u64 = 60;
const IMAGES: [&str; 3] = ["REGISTRY/a:1", "REGISTRY/b:1", "REGISTRY/c:1"];

/// What a command may say when it fails: what another did first.
const NOT_HERE: &[&str] = &["no such image"];
const IN_USE: &[&str] = &["no such image", "is used by"];
const NO_UNDO: &[&str] = &[
    "nothing can be undone",
    "no such removal",
    "has been given to",
    "still under way",
];

/// Runs the processes, then looks at what is left.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    if !words.contains(&"--no-build") {
        shell::build()?;
    }
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let seconds = value("--seconds=").map_or(Ok(SECONDS), str::parse)?;
    let mode = value("--storage-mode=").unwrap_or("auto");
    let places = Places::new(&format!("--storage-mode={mode}"))?;
    places.images(&[("a:1", 300_000), ("b:1", 200_000), ("c:1", 100_000)])?;
    let registry = places.serve()?;
    let names: Vec<String> = IMAGES.iter().map(|name| registry.word(name)).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for process in 0..PROCESSES {
            let (places, names, tally) = (&places, &names, &tally);
            scope.spawn(move || work(places, names, process * 7919 + 1, end, tally));
        }
    });
    let Tally { done, mut wrong } = tally.into_inner().unwrap_or_default();
    for (kind, (all, lost)) in done {
        println!("stress {kind}: {all} commands, {lost} that came too late");
    }
    wrong.sort();
    wrong.truncate(20);
    ensure!(
        wrong.is_empty(),
        "outcomes of no order:\n  {}",
        wrong.join("\n  ")
    );
    settled(&places)
}

/// What all processes together have done.
#[derive(Default)]
struct Tally {
    /// By command: how many, and how many of them came too late.
    done: BTreeMap<String, (u32, u32)>,
    wrong: Vec<String>,
}

/// One process after the other, until the end.
fn work(places: &Places, names: &[String], seed: u64, end: Instant, tally: &Mutex<Tally>) {
    let mut state = seed;
    while Instant::now() < end {
        let (words, allowed) = step(&mut state, names);
        let verdict = judge(&words, places.lamina(&words).output(), allowed);
        let Ok(mut tally) = tally.lock() else { return };
        let kind = words.first().copied().unwrap_or_default();
        let counts = tally.done.entry(kind.to_owned()).or_default();
        counts.0 += 1;
        counts.1 += u32::from(matches!(verdict, Verdict::Lost));
        if let Verdict::Wrong(text) = verdict {
            tally.wrong.push(text);
        }
    }
}

enum Verdict {
    Fine,
    /// An error that says what somebody else did first.
    Lost,
    Wrong(String),
}

/// Chooses what a process does next, and what it may say if that fails.
fn step<'w>(state: &mut u64, names: &'w [String]) -> (Vec<&'w str>, &'static [&'static str]) {
    let mut roll = |below: u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % below
    };
    let at = usize::try_from(roll(names.len() as u64)).unwrap_or(0);
    let image = names[at].as_str();
    match roll(16) {
        0..=3 => (vec!["pull", "-q", image], &[]),
        4..=8 => (
            vec!["run", "--rm", "--network", "none", image, "/bin/true"],
            &[],
        ),
        9 | 10 => (vec!["rmi", image], IN_USE),
        11 => (vec!["rmi", "--now", "-f", image], NOT_HERE),
        12 => (vec!["undo"], NO_UNDO),
        13 => (vec!["prune", "-f"], &[]),
        14 => (vec!["prune", "-a", "-f"], &[]),
        _ => (vec!["prune", "-a", "-f", "--now"], &[]),
    }
}

fn judge(words: &[&str], outcome: std::io::Result<Output>, allowed: &[&str]) -> Verdict {
    let output = match outcome {
        Ok(output) => output,
        Err(error) => return Verdict::Wrong(format!("{}: {error}", words.join(" "))),
    };
    if output.status.success() {
        return Verdict::Fine;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let errors = said.lines().filter(|line| line.starts_with("error: "));
    let mut errors = errors.peekable();
    let known = |line: &str| allowed.iter().any(|text| line.contains(text));
    match errors.peek().is_some() && errors.all(known) {
        true => Verdict::Lost,
        false => Verdict::Wrong(format!(
            "{}: {}: {}",
            words.join(" "),
            output.status,
            said.trim()
        )),
    }
}

/// Nothing is left once everything is removed, and the store is whole before and after.
fn settled(places: &Places) -> Result<()> {
    let containers = places.ok(&["ps", "-a", "-q"])?;
    ensure!(containers.is_empty(), "containers are left: {containers}");
    places.whole()?;
    places.ok(&["prune", "-a", "-f", "--volumes", "--now"])?;
    places.whole()?;
    let folders = [
        "refs",
        "layers",
        "snap",
        "volumes",
        "removed",
        "images",
        "partial",
        "ops",
        "trash",
        "oci/blobs/sha256",
    ];
    let root = places.root();
    let mut left: Vec<String> = folders
        .iter()
        .flat_map(|one| entries(&root.join(one)))
        .collect();
    for folder in entries(&root.join("pool")) {
        left.extend(
            fs::read_dir(Path::new(&folder))?
                .flatten()
                .map(|e| e.path().display().to_string()),
        );
    }
    if !left.is_empty() {
        bail!("left behind: {}", left.join(", "));
    }
    Ok(())
}
