//! Pulls from a registry that can be told to misbehave.

use lamina_image::{KeepBlobs, LayerForm, Phase, PullError, Silent, UnpackError};
use lamina_store::CollectOptions;
use lamina_testkit::registry::{Fault, Registry, Reply};
use lamina_types::oci::{Descriptor, Index, media};
use lamina_types::{Digest, ErrorKind, Platform};

use crate::support::{
    Fixture, Watched, client, digest_of, gzip, gzip_image, noise, reference, serve, tar_of,
};

#[test]
fn privileged_layers_of_every_compression_are_unpacked_and_shared() {
    let registry = Registry::start();
    let tars = [
        tar_of(&[("plain", b"1")]),
        tar_of(&[("gz", &noise(1, 700_000))]),
        tar_of(&[("zstd", b"3")]),
    ];
    let mut image = gzip_image(&tars);
    image.layers[0] = (media::OCI_LAYER.to_owned(), tars[0].clone());
    let zstd = zstd::encode_all(tars[2].as_slice(), 1).unwrap();
    image.layers[2] = (media::OCI_LAYER_ZSTD.to_owned(), zstd);
    let name = serve(&registry, "mixed", &image);
    let fixture = Fixture::new();
    let images = fixture.images();
    let watched = Watched::default();
    let pulled = images.pull(&client(), &name, None, &watched).unwrap();
    assert!(pulled.newer);
    let places = images.layers(&pulled.image).unwrap();
    for (place, file) in places.iter().zip(["plain", "gz", "zstd"]) {
        assert!(place.directory.as_ref().unwrap().join(file).exists());
    }
    assert_eq!(watched.count(Phase::Complete), 3);
    // The same again costs the manifest; another image with the same layers costs no blob but
    // its configuration.
    let before = registry.count("/blobs/");
    assert!(!images.pull(&client(), &name, None, &Silent).unwrap().newer);
    assert_eq!(registry.count("/blobs/"), before);
    image.config = String::from_utf8(image.config)
        .unwrap()
        .replace("\"sh\"", "\"ls\"")
        .into_bytes();
    let other = serve(&registry, "other", &image);
    images.pull(&client(), &other, None, &Silent).unwrap();
    assert_eq!(registry.count("/blobs/"), before + 1);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test leaves what a killed pull would"
)]
fn privileged_blobs_that_are_not_kept_are_never_published() {
    let registry = Registry::start();
    let tars = [
        tar_of(&[("large", &noise(1, 700_000)), ("small", b"1")]),
        tar_of(&[("other", &noise(2, 90_000))]),
    ];
    let image = gzip_image(&tars);
    let name = serve(&registry, "app", &image);
    let fixture = Fixture::new();
    let entries = |folder: &str| {
        fixture
            .path("store")
            .join(folder)
            .read_dir()
            .unwrap()
            .count()
    };
    for form in [LayerForm::Pool, LayerForm::Tree] {
        let images = fixture.images().with_form(form);
        let images = images.with_keep_blobs(KeepBlobs::Auto);
        images.pull(&client(), &name, None, &Silent).unwrap();
        // The manifest and the configuration.
        assert_eq!(entries("oci/blobs/sha256"), 2);
        assert_eq!((entries("partial"), entries("unsynced")), (0, 0));
        for tar in &tars {
            let diff_id = lamina_types::DiffId(digest_of(tar).parse().unwrap());
            let mut again = Vec::new();
            let layers = fixture.store.layers();
            layers.rebuild(&diff_id, &mut again).unwrap();
            assert!(again == *tar);
        }
        // Somebody was killed between publishing a layer and letting go of its blob.
        let left = format!("partial/{}", digest_of(&image.layers[0].1)).replace(':', "-");
        std::fs::write(fixture.path("store").join(left), &image.layers[0].1).unwrap();
        fixture.store.refs().remove(&name).unwrap();
        images.pull(&client(), &name, None, &Silent).unwrap();
        assert_eq!(entries("partial"), 0);
        fixture.store.refs().remove(&name).unwrap();
        fixture.store.collect(&CollectOptions::default()).unwrap();
    }
}

#[test]
fn privileged_an_interrupted_download_goes_on_where_it_stopped() {
    let registry = Registry::start();
    let image = gzip_image(&[tar_of(&[("big", &noise(2, 3_000_000))])]);
    let blob = image.layers[0].1.clone();
    let name = serve(&registry, "app", &image);
    let path = digest_of(&blob);
    let bytes = blob.clone();
    registry.script(move |request| {
        let here = request.path.contains(&path) && request.range_start().is_none();
        here.then(|| Reply::ok(bytes.clone()).fault(Fault::CloseAfter(1_500_000)))
    });
    let fixture = Fixture::new();
    let images = fixture.images();
    let error = images.pull(&client(), &name, None, &Silent).unwrap_err();
    assert!(matches!(error, PullError::Layer { .. }), "{error:?}");
    assert!(fixture.visible().is_empty(), "{:?}", fixture.visible());
    images.pull(&client(), &name, None, &Silent).unwrap();
    let starts: Vec<u64> = registry
        .requests()
        .iter()
        .filter_map(|r| r.range_start())
        .collect();
    assert_eq!(starts.len(), 1, "{starts:?}");
    assert!(starts[0] >= 1_000_000, "{starts:?}");
}

