//! What things take on the disk, and what keeps them.

use std::process::Command;

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;
use serde_json::Value;

/// What `du` says of the store's root.
fn du(host: &Host) -> u64 {
    let output = Command::new("du")
        .args(["-s", "-B1"])
        .arg(host.root())
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.split('\t').next().unwrap().parse().unwrap()
}

fn document(host: &Host) -> Value {
    serde_json::from_str(&host.ok(&["df", "-v", "--format", "json"])).unwrap()
}

#[test]
fn privileged_df_of_an_empty_store() {
    let host = Host::new();
    let row = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Reclaimable}}";
    assert_snapshot!(transcript(&host, &["df", "--format", row]), @r"
    Images|0|0|0B
    Containers|0|0|0B
    Local Volumes|0|0|0B
    Partial Pulls|0|0|0B
    Unreferenced|0|0|0B
    Trash|0|0|0B
    Store|0|0|0B (0%)
    Unaccounted|0|0|0B
    [exit 0]
    ");
}

#[test]
fn privileged_df_says_what_du_says() {
    let host = Host::new();
    let added = host.folder().join("added");
    std::fs::copy("/bin/sh", &added).unwrap();
    let added = added.display().to_string();
    host.ok(&["image", "create-minimal", "--add", &added, "other"]);
    let script = "cat /bin/* > /written; echo to the log";
    host.ok(&[
        "run", "--name", "one", "-v", "/data", "minimal", "sh", "-c", script,
    ]);
    host.ok(&["run", "-d", "--name", "two", "minimal", "sleep", "1000"]);
    for _ in 0..2 {
        let (shown, real) = (document(&host), du(&host));
        let total = shown["Total"].as_u64().unwrap();
        assert!(
            total.abs_diff(real) * 100 <= real,
            "{total}, du {real}: {shown}"
        );
        assert_eq!(shown["Unaccounted"], serde_json::json!({}));
        let folders = shown["Folders"].as_object().unwrap().values();
        let sum: u64 = folders.filter_map(Value::as_u64).sum();
        assert_eq!(sum, total);
    }
    let row = "{{.Type}}|{{.TotalCount}}|{{.Active}}";
    let rows = host.ok(&["system", "df", "--format", row]);
    for expected in ["Images|2|1", "Containers|2|1", "Local Volumes|1|1"] {
        assert!(rows.lines().any(|line| line == expected), "{rows}");
    }
    let text = host.ok(&["df", "-v"]);
    for part in [
        "Images space usage:",
        "FREED IF REMOVED",
        "minimal:latest",
        "Total: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    // What is said to be freed is what the disk gets back; the trash of before is another matter.
    host.ok(&["ps"]);
    let images = document(&host)["Images"].take();
    let unused = |image: &&Value| image["InUse"] == false;
    let other = images.as_array().unwrap().iter().find(unused);
    let freed = other.unwrap()["FreedIfRemoved"].as_u64().unwrap();
    let before = du(&host);
    host.ok(&["rmi", "--now", "other"]);
    let got = before - du(&host);
    assert!(
        got.abs_diff(freed) <= freed / 100 + 16384,
        "{got} instead of {freed}"
    );
    host.ok(&["rm", "-f", "-v", "one", "two"]);
    host.sweep();
}

#[test]
fn privileged_why_names_the_owners() {
    let host = Host::new();
    host.ok(&["create", "--name", "one", "-v", "/data", "minimal", "true"]);
    let container = host.ok(&["ps", "-a", "-q", "--no-trunc"]);
    let shown = host.ok(&["why", "minimal"]);
    let id = host.ok(&["images", "-q", "--no-trunc", "minimal"]);
    let lines: Vec<&str> = shown.lines().map(str::trim_start).collect();
    assert_eq!(lines[0], format!("blob {id}"));
    assert_eq!(lines[1], format!("container {container}"));
    assert_eq!(lines[4], "name minimal:latest");
    assert!(lines[5].starts_with("└─ manifest sha256:"), "{shown}");
    assert_eq!(lines[6], format!("└─ configuration {id}"));
    assert_eq!(host.ok(&["why", &id[7..19]]), shown);

    let layer = std::fs::read_dir(host.root().join("layers"))
        .unwrap()
        .flatten()
        .next();
    let layer = layer.unwrap().path().display().to_string();
    let shown = host.ok(&["why", "--format", "json", &layer]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["Kept"], true);
    assert_eq!(shown[0]["Chains"].as_array().unwrap().len(), 2, "{shown}");
    let volume = std::fs::read_dir(host.root().join("volumes"))
        .unwrap()
        .flatten()
        .next();
    let volume = volume.unwrap().path().display().to_string();
    let shown = host.ok(&["why", &volume]);
    assert!(
        shown.ends_with(&format!("\n  used by container {}", &container[..12])),
        "{shown}"
    );
    assert_snapshot!(transcript(&host, &["why", "nothing"]), @r"
    ! error: nothing in the store is called nothing
    ! hint: lamina df -v and lamina images --no-trunc show what is here
    [exit 1]
    ");
    host.ok(&["rm", "-v", "one"]);
    host.sweep();
}
