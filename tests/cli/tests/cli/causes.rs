//! "10 GB used, 200 MB of data": one command names the cause, for each that was planted.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare files of their own"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use lamina_testkit::registry::{MemoryImage, Registry};
use lamina_testkit::{Host, noise};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// Makes a tar of one file.
fn tar(folder: &Path, name: &str, content: &[u8]) -> Vec<u8> {
    let tree = folder.join(format!("tree-{name}"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join(name), content).unwrap();
    let mut command = Command::new("tar");
    let output = command
        .arg("-C")
        .arg(&tree)
        .args(["-cf", "-", name])
        .output();
    output.unwrap().stdout
}

fn causes(host: &Host) -> Vec<Value> {
    let text = host.ok(&["df", "--causes", "--format", "json"]);
    serde_json::from_str(&text).unwrap()
}

/// Plants one of each, and returns the cause, whose it is, the largest file, and at least how many
/// bytes it takes.
fn plant(host: &Host) -> Vec<(&'static str, String, &'static str, usize)> {
    let registry = Registry::start();
    let layers = [
        tar(host.folder(), "big", &noise(1, 7 * MIB)),
        tar(host.folder(), ".wh.big", b""),
    ];
    registry.serve_image("bloated", "1", &MemoryImage::of_tars(layers.to_vec()));
    let bloated = format!("{}/bloated:1", registry.domain());
    host.ok(&["pull", "-q", "--tls-verify=false", &bloated]);

    let base = host.folder().join("base");
    fs::write(&base, noise(2, 6 * MIB)).unwrap();
    let base = base.display().to_string();
    host.ok(&["image", "create-minimal", "--add", &base, "app"]);
    let run = |name: &str, script: &str| {
        host.ok(&[
            "run", "--name", name, "-v", "/kept", "app", "sh", "-c", script,
        ]);
    };
    run("talker", "head -c 3000000 /dev/zero | tr '\\0' x");
    run(
        "logger",
        "mkdir -p /var/log; head -c 4M /dev/zero > /var/log/app.log",
    );
    run(
        "keeper",
        "mkdir /data; head -c 5M /dev/zero > /data/rows; head -c 5M /dev/zero > /kept/x",
    );
    run(
        "editor",
        &format!("printf x | dd of={base} conv=notrunc 2>/dev/null"),
    );
    run("tidy", &format!("chmod 600 {base}"));
    run("gone", "head -c 8M /dev/zero > /kept/x");
    let id = host.ok(&[
        "inspect",
        "--format",
        "{{range .Mounts}}{{.Name}}{{end}}",
        "gone",
    ]);
    host.ok(&["rm", "--now", "gone"]);
    vec![
        ("unused volume", id, "", 8 * MIB),
        ("layer bloat", bloated, "/big", 7 * MIB),
        // It lies in a folder for temporary files, in the image too.
        ("layer bloat", "app:latest".to_owned(), "/base", 6 * MIB),
        ("copied-up file", "editor".to_owned(), "/base", 6 * MIB),
        (
            "outside a volume",
            "keeper".to_owned(),
            "/data/rows",
            5 * MIB,
        ),
        ("log file", "logger".to_owned(), "/var/log/app.log", 4 * MIB),
        ("container output", "talker".to_owned(), "", 3_000_000),
    ]
}

#[test]
fn privileged_every_planted_cause_of_a_full_disk_is_named() {
    let host = Host::new();
    let planted = plant(&host);
    let found = causes(&host);
    let large = |one: &&Value| one["Bytes"].as_u64().unwrap() >= MIB as u64;
    let large: Vec<&Value> = found.iter().filter(large).collect();
    assert_eq!(large.len(), planted.len(), "{found:#?}");
    for (cause, of, largest, bytes) in &planted {
        let named = |one: &&&Value| one["Cause"] == *cause && one["Of"] == of.as_str();
        let one = large.iter().find(named);
        let one = one.unwrap_or_else(|| panic!("{cause} of {of}: {found:#?}"));
        let (least, size) = (*bytes as u64, one["Bytes"].as_u64().unwrap());
        assert!((least..least * 2).contains(&size), "{cause}: {one}");
        let path = one["Largest"].as_str().unwrap_or_default();
        assert!(path.ends_with(largest), "{cause}: {one}");
        assert_eq!(path.is_empty(), largest.is_empty(), "{cause}: {one}");
        assert_ne!(one["Fix"], "", "{cause}");
    }
    let text = host.ok(&["df", "--causes"]);
    for (cause, of, ..) in &planted {
        let told = |line: &str| line.starts_with(cause) && line.contains(of.as_str());
        assert!(text.lines().any(told), "{cause} of {of}: {text}");
    }
    host.remove_containers();
    host.ok(&["prune", "-f", "--volumes", "--now"]);
    host.sweep();
}

#[test]
fn privileged_a_hundred_containers_cost_what_they_write() {
    let host = Host::new();
    let base = host.folder().join("base");
    fs::write(&base, noise(3, 20 * MIB)).unwrap();
    let base = base.display().to_string();
    host.ok(&["image", "create-minimal", "--add", &base, "app"]);
    let total = || {
        let shown = host.ok(&["df", "-v", "--format", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["Total"].as_u64().unwrap()
    };
    let write = ["sh", "-c", "head -c 100000 /dev/zero > /written"];
    host.ok(&[&["run", "--rm", "app"], &write[..]].concat());
    let before = total();
    for name in ["one", "two", "three"] {
        host.ok(&[&["run", "--name", name, "app"], &write[..]].concat());
    }
    let three = total().saturating_sub(before);
    assert!((300_000..600_000).contains(&three), "{three}");
    for n in 3..100 {
        host.ok(&["create", "--name", &format!("c{n}"), "app", "true"]);
    }
    // A container that has written nothing is a few folders and its record.
    let hundred = total().saturating_sub(before);
    assert!(hundred < three + 97 * 65_536, "{hundred}");
    host.remove_containers();
    host.sweep();
}