#[test]
fn privileged_content_that_is_not_what_it_claims_is_refused() {
    let tar = tar_of(&[("file", &noise(3, 300_000))]);
    let good = gzip(&tar);
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    let other = gzip(&tar_of(&[("file", &noise(4, 300_000))]));
    for (what, served) in [
        ("flipped", flipped),
        ("other content", other),
        ("short", good[..good.len() - 100].to_vec()),
    ] {
        let registry = Registry::start();
        let image = gzip_image(std::slice::from_ref(&tar));
        let name = serve(&registry, "app", &image);
        let path = digest_of(&image.layers[0].1);
        registry.script(move |request| {
            let blob = request.path.contains(&path);
            blob.then(|| Reply::ok(served.clone()))
        });
        let fixture = Fixture::new();
        let images = fixture.images();
        let error = images.pull(&client(), &name, None, &Silent).unwrap_err();
        assert!(
            matches!(error, PullError::Layer { .. }),
            "{what}: {error:?}"
        );
        assert!(fixture.visible().is_empty(), "{what}");
        // When the registry has recovered, what had arrived is no obstacle.
        registry.script(|_| None);
        images
            .pull(&client(), &name, None, &Silent)
            .unwrap_or_else(|e| panic!("{what}: {e:?}"));
    }
}

#[test]
fn privileged_a_wrong_diff_id_is_refused() {
    let registry = Registry::start();
    let mut image = gzip_image(&[tar_of(&[("file", b"one")])]);
    let other = tar_of(&[("file", b"two")]);
    image.layers[0].1 = gzip(&other);
    let name = serve(&registry, "app", &image);
    let fixture = Fixture::new();
    let error = fixture
        .images()
        .pull(&client(), &name, None, &Silent)
        .unwrap_err();
    assert!(
        matches!(&error, PullError::Layer { source, .. }
            if matches!(**source, UnpackError::WrongDiffId { .. })),
        "{error:?}"
    );
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert!(fixture.visible().is_empty());
}

#[test]
fn privileged_documents_that_disagree_are_refused() {
    let registry = Registry::start();
    let mut image = gzip_image(&[tar_of(&[("a", b"1")]), tar_of(&[("b", b"2")])]);
    image.layers.pop();
    let fewer = serve(&registry, "fewer", &image);
    let mut garbage = gzip_image(&[]);
    garbage.config = b"{not json".to_vec();
    let garbage = serve(&registry, "garbage", &garbage);
    let fixture = Fixture::new();
    for name in [fewer, garbage] {
        let error = fixture
            .images()
            .pull(&client(), &name, None, &Silent)
            .unwrap_err();
        assert!(matches!(error, PullError::Document { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::DataLoss);
    }
    let unknown = reference(&format!("{}/nothing:1", registry.domain()));
    let error = fixture
        .images()
        .pull(&client(), &unknown, None, &Silent)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(fixture.visible().is_empty());
}

#[test]
fn privileged_an_index_gives_the_platforms_image() {
    let registry = Registry::start();
    let image = gzip_image(&[tar_of(&[("file", b"x")])]);
    serve(&registry, "app", &image);
    let manifest = image.manifest_bytes();
    let descriptor = |platform: Platform, digest: Digest| Descriptor {
        platform: Some(platform),
        ..Descriptor::new(media::OCI_MANIFEST, digest, manifest.len() as u64)
    };
    let good = digest_of(&manifest).parse().unwrap();
    let other = digest_of(b"another").parse().unwrap();
    let index = Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        manifests: vec![
            descriptor("linux/s390x".parse().unwrap(), other),
            descriptor(Platform::host(), good),
        ],
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&index).unwrap();
    let target = registry.serve_manifest("app", "multi", media::OCI_INDEX, &bytes);
    let name = reference(&format!("{}/app:multi", registry.domain()));
    let fixture = Fixture::new();
    let images = fixture.images();
    let pulled = images.pull(&client(), &name, None, &Silent).unwrap();
    assert_eq!(pulled.image.target.digest, target);
    let shown = images.inspect(&pulled.image).unwrap();
    assert!(
        shown["RepoDigests"][0]
            .as_str()
            .unwrap()
            .ends_with(&target.to_string())
    );
    let by_digest = name.with_digest(target);
    assert_eq!(
        images.find_reference(&by_digest).unwrap().id,
        pulled.image.id
    );
    let mips: Platform = "linux/mips".parse().unwrap();
    let error = images
        .pull(&client(), &name, Some(&mips), &Silent)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = format!("{:?}", error);
    assert!(text.contains("s390x"), "{text}");
}
