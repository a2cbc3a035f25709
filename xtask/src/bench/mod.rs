//! `cargo xtask bench`: lamina next to the kernel floor and the installed peers, in one run.
//!
//! Times are of whole processes, taken in turn (A B C A B C …), so that a machine whose speed
//! drifts slows all of them; only the ratios mean anything. Everything lives in a scratch folder
//! and in a mount namespace of its own.

mod engine;
mod floor;
mod image;
mod life;
mod peers;
mod pull;
mod report;
mod scratch;
mod start;
mod store;

use anyhow::{Result, bail};

use crate::{debian, shell};

/// What the benchmarks drive besides lamina; a peer that is not there is left out.
const PACKAGES: [debian::Package; 4] = [
    ("busybox-static", "busybox"),
    ("docker-registry", "docker-registry"),
    ("debootstrap", "debootstrap"),
    ("e2fsprogs", "mkfs.ext4"),
];

/// Set once the process runs in a mount namespace of its own.
const INSIDE: &str = "LAMINA_BENCH_INSIDE";

/// Runs the benchmarks that are named.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        debian::install(&PACKAGES)?;
        shell::cargo(&["build", "--release", "--package", "lamina", "--quiet"])?;
        let own = std::env::current_exe()?;
        let mut inside = shell::command("unshare", &["--mount", "--propagation", "private"]);
        return shell::run(inside.arg(own).arg("bench").args(words).env(INSIDE, "1"));
    }
    let rounds = words
        .iter()
        .find_map(|word| word.strip_prefix("--rounds=")?.parse().ok());
    let write = words.contains(&"--write");
    let part = words.get(1).copied().filter(|word| !word.starts_with("--"));
    let mut sections = Vec::new();
    match words.first() {
        Some(&"start") => sections.push(start::run(rounds.unwrap_or(40))?),
        Some(&"pull") => sections.push(pull::run(rounds.unwrap_or(3))?),
        Some(&"life") => sections.push(life::run(part, rounds.unwrap_or(20))?),
        // Its rounds are seconds.
        Some(&"logs") => sections.push(life::run(Some("logs"), rounds.unwrap_or(60))?),
        Some(&"store") => sections.push(store::run(part, rounds.unwrap_or(60))?),
        Some(&"all") => {
            sections.push(start::run(rounds.unwrap_or(40))?);
            sections.push(pull::run(3)?);
            sections.push(life::run(None, 20)?);
            sections.push(store::run(None, 60)?);
        }
        _ => bail!("bench what? start, pull, life, logs, store or all"),
    }
    for section in &sections {
        println!("\n{section}");
    }
    if write {
        report::write(&sections)
    } else {
        Ok(())
    }
}
