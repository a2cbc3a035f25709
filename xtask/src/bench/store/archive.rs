//! An image made of tars: what `docker save` writes, which every engine loads.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::bench::scratch::Scratch;
use crate::shell;

/// A layer's tar.
pub(super) struct Layer {
    path: PathBuf,
    sha256: String,
}

impl Layer {
    /// Takes a tar and finds its hash.
    pub(super) fn of(path: PathBuf) -> Result<Self> {
        let printed = shell::output(shell::command("sha256sum", &[]).arg(&path))?;
        let sha256 = printed.split_whitespace().next();
        let sha256 = sha256.context("sha256sum prints a hash")?.to_owned();
        Ok(Self { path, sha256 })
    }
}

/// Writes the archive of an image called `name` and returns its path.
pub(super) fn write(scratch: &Scratch, name: &str, layers: &[Layer]) -> Result<PathBuf> {
    let folder = scratch.folder(&format!("{name}-archive"))?;
    for layer in layers {
        std::fs::hard_link(&layer.path, folder.join(format!("{}.tar", layer.sha256)))?;
    }
    let ids = layers
        .iter()
        .map(|layer| format!("sha256:{}", layer.sha256));
    let files: Vec<String> = layers
        .iter()
        .map(|layer| format!("{}.tar", layer.sha256))
        .collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": ids.collect::<Vec<_>>() },
    });
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": [format!("{name}:latest")],
        "Layers": files,
    }]);
    std::fs::write(folder.join("config.json"), config.to_string())?;
    std::fs::write(folder.join("manifest.json"), manifest.to_string())?;
    let archive = scratch.join(&format!("{name}.tar"));
    let mut tar = shell::command("tar", &["-C"]);
    tar.arg(&folder).arg("-cf").arg(&archive);
    shell::run(tar.args(["manifest.json", "config.json"]).args(&files))?;
    Ok(archive)
}
