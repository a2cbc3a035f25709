//! `save`: into archives that `load`, skopeo, umoci and tar read.

use std::path::Path;
use std::process::Command;

use lamina_image::{
    ArchiveFormat, FindError, Images, KeepBlobs, LayerForm, LoadSource, SaveError, SaveOptions,
    Silent,
};
use lamina_testkit::registry::Registry;
use lamina_testkit::tree;
use lamina_types::{ErrorKind, Reference};

use crate::support::{Fixture, client, gzip_image, noise, reference, run, serve, skip, tar_of};

fn tars() -> Vec<Vec<u8>> {
    let long = format!("deep/{}", "n".repeat(180));
    vec![
        tar_of(&[
            ("etc/small", b"small"),
            ("etc/large", &noise(1, 2 << 20)),
            ("gone", &noise(2, 3000)),
            ("deep/short", b""),
        ]),
        tar_of(&[(".wh.gone", b""), (&long, &noise(3, 4000))]),
    ]
}

fn pulled(form: LayerForm, fixture: &Fixture) -> Reference {
    let registry = Registry::start();
    let name = serve(&registry, "me/app", &gzip_image(&tars()));
    let images = fixture.images().with_form(form);
    images.pull(&client(), &name, None, &Silent).unwrap();
    images.tag(&name.familiar(), &reference("app:1")).unwrap();
    images.tag(&name.familiar(), &reference("app:2")).unwrap();
    name
}

fn save(images: &Images<'_>, names: &[&str], format: ArchiveFormat) -> Result<Vec<u8>, SaveError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let options = SaveOptions {
        format,
        platform: None,
    };
    let mut out = Vec::new();
    images.save(&names, &options, &mut out, &Silent)?;
    Ok(out)
}

fn load(fixture: &Fixture, archive: &[u8]) -> Vec<lamina_image::Loaded> {
    let stream = LoadSource::Stream(Box::new(std::io::Cursor::new(archive.to_vec())));
    fixture.images().load(stream, None, &Silent).unwrap()
}

#[test]
fn privileged_what_is_saved_is_loaded_as_the_same_image_and_saved_as_the_same_bytes() {
    let mut archives = Vec::new();
    for form in [LayerForm::Tree, LayerForm::Pool] {
        let fixture = Fixture::new();
        pulled(form, &fixture);
        let images = fixture.images();
        let id = images.find("app:1").unwrap().id;
        let archive = save(&images, &["app:2", "app:1"], ArchiveFormat::Docker).unwrap();
        let again = save(&images, &["app:1", "app:2"], ArchiveFormat::Docker).unwrap();
        assert!(archive == again);
        let other = Fixture::new();
        let loaded = load(&other, &archive);
        assert!(loaded.iter().all(|image| image.id == id));
        let theirs = other.images();
        assert_eq!(theirs.find("app:1").unwrap().id, id);
        assert_eq!(theirs.find("app:2").unwrap().id, id);
        let theirs = save(&theirs, &["app"], ArchiveFormat::Docker).unwrap();
        assert!(theirs == archive, "all tags, from another store");
        archives.push(archive);
    }
    assert!(archives[0] == archives[1], "the form of layers shows");
}

#[test]
fn privileged_an_oci_archive_keeps_the_digest_where_the_blobs_were_kept() {
    let fixture = Fixture::new();
    pulled(LayerForm::Tree, &fixture);
    let images = fixture.images();
    let image = images.find("app:1").unwrap();
    let blobs = fixture.store.blobs();
    assert!(blobs.contains(&image.layers[0].digest).unwrap());
    let kept = save(&images, &["app:1"], ArchiveFormat::Oci).unwrap();
    let other = Fixture::new();
    load(&other, &kept);
    let found = other.images().find("app:1").unwrap();
    assert_eq!(found.manifest.digest, image.manifest.digest);

    blobs.drop_damaged(&image.layers[0].digest).unwrap();
    let plain = save(&images, &["app:1"], ArchiveFormat::Oci).unwrap();
    let other = Fixture::new();
    load(&other, &plain);
    let found = other.images().find("app:1").unwrap();
    assert_eq!(found.id, image.id);
    assert_ne!(found.manifest.digest, image.manifest.digest);
}

#[test]
fn privileged_by_an_id_there_is_no_name() {
    let fixture = Fixture::new();
    pulled(LayerForm::Tree, &fixture);
    let id = fixture.images().find("app:1").unwrap().id;
    let archive = save(&fixture.images(), &[id.0.short()], ArchiveFormat::Docker).unwrap();
    let loaded = load(&Fixture::new(), &archive);
    assert_eq!(loaded.len(), 1);
    assert!(loaded[0].names.is_empty() && loaded[0].id == id);
}

fn has_tools() -> bool {
    let here = |tool: &&str| {
        let found = Command::new(tool).arg("--version").output();
        found.is_ok_and(|output| output.status.success())
    };
    let all = ["skopeo", "umoci"].iter().all(here);
    if !all {
        skip("skopeo or umoci is not installed");
    }
    all
}

