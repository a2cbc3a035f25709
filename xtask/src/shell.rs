//! Running other programs from the top of the tree.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Returns the top of the tree.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Returns where cargo puts what it builds for the pinned target.
pub(crate) fn binary(profile: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let triple = format!("{ARCH}-unknown-linux-gnu");
    target.join(triple).join(profile).join("lamina")
}

/// Returns a command that runs at the top of the tree.
///
/// What cargo told us about this package is not handed on: ring's build script looks at it, and
/// everything above ring would be built anew whenever cargo is called by us and not by hand.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs cargo and fails when it does.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    println!("$ cargo {}", arguments.join(" "));
    run(&mut command(cargo_path(), arguments))
}

/// Builds the binary, and every test, in the profile of the tests.
///
/// Always the whole workspace with its tests: another selection unifies the dependencies'
/// features differently, and cargo would build most of them twice.
pub(crate) fn build() -> Result<()> {
    cargo(&["build", "--workspace", "--all-targets", "--quiet"])
}

/// Returns the cargo that started us.
pub(crate) fn cargo_path() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Runs a command and fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!(
            "{:?} {:?}: {status}",
            command.get_program(),
            command.get_args()
        );
    }
    Ok(())
}

/// Runs a command and returns what it printed on stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?} {:?}: {}",
            command.get_program(),
            command.get_args(),
            output.status
        );
    }
    String::from_utf8(output.stdout).context("output is not UTF-8")
}

/// Returns the first of the usual folders that holds `program`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Returns the files git tracks or would track below the top, relative to it.
pub(crate) fn tracked() -> Result<Vec<PathBuf>> {
    let listing = output(&mut command(
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard"],
    ))?;
    Ok(listing
        .lines()
        .map(PathBuf::from)
        .filter(|path| root().join(path).is_file())
        .collect())
}
