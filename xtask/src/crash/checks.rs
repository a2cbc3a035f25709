//! What must be true after a command was killed, and given again.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::entries;
use super::scenarios::Scenario;
use super::store::{Host, LAYER};

/// The part of what had arrived that a repeated pull may fetch again.
const AGAIN: u64 = 100;
/// What the documents and the noise of the server's own reads come to.
const DOCUMENTS: u64 = 64 << 10;

/// Whatever was removed by then comes back, exactly.
pub(super) fn comes_back(host: &Host, _: &Scenario) -> Result<()> {
    is_back_at(host, &host.template())
}

/// The same where the scenario has made something first.
pub(super) fn comes_back_from_here(host: &Host, _: &Scenario) -> Result<()> {
    is_back_at(host, &host.begin())
}

fn is_back_at(host: &Host, from: &Path) -> Result<()> {
    for _ in 0..4 {
        if host.ok(&["undo"]).is_err() {
            break;
        }
    }
    let (now, before) = (host.picture(&host.root())?, host.picture(from)?);
    let differs = |path: &&String| now.get(*path) != before.get(*path);
    let paths: Vec<&String> = now.keys().chain(before.keys()).filter(differs).collect();
    ensure!(paths.is_empty(), "not as before: {paths:?}");
    ensure!(
        entries(&host.root().join("removed")).next().is_none(),
        "something is still removed"
    );
    host.whole()
}

pub(super) fn again_and_gone(host: &Host, scenario: &Scenario) -> Result<()> {
    // The names may be gone already.
    let _ = host.ok(scenario.words);
    host.ok(&["prune", "-f"])?;
    let layers = entries(&host.root().join("layers")).count();
    ensure!(
        layers == 1,
        "{layers} layers instead of that of the other image"
    );
    host.whole()
}

pub(super) fn again_and_empty(host: &Host, scenario: &Scenario) -> Result<()> {
    host.ok(scenario.words)?;
    let folders = [
        "layers",
        "refs",
        "snap",
        "volumes",
        "removed",
        "images",
        "oci/blobs/sha256",
    ];
    let left: Vec<String> = folders
        .iter()
        .flat_map(|folder| entries(&host.root().join(folder)))
        .collect();
    ensure!(left.is_empty(), "left: {left:?}");
    host.whole()
}

/// What had arrived is not fetched again.
pub(super) fn pulled_again(host: &Host, scenario: &Scenario) -> Result<()> {
    let length = |path: String| fs::metadata(path).map_or(0, |file| file.len());
    let root = host.root();
    let partial: u64 = entries(&root.join("partial")).map(length).sum();
    let blobs = entries(&root.join("oci/blobs/sha256")).map(length);
    // Those of the template are small.
    let whole: u64 = blobs.filter(|size| *size >= LAYER as u64).sum();
    let before = host.registry.read_bytes()?;
    host.ok(scenario.words)?;
    let sent = host.registry.read_bytes()? - before;
    let archive = host.places.folder().join("big-1.tar");
    let size = fs::metadata(archive)?.len();
    let arrived = (partial + whole).min(size);
    let missing = size - arrived;
    ensure!(
        sent <= missing + arrived / AGAIN + DOCUMENTS,
        "{arrived} of {size} bytes had arrived, and {sent} were sent again"
    );
    let name = host.words(&scenario.words[1..]);
    host.ok(&["run", "--rm", "--network", "none", &name[0], "/bin/true"])?;
    host.whole()
}

pub(super) fn pushed_again(host: &Host, scenario: &Scenario) -> Result<()> {
    host.ok(scenario.words)?;
    let name = host.words(&scenario.words[1..]);
    let other = host.places.folder().join("puller");
    let _ = fs::remove_dir_all(&other);
    host.places.ok_in(&other, &["pull", "-q", &name[0]])?;
    host.whole()
}

/// The container is as it was, and becomes the same layer.
pub(super) fn committed_again(host: &Host, scenario: &Scenario) -> Result<()> {
    host.ok(scenario.words)?;
    host.ok(&["start", "-a", "changed"])?;
    let run = ["run", "--rm", "--network", "none", "committed:1"];
    let kept = host.ok(&[&run[..], &["cat", "/f"]].concat())?;
    ensure!(kept.trim_end() == "kept", "committed {kept:?}");
    host.whole()
}

pub(super) fn saved_again(host: &Host, scenario: &Scenario) -> Result<()> {
    host.ok(scenario.words)?;
    let saved = host.places.folder().join("saved.tar");
    let first = host.places.folder().join("first.tar");
    if !first.exists() {
        fs::rename(&saved, &first)?;
        return Ok(());
    }
    ensure!(
        fs::read(&saved)? == fs::read(&first)?,
        "saved something else"
    );
    Ok(())
}

pub(super) fn migrated_again(host: &Host, scenario: &Scenario) -> Result<()> {
    host.ok(scenario.words)?;
    for layer in entries(&host.root().join("layers")) {
        ensure!(
            Path::new(&layer).join("split.zst").exists(),
            "{layer} is not converted"
        );
    }
    host.whole()
}

/// Every volume is whole, and the command, given again where it has not been done, does it.
pub(super) fn volumes_again(host: &Host, scenario: &Scenario) -> Result<()> {
    let done = |host: &Host| host.root().join("volumes/made").exists();
    for volume in entries(&host.root().join("volumes")) {
        let folder = Path::new(&volume);
        ensure!(
            folder.join("volume.json").exists() && folder.join("_data").is_dir(),
            "{volume} is half-made"
        );
    }
    if !done(host) {
        host.ok(scenario.words)?;
    }
    ensure!(done(host), "not done");
    let noise = host.places.folder().join("tree-one/noise");
    let copied = host.root().join("volumes/made/_data/noise");
    if !scenario.words.contains(&"create") {
        ensure!(
            fs::read(copied)? == fs::read(noise)?,
            "not the same contents"
        );
    }
    let stays = host.root().join("volumes/full").exists();
    ensure!(
        stays == scenario.words.contains(&"clone"),
        "the volume it is made of: {stays}"
    );
    host.whole()
}
