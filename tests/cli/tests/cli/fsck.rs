//! `fsck` as a person meets it, and the other commands in a damaged store.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests damage the store behind its back"
)]

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use lamina_cli_tests::show;
use lamina_testkit::Host;

const PLAIN: &str = "--storage-mode=plain";

/// Changes one byte in the middle of a file.
fn flip(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

/// Returns the folder of the only layer.
fn layer(host: &Host) -> PathBuf {
    let mut layers = fs::read_dir(host.root().join("layers")).unwrap();
    layers.next().unwrap().unwrap().path()
}

/// Everything that must work whatever is damaged.
fn goes_on(host: &Host) {
    for words in [
        &["images"][..],
        &["ps", "-a"],
        &["df"],
        &["images", "-q"],
        &["prune", "--plan"],
    ] {
        host.ok(words);
    }
}

#[test]
fn privileged_fsck_says_what_is_damaged_whom_it_affects_and_what_mends_it() {
    let host = Host::new();
    host.ok(&[PLAIN, "image", "create-minimal", "app"]);
    host.ok(&[PLAIN, "create", "--name", "web", "app", "true"]);
    let clean = host.lamina(&["fsck", "-q"]);
    assert_eq!(
        (clean.code, clean.stderr.as_str()),
        (0, ""),
        "{}",
        clean.stdout
    );
    assert!(clean.stdout.starts_with("clean: "), "{}", clean.stdout);
    flip(&layer(&host).join("idx"));
    goes_on(&host);
    let found = host.lamina(&["fsck", "-q"]);
    assert_eq!(found.code, 4);
    let line = found.stdout.lines().next().unwrap();
    assert!(line.starts_with("index layer sha256:"), "{line}");
    let end = "wrong checksum; affects container web, image app:latest; \
               --repair makes it again from what is here";
    assert!(line.ends_with(end), "{line}");
    let json = host.lamina(&["fsck", "-q", "--format", "json"]).stdout;
    for part in [
        "\"Clean\":false",
        "\"Kind\":\"index\"",
        "\"Remedy\":\"derive\"",
    ] {
        assert!(json.contains(part), "{json}");
    }
    let mended = host.lamina(&["fsck", "-q", "--repair"]);
    assert_eq!(mended.code, 0, "{}", mended.stdout);
    assert!(
        mended.stdout.contains("; repaired\n1 findings, 1 repaired"),
        "{}",
        mended.stdout
    );
    assert_eq!(host.lamina(&["fsck", "-q"]).code, 0);
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_a_store_with_a_damaged_layer_lists_removes_and_collects() {
    for name in ["layer.json", "split.zst", "idx"] {
        let host = Host::new();
        host.ok(&[PLAIN, "image", "create-minimal", "app"]);
        host.ok(&[
            PLAIN,
            "image",
            "create-minimal",
            "--add",
            "/etc/hosts",
            "other",
        ]);
        fs::write(layer(&host).join(name), "{garbage").unwrap();
        goes_on(&host);
        host.ok(&["rmi", "other"]);
        host.ok(&["rmi", "app"]);
        assert_eq!(host.ok(&["images", "-q"]), "");
        host.sweep();
    }
}

#[test]
fn privileged_a_container_with_a_damaged_record_is_listed_checked_and_removed() {
    let host = Host::new();
    host.ok(&[PLAIN, "image", "create-minimal", "app"]);
    host.ok(&[PLAIN, "image", "create-minimal", "other"]);
    for file in ["containers/ID/record.json", "snap/ID/info.json"] {
        let id = host.ok(&[PLAIN, "create", "--name", "web", "app", "true"]);
        fs::write(host.root().join(file.replace("ID", &id)), "{garbage").unwrap();
        goes_on(&host);
        assert!(host.ok(&["ps", "-a"]).contains("web"), "{file}");
        // What it has written stays, and so does what it stands on.
        host.ok(&["untag", "other"]);
        let collected = host.lamina(&["rmi", "-f", "app"]);
        assert!(collected.code == 0, "{}", collected.stderr);
        assert!(
            host.root().join("snap").join(&id).join("upper").exists(),
            "{file}"
        );
        let found = host.lamina(&["fsck", "-q"]);
        assert_eq!(found.code, 4, "{}", found.stdout);
        let removes = format!("lamina rm {} removes it", &id[..12]);
        assert!(found.stdout.contains(&removes), "{}", found.stdout);
        host.ok(&["rm", "web"]);
        assert_eq!(host.lamina(&["fsck", "-q"]).code, 0);
        host.ok(&[PLAIN, "image", "create-minimal", "app"]);
        host.ok(&[PLAIN, "image", "create-minimal", "other"]);
    }
    let id = host.ok(&[PLAIN, "create", "--name", "web", "app", "true"]);
    fs::remove_file(host.root().join("containers/names/web")).unwrap();
    symlink("../nobody", host.root().join("containers/names/old")).unwrap();
    let mended = host.lamina(&["fsck", "-q", "--repair"]);
    assert_eq!(mended.code, 0, "{}", mended.stdout);
    host.ok(&["rm", "web"]);
    assert!(!host.root().join("containers").join(id).exists());
    host.ok(&[PLAIN, "create", "--name", "old", "app", "true"]);
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_a_store_that_cannot_be_opened_is_mended() {
    let host = Host::new();
    host.ok(&[PLAIN, "image", "create-minimal", "app"]);
    fs::write(host.root().join("meta.json"), "{garbage").unwrap();
    let refused = show(&host, &host.lamina(&["images"]));
    assert!(
        refused.contains("! hint: lamina fsck --repair mends the store"),
        "{refused}"
    );
    let mended = host.lamina(&["fsck", "-q", "--repair"]);
    assert!(
        mended.stdout.starts_with("document meta.json: "),
        "{}",
        mended.stdout
    );
    assert_eq!(mended.code, 0);
    assert!(host.ok(&["images"]).contains("app"));
    host.sweep();
}

#[test]
fn privileged_a_layer_of_an_older_store_is_noted_with_the_command_that_converts_it() {
    let host = Host::new();
    host.ok(&[PLAIN, "image", "create-minimal", "app"]);
    for name in ["split.zst", "idx"] {
        fs::remove_file(layer(&host).join(name)).unwrap();
    }
    let found = host.lamina(&["fsck", "-q"]);
    assert_eq!(
        found.code, 0,
        "nothing is known to be damaged: {}",
        found.stdout
    );
    assert!(
        found.stdout.starts_with("unverified layer sha256:"),
        "{}",
        found.stdout
    );
    assert!(
        found.stdout.contains("; lamina system migrate\n"),
        "{}",
        found.stdout
    );
    let saved = host.lamina(&["image", "blobs", "app", "--rebuild"]);
    let hint = "hint: lamina system migrate converts what an older version left";
    assert!(saved.stderr.contains(hint), "{}", saved.stderr);
    host.sweep();
}
