//! `cargo xtask docker`: the transcripts of a container's life against Docker itself.
//!
//! They say what lamina prints and how it exits; that this is Docker's way is what the same pages
//! show here, with a daemon of their own.

use anyhow::Result;

use crate::{debian, shell};

const PACKAGES: [debian::Package; 2] = [("docker.io", "dockerd"), ("busybox-static", "busybox")];

/// Runs every section of the pages against Docker, one after the other.
pub(crate) fn run(filters: &[&str]) -> Result<()> {
    debian::install(&PACKAGES)?;
    let mut arguments = vec![
        "test",
        "--package",
        "lamina-lifecycle-tests",
        "--test",
        "lifecycle",
        "--",
    ];
    arguments.extend(filters);
    let mut test = shell::command(shell::cargo_path(), &arguments);
    shell::run(test.env("LAMINA_TEST_DOCKER", "1"))
}
