//! What nobody uses goes: planned, asked, removed, and brought back.

use std::fs::{self, File};
use std::io::Write as _;

use insta::assert_snapshot;
use lamina_testkit::{Host, Outcome};
use serde_json::Value;

/// Gives a command an answer on stdin.
fn answered(host: &Host, words: &[&str], answer: &str) -> Outcome {
    let path = host.folder().join("answer");
    write!(File::create(&path).unwrap(), "{answer}").unwrap();
    let mut command = host.command(words);
    Outcome::of(command.stdin(File::open(path).unwrap()))
}

fn du(host: &Host) -> u64 {
    let path = host.root().display().to_string();
    let output = std::process::Command::new("du")
        .args(["-s", "-B1", &path])
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// One container that ran, one image without a container, one without a name, a partial download.
fn plant(host: &Host) {
    host.ok(&["run", "--name", "ran", "minimal", "sh", "-c", "echo 1 > /f"]);
    for (name, file) in [
        ("app:1", "/etc/hostname"),
        ("app:2", "/etc/passwd"),
        ("app:3", "/etc/group"),
    ] {
        host.ok(&["image", "create-minimal", "--add", file, name]);
    }
    host.ok(&["untag", "app:1"]);
    let digest = "ab".repeat(32);
    let partial = host.root().join(format!("partial/sha256-{digest}"));
    File::create(partial)
        .unwrap()
        .write_all(&[7; 9000])
        .unwrap();
}

#[test]
fn privileged_a_plan_is_shown() {
    let host = Host::new();
    plant(&host);
    let row = "{{.Type}}|{{.Name}}";
    let plan = |words: &[&str]| {
        let mut all = vec!["prune", "--plan", "--format", row];
        all.extend(words);
        host.ok(&all)
    };
    let kinds = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split('|').next().unwrap().to_owned())
            .collect()
    };
    let shown = plan(&[]);
    assert_eq!(
        kinds(&shown)[..3],
        ["container", "image", "download"],
        "{shown}"
    );
    let shown = plan(&["-a"]);
    let names: Vec<&str> = shown
        .lines()
        .filter_map(|l| l.strip_prefix("image|"))
        .collect();
    // The container goes, so does its image.
    assert_eq!(names.len(), 4, "{shown}");
    let shown = plan(&["--keep-last", "1"]);
    assert!(!shown.contains("minimal:latest"), "{shown}");
    assert_eq!(
        shown.lines().filter(|l| l.contains("app:")).count(),
        1,
        "{shown}"
    );
    assert!(!plan(&["-a", "--until", "2001-01-01"]).contains("image|"));
    assert!(!plan(&["--filter", "label=none"]).contains("container|"));
    let table = host.ok(&["system", "prune", "--plan"]);
    assert!(
        table.lines().last().unwrap().starts_with("Total: "),
        "{table}"
    );
    host.ok(&["rm", "--now", "ran"]);
    host.sweep();
}

