//! The power goes out right after a command has said that it is done: what it did is there.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare files of their own"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lamina_testkit::registry::{MemoryImage, Registry};
use lamina_testkit::{Disk, Host, as_another_boot, noise};

/// Makes a tar of one large and many small files.
fn tar(folder: &Path, seed: u64) -> PathBuf {
    let tree = folder.join(format!("tree{seed}"));
    fs::create_dir_all(tree.join("many")).unwrap();
    fs::write(tree.join("large"), noise(seed, 1 << 20)).unwrap();
    for n in 1..40_usize {
        fs::write(
            tree.join("many").join(n.to_string()),
            noise(seed + n as u64, 100 * n),
        )
        .unwrap();
    }
    let out = folder.join(format!("{seed}.tar"));
    let mut command = Command::new("tar");
    command.arg("-C").arg(&tree).arg("-cf").arg(&out).arg(".");
    assert!(command.status().unwrap().success());
    out
}

/// Cuts the power, and compares which images are there; nothing is damaged.
fn cut(host: &Host, disk: &Disk, done: &str, expected: &[&str]) {
    disk.cut_power();
    as_another_boot(disk.path());
    let list = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
    let text = host.ok(&list);
    let mut names: Vec<&str> = text.lines().collect();
    names.sort_unstable();
    assert_eq!(names, expected, "after {done}");
    let checked = host.lamina(&["fsck", "--quiet"]);
    assert_eq!(
        checked.code, 0,
        "after {done}: {}{}",
        checked.stdout, checked.stderr
    );
}

fn survives(kind: &str, mode: &str) {
    let host = Host::new();
    let disk = match Disk::new(host.folder().join("disk"), host.root(), kind) {
        Ok(disk) => disk,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
            return;
        }
    };
    let ok = |words: &[&str]| host.ok(&[&[mode], words].concat());
    let one = tar(host.folder(), 1000);
    let two = tar(host.folder(), 2000);
    ok(&["import", one.to_str().unwrap(), "imported:1"]);
    cut(&host, &disk, "import", &["imported:1"]);

    ok(&["save", "-o", "saved.tar", "imported:1"]);
    ok(&["rmi", "imported:1"]);
    cut(&host, &disk, "rmi", &[]);
    ok(&["load", "-q", "-i", "saved.tar"]);
    cut(&host, &disk, "load", &["imported:1"]);

    let registry = Registry::start();
    let image = MemoryImage::of_tars(vec![fs::read(&one).unwrap(), fs::read(&two).unwrap()]);
    registry.serve_image("app", "1", &image);
    let pulled = format!("{}/app:1", registry.domain());
    ok(&["pull", "-q", "--tls-verify=false", &pulled]);
    let mut both = [pulled.as_str(), "imported:1"];
    both.sort_unstable();
    cut(&host, &disk, "pull", &both);

    ok(&["tag", &pulled, "zz:1"]);
    cut(&host, &disk, "tag", &[both[0], both[1], "zz:1"]);
    ok(&["untag", &pulled, "zz:1"]);
    cut(&host, &disk, "untag", &both);
    // The blobs of what was pulled are not kept: the tars come from the layers.
    ok(&["image", "blobs", "--rebuild", &pulled]);
    cut(&host, &disk, "image blobs", &both);
    ok(&["rmi", &pulled]);
    cut(&host, &disk, "rmi of a pulled image", &["imported:1"]);

    ok(&[
        "run",
        "--name",
        "one",
        "minimal",
        "sh",
        "-c",
        "echo kept > /f",
    ]);
    ok(&["commit", "one", "committed:1"]);
    let three = ["committed:1", "imported:1", "minimal:latest"];
    cut(&host, &disk, "commit", &three);
    assert_eq!(ok(&["run", "--rm", "committed:1", "cat", "/f"]), "kept");
}

#[test]
fn privileged_what_is_done_survives_a_power_cut_on_ext4() {
    survives("ext4", "--storage-mode=plain");
}

#[test]
fn privileged_what_is_done_survives_a_power_cut_on_ext4_in_the_usual_mode() {
    survives("ext4", "--storage-mode=auto");
}

#[test]
fn privileged_what_is_done_survives_a_power_cut_on_xfs() {
    survives("xfs", "--storage-mode=auto");
}
