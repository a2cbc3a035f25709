//! What the first write to a file of the image costs.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare files of their own"
)]

use std::fs;
use std::io::Write as _;

use lamina_testkit::{Disk, Host, noise};

const LARGE: usize = 16 << 20;

/// Returns how many bytes of a filesystem are taken.
fn taken(disk: &Disk) -> u64 {
    let command = std::process::Command::new("sync")
        .arg("-f")
        .arg(disk.path())
        .status();
    assert!(command.unwrap().success());
    let output = std::process::Command::new("df")
        .args(["-B1", "--output=used"])
        .arg(disk.path())
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().nth(1).unwrap().trim().parse().unwrap()
}

#[test]
fn privileged_a_changed_byte_shares_its_file_where_the_filesystem_can() {
    let host = Host::new();
    let disk = match Disk::new(host.folder().join("disk"), host.root(), "xfs") {
        Ok(disk) => disk,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
            return;
        }
    };
    let base = host.folder().join("base");
    fs::write(&base, noise(1, LARGE)).unwrap();
    let base = base.display().to_string();
    host.ok(&["image", "create-minimal", "--add", &base, "app"]);
    host.ok(&["run", "--rm", "app", "true"]);
    let before = taken(&disk);
    let edit = format!("printf x | dd of={base} conv=notrunc 2>/dev/null");
    host.ok(&["run", "--name", "editor", "app", "sh", "-c", &edit]);
    let cost = taken(&disk).saturating_sub(before);
    assert!(cost < LARGE as u64 / 4, "{cost}");
    // It is a file of its own all the same.
    let changes = host.ok(&["diff", "editor"]);
    assert!(changes.contains(&format!("C {base}")), "{changes}");
    let first = ["run", "--rm", "app", "head", "-c", "1", &base];
    assert_ne!(host.ok(&first), "x");
    // Nor does an image of it cost what is in it.
    let before = taken(&disk);
    host.ok(&["commit", "editor", "edited"]);
    let cost = taken(&disk).saturating_sub(before);
    assert!(cost < LARGE as u64 / 4, "{cost}");
    host.ok(&["rm", "--now", "editor"]);
    assert_eq!(
        host.ok(&["run", "--rm", "edited", "head", "-c", "1", &base]),
        "x"
    );
    host.ok(&["fsck", "--quiet"]);
    host.remove_containers();
    drop(disk);
    host.sweep();
}
