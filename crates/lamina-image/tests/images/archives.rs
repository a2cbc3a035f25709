//! `load`, of archives that other people's tools made and of hostile ones.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use lamina_image::{ArchiveError, LoadError, LoadSource, Silent};
use lamina_testkit::{have, tree};
use lamina_types::ErrorKind;
use serde_json::json;

use crate::support::{Fixture, digest_of, gzip, reference, run, tar_of};

/// Makes an OCI layout with two layers by umoci; false where that cannot be done here.
fn layout(directory: &Path) -> bool {
    if !["umoci", "skopeo"].iter().all(|tool| have(tool)) {
        return false;
    }
    let root = directory.join("bundle/rootfs");
    run("umoci", &["init", "--layout", "oci"], directory);
    run("umoci", &["new", "--image", "oci:app"], directory);
    run(
        "umoci",
        &["unpack", "--image", "oci:app", "bundle"],
        directory,
    );
    std::fs::create_dir_all(root.join("etc/deep/er")).unwrap();
    for (name, text) in [("etc/one", "1"), ("etc/deep/er/two", "2"), ("gone", "3")] {
        std::io::Write::write_all(&mut File::create(root.join(name)).unwrap(), text.as_bytes())
            .unwrap();
    }
    std::fs::hard_link(root.join("etc/one"), root.join("etc/hard")).unwrap();
    symlink("/etc/one", root.join("soft")).unwrap();
    run("mknod", &["bundle/rootfs/null", "c", "1", "3"], directory);
    run("mkfifo", &["bundle/rootfs/pipe"], directory);
    run("chown", &["1000:1001", "bundle/rootfs/etc/one"], directory);
    run(
        "umoci",
        &["repack", "--image", "oci:app", "bundle"],
        directory,
    );
    std::fs::remove_file(root.join("gone")).unwrap();
    run(
        "umoci",
        &["repack", "--image", "oci:app", "bundle"],
        directory,
    );
    let config = ["config", "--image", "oci:app", "--config.cmd", "sh"];
    run("umoci", &config, directory);
    run("umoci", &["gc", "--layout", "oci"], directory);
    true
}

#[test]
fn privileged_archives_of_skopeo_and_umoci_give_umocis_tree() {
    let made = Fixture::new();
    if !layout(made.folder.path()) {
        return;
    }
    let directory = made.folder.path();
    for to in [
        "docker-archive:docker.tar:me/app:1",
        "oci-archive:oci.tar:me/app:1",
    ] {
        run(
            "skopeo",
            &["copy", "--insecure-policy", "oci:oci:app", to],
            directory,
        );
    }
    run(
        "umoci",
        &["unpack", "--image", "oci:app", "theirs"],
        directory,
    );
    let theirs = tree::read(&directory.join("theirs/rootfs"));
    let compressed = gzip(&std::fs::read(directory.join("docker.tar")).unwrap());
    let open = |name: &str| File::open(directory.join(name)).unwrap();
    let sources = [
        ("docker-archive", LoadSource::File(open("docker.tar"))),
        ("a stream", LoadSource::Stream(Box::new(open("docker.tar")))),
        (
            "gzip",
            LoadSource::Stream(Box::new(std::io::Cursor::new(compressed))),
        ),
        ("oci-archive", LoadSource::File(open("oci.tar"))),
        ("directory", LoadSource::Directory(directory.join("oci"))),
    ];
    for (what, source) in sources {
        load_and_compare(what, source, &theirs);
    }
}

fn load_and_compare(what: &str, source: LoadSource, theirs: &tree::Tree) {
    let fixture = Fixture::new();
    let images = fixture.images();
    let loaded = images
        .load(source, None, &Silent)
        .unwrap_or_else(|e| panic!("{what}: {e:?}"));
    assert_eq!(loaded.len(), 1, "{what}");
    let name = if what == "directory" {
        "app:latest"
    } else {
        "me/app:1"
    };
    assert_eq!(loaded[0].names, [reference(name)], "{what}");
    let image = images.find(name).unwrap();
    assert_eq!(image.config.config.cmd, ["sh"], "{what}");
    let places = images.layers(&image).unwrap();
    for place in &places {
        assert!(
            fixture.store.blobs().contains(&place.digest).unwrap(),
            "{what}"
        );
    }
    let trees: Vec<_> = places.into_iter().filter_map(|p| p.directory).collect();
    compare(&fixture, &trees, theirs, what);
}

