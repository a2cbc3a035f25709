//! What is removed comes back, for a while.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

/// Writes the host's configuration, beside what the whole suite may have in it.
fn configure(host: &Host, line: &str) {
    let folder = host.folder().join(".config/lamina");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.toml");
    let before = fs::read_to_string(&file).unwrap_or_default();
    let mut file = fs::File::create(file).unwrap();
    write!(file, "{line}\n{before}").unwrap();
}

#[test]
fn privileged_an_image_comes_back_with_its_names() {
    let host = Host::new();
    host.ok(&["image", "create-minimal", "mine:1"]);
    host.ok(&["tag", "mine:1", "other"]);
    let refs = || -> Vec<(String, String)> {
        let entries = fs::read_dir(host.root().join("refs")).unwrap();
        let read = entries.map(|entry| {
            let path = entry.unwrap().path();
            (
                path.display().to_string(),
                fs::read_to_string(path).unwrap(),
            )
        });
        let mut all: Vec<_> = read.collect();
        all.sort();
        all
    };
    let before = (refs(), host.ok(&["images", "--no-trunc"]));
    assert_snapshot!(transcript(&host, &["rmi", "mine:1", "other"]), @r"
    Untagged: mine:1
    Untagged: other:latest
    Deleted: sha256:[ID]
    [exit 0]
    ");
    assert_eq!(host.ok(&["images", "-q"]), "");
    let row = "{{.Content}}|{{.Command}}";
    assert_snapshot!(transcript(&host, &["undo", "--list", "--format", row]), @r"
    2 image names|lamina rmi mine:1 other
    [exit 0]
    ");
    let trash = host.ok(&["df", "--format", "{{.Type}}|{{.TotalCount}}"]);
    assert!(trash.lines().any(|line| line == "Trash|1"), "{trash}");
    let layer = fs::read_dir(host.root().join("layers")).unwrap().next();
    let layer = layer.unwrap().unwrap().path().display().to_string();
    let why = host.ok(&["why", &layer]);
    assert!(
        why.contains("by \"rmi mine:1 other\", which can be undone"),
        "{why}"
    );
    assert_snapshot!(transcript(&host, &["undo"]), @r"
    Restored: image mine:1
    Restored: image other:latest
    [exit 0]
    ");
    assert_eq!((refs(), host.ok(&["images", "--no-trunc"])), before);
    assert_snapshot!(transcript(&host, &["undo"]), @r"
    ! error: nothing can be undone
    ! hint: lamina undo --list shows what can be undone
    [exit 1]
    ");
    host.ok(&["rmi", "--now", "mine:1", "other"]);
    host.sweep();
}

#[test]
fn privileged_a_name_that_was_taken_is_not_taken_back() {
    let host = Host::new();
    host.ok(&["image", "create-minimal", "mine:1"]);
    host.ok(&["rmi", "mine:1"]);
    host.ok(&[
        "image",
        "create-minimal",
        "--add",
        "/etc/hostname",
        "mine:1",
    ]);
    assert_snapshot!(transcript(&host, &["undo"]), @r"
    ! error: the name mine:1 has been given to another image since
    ! hint: lamina untag mine:1 takes the name away from that image, which stays; then again
    [exit 1]
    ");
    host.sweep();
}

#[test]
fn privileged_a_container_comes_back_as_it_was() {
    let host = Host::new();
    host.ok(&[
        "run",
        "--name",
        "one",
        "-v",
        "/data",
        "minimal",
        "sh",
        "-c",
        "echo mine > /data/f; echo 1 > /f; echo said",
    ]);
    let shown = |words: &[&str]| host.ok(words);
    let inspected = shown(&["inspect", "one"]);
    let diff = shown(&["diff", "one"]);
    host.ok(&["rm", "-v", "one"]);
    assert_eq!(host.ok(&["ps", "-a", "-q"]), "");
    assert!(
        fs::read_dir(host.root().join("volumes"))
            .unwrap()
            .next()
            .is_none()
    );
    // The name and the image are free meanwhile.
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    assert_snapshot!(transcript(&host, &["undo"]), @r"
    ! error: the name one has been given to container [SHORT ID] since
    ! hint: lamina rm [SHORT ID] removes that container; then undo --list and undo ID
    [exit 1]
    ");
    host.ok(&["rm", "--now", "one"]);
    host.ok(&["rmi", "minimal"]);
    assert_eq!(host.ok(&["undo"]), "Restored: image minimal:latest");
    assert_eq!(host.ok(&["undo"]), "Restored: container one");
    assert_eq!(shown(&["inspect", "one"]), inspected);
    assert_eq!(shown(&["diff", "one"]), diff);
    assert_eq!(host.ok(&["logs", "one"]), "said");
    assert_eq!(host.ok(&["start", "-a", "one"]), "said");
    host.ok(&["rm", "--now", "-v", "one"]);
    host.sweep();
}

#[test]
fn privileged_a_name_that_was_taken_away_comes_back() {
    let host = Host::new();
    host.ok(&["image", "create-minimal", "mine:1"]);
    let before = host.ok(&["images"]);
    host.ok(&["untag", "mine:1"]);
    assert_eq!(host.ok(&["images", "--format", "{{.Tag}}"]), "<none>");
    host.ok(&["undo"]);
    assert_eq!(host.ok(&["images"]), before);
    host.sweep();
}

#[test]
fn privileged_the_window_ends_behind_a_command() {
    let host = Host::new();
    configure(&host, "trash-window = \"10ms\"");
    host.ok(&["image", "create-minimal", "mine:1"]);
    host.ok(&["rmi", "mine:1"]);
    std::thread::sleep(Duration::from_millis(20));
    // The next command that changes something has it done, by a process that nobody waits for.
    host.lamina(&["rm", "nobody"]);
    let layers = host.root().join("layers");
    let begun = Instant::now();
    while fs::read_dir(&layers).unwrap().next().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(host.lamina(&["undo"]).code, 1);
    host.sweep();
}

#[test]
fn privileged_without_a_window_nothing_is_kept() {
    let host = Host::new();
    configure(&host, "trash-window = \"0\"");
    host.ok(&["create", "--name", "one", "minimal", "true"]);
    host.ok(&["rm", "one"]);
    host.ok(&["rmi", "minimal"]);
    for folder in ["removed", "layers", "snap", "trash"] {
        let path = host.root().join(folder);
        assert!(fs::read_dir(path).unwrap().next().is_none(), "{folder}");
    }
    assert_eq!(host.lamina(&["undo"]).code, 1);
    host.sweep();
}
