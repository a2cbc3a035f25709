//! `cargo xtask test`: installs what the tests drive, then runs all of them.

use anyhow::Result;

use crate::{crash, debian, shell, stress, vm};

/// Runs every test; further words are passed to the runner as filters.
pub(crate) fn run(filters: &[&str]) -> Result<()> {
    debian::install(&debian::TESTS)?;
    // The suites under tests/ drive this binary; nothing else would build it for them.
    shell::build()?;
    let mut arguments = if shell::find("cargo-nextest").is_some() {
        vec!["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        vec!["test", "--workspace", "--no-fail-fast"]
    };
    arguments.extend(filters);
    shell::cargo(&arguments)?;
    if filters.is_empty() {
        crash::run(&["--short"])?;
        crash::run(&["--short", "--storage-mode=plain"])?;
        stress::run(&["--seconds=10"])?;
        vm::run()?;
    }
    Ok(())
}
