//! Stores of older builds, and blobs that are brought back.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests age the store behind its back"
)]

use std::path::Path;

use lamina_image::{ArchiveFormat, KeepBlobs, LayerForm, MigrateError, SaveOptions, Silent};
use lamina_store::Line;
use lamina_testkit::registry::Registry;
use lamina_types::{DiffId, Reference};

use crate::support::{Fixture, client, digest_of, gzip_image, noise, serve, tar_of};

fn tars() -> Vec<Vec<u8>> {
    vec![
        tar_of(&[("one", &noise(1, 300_000)), ("small", b"x")]),
        tar_of(&[("two", &noise(2, 5000))]),
    ]
}

fn pulled(fixture: &Fixture, keep: KeepBlobs) -> Reference {
    let registry = Registry::start();
    let name = serve(&registry, "app", &gzip_image(&tars()));
    let images = fixture.images().with_keep_blobs(keep);
    images.pull(&client(), &name, None, &Silent).unwrap();
    name
}

fn layer_folder(fixture: &Fixture, tar: &[u8]) -> std::path::PathBuf {
    let digest: lamina_types::Digest = digest_of(tar).parse().unwrap();
    fixture.path("store/layers").join(digest.hex())
}

/// Makes a layer what an older build left.
fn age(layer: &Path) {
    for name in ["split.zst", "idx"] {
        std::fs::remove_file(layer.join(name)).unwrap();
    }
}

#[test]
fn privileged_layers_of_an_older_store_are_converted_from_their_blobs() {
    let fixture = Fixture::new();
    pulled(&fixture, KeepBlobs::Always);
    let tars = tars();
    let folders: Vec<_> = tars.iter().map(|tar| layer_folder(&fixture, tar)).collect();
    let before = std::fs::read(folders[0].join("split.zst")).unwrap();
    folders.iter().for_each(|folder| age(folder));
    let migrated = fixture.images().migrate().unwrap();
    assert_eq!((migrated.converted.len(), migrated.failed.len()), (2, 0));
    assert!(std::fs::read(folders[0].join("split.zst")).unwrap() == before);
    for tar in &tars {
        let diff_id = DiffId(digest_of(tar).parse().unwrap());
        let mut again = Vec::new();
        fixture
            .store
            .layers()
            .rebuild(&diff_id, &mut again)
            .unwrap();
        assert!(again == *tar);
    }
    let again = fixture.images().migrate().unwrap();
    assert!(again.converted.is_empty() && again.failed.is_empty());
}

#[test]
fn privileged_a_tree_stays_while_an_operation_holds_its_layer() {
    let fixture = Fixture::new();
    let registry = Registry::start();
    let name = serve(&registry, "app", &gzip_image(&tars()));
    let images = fixture.images().with_form(LayerForm::Tree);
    images.pull(&client(), &name, None, &Silent).unwrap();
    let diff_id = |tar: Vec<u8>| DiffId(digest_of(&tar).parse().unwrap());
    let diff_ids: Vec<DiffId> = tars().into_iter().map(diff_id).collect();
    let (ops, layers) = (fixture.store.ops(), fixture.store.layers());
    let op = ops.begin("test", &[]).unwrap();
    assert_eq!(
        layers.drop_trees(&diff_ids).unwrap(),
        [],
        "nothing has their files"
    );
    layers.pool(&op, &diff_ids[0]).unwrap();
    layers.pool(&op, &diff_ids[1]).unwrap();
    op.finish().unwrap();
    let op = ops
        .begin("run", &[Line::Layer(diff_ids[0].clone())])
        .unwrap();
    assert_eq!(layers.drop_trees(&diff_ids).unwrap(), [diff_ids[1].clone()]);
    op.finish().unwrap();
    assert_eq!(layers.drop_trees(&diff_ids).unwrap(), [diff_ids[0].clone()]);
    for (diff_id, tar) in diff_ids.iter().zip(tars()) {
        let mut again = Vec::new();
        layers.rebuild(diff_id, &mut again).unwrap();
        assert!(again == tar, "{diff_id}");
    }
}

#[test]
fn privileged_what_cannot_be_converted_is_said_and_left() {
    let fixture = Fixture::new();
    let name = pulled(&fixture, KeepBlobs::Always);
    let tars = tars();
    let image = fixture.images().find_reference(&name).unwrap();
    let folders: Vec<_> = tars.iter().map(|tar| layer_folder(&fixture, tar)).collect();
    folders.iter().for_each(|folder| age(folder));
    let blobs = fixture.store.blobs();
    blobs.drop_damaged(&image.layers[0].digest).unwrap();
    // A tree in which something was replaced, which older builds did not keep.
    let tree = folders[1].join("plain");
    std::fs::rename(tree.join("two"), fixture.path("gone")).unwrap();
    let migrated = fixture.images().migrate().unwrap();
    assert!(migrated.converted.is_empty());
    let errors: Vec<_> = migrated.failed.iter().map(|(_, error)| error).collect();
    assert!(matches!(errors[0], MigrateError::NoBlob(_)), "{errors:?}");
    assert!(matches!(errors[1], MigrateError::Store(_)), "{errors:?}");
    assert!(!folders[1].join("split.zst").exists() && !folders[1].join("idx").exists());
}

#[test]
fn privileged_blobs_are_brought_back_as_plain_tars() {
    let fixture = Fixture::new();
    let name = pulled(&fixture, KeepBlobs::Auto);
    let images = fixture.images();
    let image = images.find_reference(&name).unwrap();
    let here = |image: &lamina_image::Image| {
        let places = images.blobs(image).unwrap();
        places.iter().filter(|place| place.here).count()
    };
    assert_eq!(here(&image), 0);
    let index = fixture.path("store/oci/index.json");
    let listed = || std::fs::read_to_string(&index).unwrap().contains("app:1");
    assert!(!listed());
    let rebuilt = images.rebuild_blobs(&name.to_string()).unwrap();
    assert_eq!(rebuilt.id, image.id);
    assert_ne!(rebuilt.manifest.digest, image.manifest.digest);
    assert_eq!(here(&rebuilt), 2);
    assert!(listed());
    let again = images.rebuild_blobs(&name.to_string()).unwrap();
    assert_eq!(again.manifest, rebuilt.manifest);
    let options = SaveOptions {
        format: ArchiveFormat::Oci,
        platform: None,
    };
    let mut out = Vec::new();
    images
        .save(&[name.to_string()], &options, &mut out, &Silent)
        .unwrap();
    assert!(out.len() > 300_000);
}