/// Mounts the layers as the kernel stacks them, and compares.
fn compare(fixture: &Fixture, layers: &[std::path::PathBuf], theirs: &tree::Tree, what: &str) {
    let merged = fixture.path("merged");
    let empty = fixture.path("empty");
    std::fs::create_dir_all(&merged).unwrap();
    std::fs::create_dir_all(&empty).unwrap();
    let mut lower: Vec<String> = layers
        .iter()
        .rev()
        .map(|l| l.display().to_string())
        .collect();
    lower.push(empty.display().to_string());
    let options = format!("lowerdir={}", lower.join(":"));
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(&merged)
        .status()
        .unwrap();
    assert!(mounted.success());
    let ours = tree::read(&merged);
    run("umount", &[&merged.display().to_string()], Path::new("/"));
    // The root directory is no entry of the archive that umoci makes.
    let different = tree::differences(&ours, theirs, 20, |path| path == Path::new("."));
    assert!(different.is_empty(), "{what}:\n{}", different.join("\n"));
}

fn load(fixture: &Fixture, archive: Vec<u8>) -> Result<Vec<lamina_image::Loaded>, LoadError> {
    let stream = LoadSource::Stream(Box::new(std::io::Cursor::new(archive)));
    fixture.images().load(stream, None, &Silent)
}

fn config(diff_ids: &[String]) -> Vec<u8> {
    json!({"os": "linux", "architecture": "amd64",
           "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    .to_string()
    .into_bytes()
}

#[test]
fn privileged_hostile_archives_are_refused() {
    let layer = tar_of(&[("file", b"x")]);
    let good = config(&[digest_of(&layer)]);
    let wrong = config(&[digest_of(b"other")]);
    let manifest = |config: &str, layer: &str| {
        json!([{"Config": config, "RepoTags": ["app:1"], "Layers": [layer]}]).to_string()
    };
    let cases: [(&str, String, &[u8]); 5] = [
        ("a config outside", manifest("../../canary", "l.tar"), &good),
        (
            "an absolute layer",
            manifest("c.json", "/etc/passwd"),
            &good,
        ),
        (
            "a layer that is missing",
            manifest("c.json", "no.tar"),
            &good,
        ),
        ("another diff id", manifest("c.json", "l.tar"), &wrong),
        ("no JSON", "[{".to_owned(), &good),
    ];
    for (what, manifest, config) in cases {
        let fixture = Fixture::new();
        let archive = tar_of(&[
            ("manifest.json", manifest.as_bytes()),
            ("c.json", config),
            ("l.tar", &layer),
        ]);
        let error = load(&fixture, archive).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{what}: {error:?}");
        assert!(fixture.visible().is_empty(), "{what}");
    }
    let fixture = Fixture::new();
    let error = load(&fixture, tar_of(&[("hello", b"x")])).unwrap_err();
    assert!(matches!(
        error,
        LoadError::Archive(ArchiveError::Unrecognised)
    ));
    let error = load(
        &fixture,
        b"no tar at all, but long enough to be read".repeat(50),
    )
    .unwrap_err();
    assert!(matches!(error, LoadError::Archive(_)), "{error:?}");
}

#[test]
fn privileged_links_and_lies_in_a_layout_are_refused() {
    let made = Fixture::new();
    if !layout(made.folder.path()) {
        return;
    }
    let blobs = made.path("oci/blobs/sha256");
    let load = || {
        let fixture = Fixture::new();
        let source = LoadSource::Directory(made.path("oci"));
        let error = fixture
            .images()
            .load(source, None, &Silent)
            .expect_err("refused");
        assert!(fixture.visible().is_empty());
        error
    };
    for entry in blobs.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let kept = made.path("kept");
        std::fs::copy(&path, &kept).unwrap();
        std::fs::remove_file(&path).unwrap();
        symlink(&kept, &path).unwrap();
        let error = load();
        assert!(format!("{error:?}").contains("LinkedBlob"), "{error:?}");
        std::fs::remove_file(&path).unwrap();
        let mut bytes = std::fs::read(&kept).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::io::Write::write_all(&mut File::create(&path).unwrap(), &bytes).unwrap();
        assert_eq!(load().kind(), ErrorKind::DataLoss);
        std::fs::copy(&kept, &path).unwrap();
    }
}

#[test]
fn privileged_an_existing_tag_moves_and_the_old_image_stays() {
    let fixture = Fixture::new();
    let archive = |content: &[u8]| {
        let layer = tar_of(&[("file", content)]);
        let manifest = json!([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l.tar"]}]);
        tar_of(&[
            ("l.tar", &layer),
            ("c.json", &config(&[digest_of(&layer)])),
            ("manifest.json", manifest.to_string().as_bytes()),
        ])
    };
    let old = load(&fixture, archive(b"old")).unwrap();
    let new = load(&fixture, archive(b"new")).unwrap();
    let images = fixture.images();
    assert_eq!(images.find("app:1").unwrap().id, new[0].id);
    assert_eq!(images.find(old[0].id.0.hex()).unwrap().id, old[0].id);
}