#[test]
fn privileged_pruning_is_asked_for_and_can_be_undone() {
    let host = Host::new();
    plant(&host);
    let before = (host.ok(&["ps", "-a", "-q"]), host.ok(&["images"]));
    // Nobody answers: nothing goes.
    let outcome = host.lamina(&["prune"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    let (asked, refused) = outcome.stderr.split_once("[y/N] ").unwrap();
    assert_snapshot!(asked.replace("\n\n", "\n").trim_end(), @r"
    WARNING! This will remove:
      - all stopped containers
      - all dangling images
      - partial downloads, and what nothing leads to
    Are you sure you want to continue?
    ");
    assert_snapshot!(refused, @r"
    error: system prune has been cancelled
    hint: --plan shows what would go, -f does not ask
    ");
    assert_eq!(answered(&host, &["prune"], "n\n").code, 1);
    assert_eq!(before, (host.ok(&["ps", "-a", "-q"]), host.ok(&["images"])));

    let outcome = answered(&host, &["prune"], "y\n");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "Deleted Containers:");
    assert_eq!(lines[3], "Deleted Images:");
    assert!(lines[4].starts_with("deleted: sha256:"), "{lines:?}");
    assert_eq!(lines[6], "Deleted Partial Downloads:");
    assert!(lines[9].starts_with("Total reclaimed space: "), "{lines:?}");
    assert_eq!(host.ok(&["ps", "-a", "-q"]), "");
    let restored = host.ok(&["undo"]);
    assert!(restored.contains("Restored: container ran"), "{restored}");
    assert_eq!(before.1, host.ok(&["images"]));
    host.ok(&["rm", "--now", "ran"]);
    host.sweep();
}

#[test]
fn privileged_what_is_said_to_be_freed_is_freed() {
    let host = Host::new();
    plant(&host);
    let sum = |words: &[&str]| -> u64 {
        let text = host.ok(words);
        let rows = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| row["Bytes"].as_u64().unwrap()).sum()
    };
    let planned = sum(&["prune", "-a", "--now", "--plan", "--format", "json"]);
    let before = du(&host);
    host.ok(&["prune", "-a", "-f", "--now"]);
    let got = before - du(&host);
    assert!(
        got.abs_diff(planned) <= planned / 100 + 32768,
        "{got} instead of {planned}"
    );
    for folder in [
        "layers", "pool", "images", "refs", "snap", "removed", "trash", "partial",
    ] {
        let path = host.root().join(folder);
        let files = fs::read_dir(path).unwrap().flatten();
        let left: Vec<_> = files
            .filter(|entry| !is_empty_folder(&entry.path()))
            .collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    assert_eq!(host.lamina(&["undo"]).code, 1);
    host.sweep();
}

/// A container that writes into its root filesystem and into its volume, says so, and stays.
fn writer(host: &Host, name: &str, volumes: &[&str]) {
    let script = "head -c 300000 /dev/zero > /f; cat /f > /data/f; echo done; sleep 1000";
    let create = ["create", "--name", name];
    host.ok(&[&create[..], volumes, &["minimal", "sh", "-c", script]].concat());
}

#[test]
fn privileged_what_rm_says_to_free_is_freed() {
    let host = Host::new();
    writer(&host, "first", &["-v", "/data"]);
    writer(&host, "second", &["--volumes-from", "first"]);
    writer(&host, "stays", &["-v", "/data", "-v", "named:/named"]);
    for name in ["first", "second"] {
        host.ok(&["start", name]);
        while host.ok(&["logs", name]) != "done" {
            std::thread::yield_now();
        }
    }
    let row = "{{.Type}} {{.Name}}";
    let plan = |words: &[&str]| {
        let all = [&["rm", "--plan"], words].concat();
        host.lamina(&all)
    };
    // What runs is not removed without -f: that is what the plan says too.
    let outcome = plan(&["--format", row, "first", "stays", "nobody"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (1, "container stays\n")
    );
    assert_eq!(outcome.stderr.matches("error: ").count(), 2, "{outcome:?}");
    let shown = plan(&["-f", "-v", "--format", row, "first"]).stdout;
    assert_eq!(shown, "container first\n", "the other has its volume");
    let both = ["-f", "-v", "first", "second"];
    let shown = plan(&[&["--format", row], &both[..]].concat()).stdout;
    let kinds: Vec<&str> = shown
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(kinds, ["container", "container", "volume"]);
    assert!(
        plan(&both)
            .stdout
            .lines()
            .last()
            .unwrap()
            .starts_with("Total: ")
    );
    let rows = plan(&[&["--format", "json"], &both[..]].concat()).stdout;
    let rows = rows
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let planned: u64 = rows.map(|row| row["Bytes"].as_u64().unwrap()).sum();
    assert!(planned > 3 * 300_000, "{planned}");
    assert_eq!(host.ok(&["ps", "-q"]).lines().count(), 2);
    let before = du(&host);
    host.ok(&[&["rm", "--now"], &both[..]].concat());
    let got = before - du(&host);
    assert!(
        got.abs_diff(planned) <= planned / 100 + 65536,
        "{got} instead of {planned}"
    );
    assert_eq!(host.ok(&["ps", "-a", "--format", "{{.Names}}"]), "stays");
    assert_eq!(host.ok(&["volume", "ls", "-q"]).lines().count(), 2);
    host.ok(&["rm", "-v", "--now", "stays"]);
    host.ok(&["volume", "rm", "--now", "named"]);
    host.sweep();
}

/// The pool keeps its folders.
fn is_empty_folder(path: &std::path::Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn privileged_what_is_used_stays() {
    let host = Host::new();
    host.ok(&[
        "run", "-d", "--name", "web", "-v", "/data", "minimal", "sleep", "1000",
    ]);
    host.ok(&["run", "--name", "ran", "-v", "/data", "minimal", "true"]);
    host.ok(&["image", "create-minimal", "--add", "/etc/hostname", "spare"]);
    let removed = host.ok(&["container", "prune", "-f"]);
    let lines: Vec<&str> = removed.lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[2]),
        (4, "Deleted Containers:", "")
    );
    assert!(lines[3].starts_with("Total reclaimed space: "), "{removed}");
    // The volume of a container that can be brought back stays with it.
    let planned = host.ok(&["prune", "--volumes", "--plan", "--format", "{{.Type}}"]);
    assert!(!planned.contains("volume"), "{planned}");
    let removed = host.ok(&["image", "prune", "-a", "-f"]);
    assert!(removed.contains("untagged: spare:latest"), "{removed}");
    assert!(!removed.contains("minimal"), "{removed}");
    assert_eq!(host.ok(&["images", "-q"]).lines().count(), 1);
    host.ok(&["undo"]);
    host.ok(&["undo"]);
    host.ok(&["start", "-a", "ran"]);
    host.ok(&["rm", "--now", "ran"]);
    let removed = host.ok(&["prune", "-a", "-f", "--now", "--volumes"]);
    assert!(removed.contains("Deleted Volumes:"), "{removed}");
    assert_eq!(host.ok(&["ps", "-q"]).lines().count(), 1);
    assert_eq!(
        fs::read_dir(host.root().join("volumes")).unwrap().count(),
        1
    );
    host.ok(&["rm", "-f", "-v", "--now", "web"]);
    host.sweep();
}