#[test]
fn privileged_skopeo_umoci_and_tar_read_what_is_saved() {
    if !has_tools() {
        return;
    }
    let fixture = Fixture::new();
    pulled(LayerForm::Tree, &fixture);
    let images = fixture.images();
    let folder = fixture.folder.path();
    for (format, transport) in [
        (ArchiveFormat::Docker, "docker-archive"),
        (ArchiveFormat::Oci, "oci-archive"),
    ] {
        let archive = save(&images, &["app:1"], format).unwrap();
        write(&folder.join(transport), &archive);
        let layout = format!("{transport}.oci");
        run("mkdir", &[&layout], folder);
        run("tar", &["-xf", transport, "-C", &layout], folder);
        let from = match format {
            ArchiveFormat::Docker => format!("{transport}:{transport}:app:1"),
            ArchiveFormat::Oci => format!("{transport}:{transport}"),
        };
        let to = format!("oci:{transport}.copy:x");
        run("skopeo", &["copy", "--insecure-policy", &from, &to], folder);
        let ours = [format!("{layout}:1"), format!("{transport}.copy:x")];
        let trees = ours.map(|image| {
            let bundle = format!("{}.bundle", image.replace(':', "."));
            run("umoci", &["unpack", "--image", &image, &bundle], folder);
            tree::read(&folder.join(bundle).join("rootfs"))
        });
        let different = tree::differences(&trees[0], &trees[1], 20, |p| {
            [".", "etc", "deep"]
                .iter()
                .any(|implied| p == Path::new(implied))
        });
        assert!(different.is_empty(), "{}", different.join("\n"));
        assert!(
            !folder
                .join(format!("{layout}.1.bundle/rootfs/gone"))
                .exists()
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "a file of the test's own")]
fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn privileged_what_cannot_be_saved_is_told() {
    let fixture = Fixture::new();
    pulled(LayerForm::Tree, &fixture);
    let images = fixture.images();
    let error = save(&images, &["app:1", "other"], ArchiveFormat::Docker).unwrap_err();
    assert!(matches!(error, SaveError::Find(FindError::NotFound(_))));
    let options = SaveOptions {
        platform: Some("linux/s390x".parse().unwrap()),
        ..SaveOptions::default()
    };
    let error = images.save(&["app:1".to_owned()], &options, Vec::new(), &Silent);
    assert!(matches!(error.unwrap_err(), SaveError::Platform { .. }));
    // A file of the layer's tree that is not what it was.
    let image = images.find("app:1").unwrap();
    let tree = fixture.store.layers().tree(&image.diff_ids()[0]);
    write(&tree.join("etc/large"), &noise(9, 2 << 20));
    let error = save(&images, &["app:1"], ArchiveFormat::Docker).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error:?}");
    // A destination that is full.
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let ok = SaveOptions::default();
    let error = images.save(&["app:1".to_owned()], &ok, full, &Silent);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ResourceExhausted);
    assert!(
        fixture
            .visible()
            .iter()
            .all(|name| !name.starts_with("ops"))
    );
}

/// Layers of a store that was made before there were split streams: their blobs serve.
#[test]
fn privileged_a_layer_without_its_stream_is_saved_from_its_blob() {
    let fixture = Fixture::new();
    pulled(LayerForm::Tree, &fixture);
    let images = fixture.images();
    let before = save(&images, &["app:1"], ArchiveFormat::Docker).unwrap();
    let image = images.find("app:1").unwrap();
    for diff_id in image.diff_ids() {
        let layer = fixture.path("store/layers").join(diff_id.0.hex());
        std::fs::remove_file(layer.join("split.zst")).unwrap();
    }
    let after = save(&images, &["app:1"], ArchiveFormat::Docker).unwrap();
    assert!(before == after);
    for layer in &image.layers {
        fixture.store.blobs().drop_damaged(&layer.digest).unwrap();
    }
    let error = save(&images, &["app:1"], ArchiveFormat::Docker).unwrap_err();
    assert!(matches!(error, SaveError::Missing(_)), "{error:?}");
}

#[test]
fn privileged_skopeo_and_umoci_read_the_store_itself() {
    if !has_tools() {
        return;
    }
    let tars = tars();
    let registry = Registry::start();
    let name = serve(&registry, "me/app", &gzip_image(&tars));
    for keep in [KeepBlobs::Always, KeepBlobs::Auto] {
        let fixture = Fixture::new();
        let images = fixture.images().with_keep_blobs(keep);
        images.pull(&client(), &name, None, &Silent).unwrap();
        let layout = fixture.path("store/oci");
        let text = std::fs::read_to_string(layout.join("index.json")).unwrap();
        let listed = text.contains(&name.to_string());
        assert_eq!(listed, keep == KeepBlobs::Always, "{text}");
        if !listed {
            continue;
        }
        let folder = fixture.folder.path();
        let from = format!("oci:store/oci:{name}");
        let to = ["copy", "--insecure-policy", &from, "dir:copied"];
        run("skopeo", &to, folder);
        let image = images.find_reference(&name).unwrap();
        assert!(
            folder
                .join("copied")
                .join(image.layers[1].digest.hex())
                .exists()
        );
        let mut list = Command::new("umoci");
        let list = list.args(["ls", "--layout", "store/oci"]);
        let listing = list.current_dir(folder).output().unwrap();
        let tags = String::from_utf8_lossy(&listing.stdout).into_owned();
        assert!(tags.contains("me/app:1"), "{tags}");
    }
}
