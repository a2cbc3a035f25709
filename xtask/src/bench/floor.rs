//! Builds the floor program (`benches/floor.c`) and its little tree.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::scratch::Scratch;
use super::start::Contender;
use crate::shell;

/// Returns the program and the tree it mounts.
pub(super) fn build(scratch: &Scratch) -> Result<(PathBuf, PathBuf)> {
    let program = scratch.join("floor");
    let source = shell::root().join("benches/floor.c");
    let mut gcc = shell::command("gcc", &["-O2", "-static", "-o"]);
    shell::run(gcc.arg(&program).arg(source))?;
    Ok((program, tree(scratch)?))
}

/// Returns the floor program as one that starts a container of the tree, below the folder `work`.
pub(super) fn contender(program: PathBuf, tree: PathBuf, work: PathBuf) -> Contender<'static> {
    Contender {
        name: "floor".to_owned(),
        command: Box::new(move |_| {
            let mut command = Command::new(&program);
            command.arg(&tree).current_dir(&work);
            command
        }),
        after: None,
    }
}

/// Makes a root filesystem of one static busybox.
fn tree(scratch: &Scratch) -> Result<PathBuf> {
    let tree = scratch.folder("busybox")?;
    for folder in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
        std::fs::create_dir_all(tree.join(folder))?;
    }
    let busybox = shell::find("busybox").context("no busybox")?;
    std::fs::copy(busybox, tree.join("bin/busybox"))?;
    for applet in ["true", "sh"] {
        std::fs::hard_link(tree.join("bin/busybox"), tree.join("bin").join(applet))?;
    }
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    Ok(tree)
}

/// Packs a tree as a tar that every engine can import.
pub(super) fn pack(tree: &Path, archive: &Path) -> Result<()> {
    let mut tar = shell::command("tar", &["--numeric-owner", "-C"]);
    shell::run(tar.arg(tree).arg("-cf").arg(archive).arg("."))
}
