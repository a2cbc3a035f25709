//! `cargo xtask check`: everything about the code that is not a test.

use anyhow::{Result, bail};

use crate::{docs, layers, licences, product, shell, tidy};

/// One named check.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 7] = [
    ("fmt", || shell::cargo(&["fmt", "--all", "--", "--check"])),
    ("layers", || layers::run(layers::Mode::Verify)),
    ("tidy", tidy::run),
    ("licences", licences::run),
    ("clippy", || {
        shell::cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ])
    }),
    ("docs", docs::run),
    ("product", product::run),
];

/// Runs every check, goes on after a failure, and fails if any did.
pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        match check() {
            Ok(()) => println!("check {name}: ok"),
            Err(error) => {
                println!("check {name}: FAILED: {error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}
