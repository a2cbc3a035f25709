//! Pushes to a registry that can be told to misbehave.

use lamina_image::{KeepBlobs, Packing, Phase, PushError, PushOptions, Silent};
use lamina_testkit::registry::{MemoryImage, Registry, Reply};
use lamina_types::oci::{Descriptor, Index, Manifest, media};
use lamina_types::{ErrorKind, Platform, Reference};

use crate::support::{Fixture, Watched, client, gzip_image, noise, reference, serve, tar_of};

fn packed(packing: &str) -> PushOptions {
    PushOptions {
        packing: Some(packing.parse::<Packing>().unwrap()),
        ..PushOptions::default()
    }
}

/// A store with an image of three layers, pulled from a registry of its own.
fn with_image(fixture: &Fixture) -> (MemoryImage, Reference) {
    let registry = Registry::start();
    let layer = |n| tar_of(&[(&format!("file{n}"), &noise(n, 900_000))]);
    let image = gzip_image(&[layer(1), layer(2), layer(3)]);
    let name = serve(&registry, "source", &image);
    let pulled = fixture.images().pull(&client(), &name, None, &Silent);
    pulled.unwrap();
    (image, name)
}

fn tagged(fixture: &Fixture, source: &Reference, to: &Registry, name: &str) -> Reference {
    let name = reference(&format!("{}/{name}", to.domain()));
    fixture.images().tag(&source.to_string(), &name).unwrap();
    name
}

#[test]
fn privileged_an_image_keeps_its_digest_and_is_sent_once() {
    let fixture = Fixture::new();
    let (image, source) = with_image(&fixture);
    let registry = Registry::start();
    let name = tagged(&fixture, &source, &registry, "team/app:v1");
    let images = fixture.images();
    let push = |name, watched| images.push(&client(), name, &PushOptions::default(), watched);
    let watched = Watched::default();
    let pushed = push(&name, &watched).unwrap();
    assert_eq!(watched.count(Phase::Pushed), 4);
    let (media_type, bytes) = registry.manifest("team/app", "v1").unwrap();
    assert_eq!(bytes, image.manifest_bytes());
    assert_eq!(media_type, media::OCI_MANIFEST);
    assert_eq!(pushed.descriptor.size, bytes.len() as u64);
    for (layer, (_, bytes)) in image.manifest().layers.iter().zip(&image.layers) {
        let there = registry.pushed_blob("team/app", &layer.digest).unwrap();
        assert!(there == *bytes);
    }

    let before = registry.requests().len();
    let watched = Watched::default();
    assert_eq!(push(&name, &watched).unwrap(), pushed);
    assert_eq!(watched.count(Phase::Present), 4);
    let again = registry.requests();
    let again = again[before..].iter().filter(|r| r.path != "/v2/");
    let methods: Vec<&str> = again.map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["HEAD", "HEAD", "HEAD", "HEAD", "PUT"]);

    // Its layers are the neighbour's; a configuration is too small to look for.
    let other = tagged(&fixture, &source, &registry, "other/name:v2");
    let watched = Watched::default();
    push(&other, &watched).unwrap();
    assert_eq!(watched.count(Phase::Mounted), 3);
    assert_eq!(watched.count(Phase::Pushed), 1);
    assert!(
        fixture
            .visible()
            .iter()
            .all(|name| !name.starts_with("ops/"))
    );
}

#[test]
fn privileged_an_index_goes_whole_or_as_one_platform() {
    let (source, registry) = (Registry::start(), Registry::start());
    let host = Platform::host();
    let foreign: Platform = "linux/s390x".parse().unwrap();
    let one = gzip_image(&[tar_of(&[("one", b"1")])]);
    let mut two = gzip_image(&[tar_of(&[("two", b"2")])]);
    let config = String::from_utf8(two.config).unwrap();
    two.config = config.replace(&host.architecture, "s390x").into_bytes();
    let mut manifests = Vec::new();
    for (image, platform, tag) in [(&one, &host, "one"), (&two, &foreign, "two")] {
        let digest = source.serve_image("multi", tag, image);
        let size = image.manifest_bytes().len() as u64;
        let mut descriptor = Descriptor::new(media::OCI_MANIFEST, digest, size);
        descriptor.platform = Some(platform.clone());
        manifests.push(descriptor);
    }
    let index = Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        manifests,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&index).unwrap();
    let whole = source.serve_manifest("multi", "1", media::OCI_INDEX, &bytes);
    let pulled = reference(&format!("{}/multi:1", source.domain()));
    let fixture = Fixture::new();
    let images = fixture.images();
    images.pull(&client(), &pulled, None, &Silent).unwrap();
    let name = tagged(&fixture, &pulled, &registry, "app:1");
    let options = PushOptions::default();
    let pushed = images.push(&client(), &name, &options, &Silent).unwrap();
    assert_eq!(pushed.descriptor.digest, index.manifests[0].digest);

    let only = PushOptions {
        platform: Some(foreign.clone()),
        packing: None,
    };
    let error = images.push(&client(), &name, &only, &Silent).unwrap_err();
    assert!(matches!(error, PushError::Missing { .. }), "{error:?}");

    images
        .pull(&client(), &pulled, Some(&foreign), &Silent)
        .unwrap();
    let pushed = images.push(&client(), &name, &options, &Silent).unwrap();
    assert_eq!(pushed.descriptor.digest, whole);
    assert_eq!(registry.manifest("app", "1").unwrap().1, bytes);
    for descriptor in &index.manifests {
        let digest = descriptor.digest.to_string();
        assert!(registry.manifest("app", &digest).is_some());
    }
    let pushed = images.push(&client(), &name, &only, &Silent).unwrap();
    assert_eq!(pushed.descriptor.digest, index.manifests[1].digest);

    // Another machine has one platform; the registry has the other already.
    let fixture = Fixture::new();
    let images = fixture.images();
    images.pull(&client(), &pulled, None, &Silent).unwrap();
    let name = tagged(&fixture, &pulled, &registry, "app:2");
    let pushed = images.push(&client(), &name, &options, &Silent).unwrap();
    assert_eq!(pushed.descriptor.digest, whole);
}

#[test]
fn privileged_layers_are_packed_anew_and_are_the_same_image() {
    let fixture = Fixture::new();
    let (image, source) = with_image(&fixture);
    let registry = Registry::start();
    let name = tagged(&fixture, &source, &registry, "app:1");
    let images = fixture.images();
    let id = images.find_reference(&name).unwrap().id;
    let push = |packing| {
        images
            .push(&client(), &name, &packed(packing), &Silent)
            .unwrap()
    };
    // gzip it is already.
    let as_it_was = push("gzip").descriptor;
    let layers = |registry: &Registry| {
        let manifest: Manifest =
            serde_json::from_slice(&registry.manifest("app", "1").unwrap().1).unwrap();
        manifest.layers
    };
    assert_eq!(layers(&registry), image.manifest().layers);
    for (packing, media_type) in [
        ("gzip:9", media::OCI_LAYER_GZIP),
        ("zstd", media::OCI_LAYER_ZSTD),
    ] {
        let pushed = push(packing);
        assert_ne!(pushed.descriptor, as_it_was);
        assert_eq!(push(packing), pushed, "{packing} is reproducible");
        for layer in layers(&registry) {
            assert_eq!(layer.media_type, media_type);
        }
        let other = Fixture::new();
        let pulled = other.images().pull(&client(), &name, None, &Silent);
        let pulled = pulled.unwrap();
        assert_eq!(pulled.image.id, id);
        assert_eq!(pulled.image.target.digest, pushed.descriptor.digest);
    }
    // What is here has not changed.
    assert_eq!(
        images.find_reference(&name).unwrap().layers,
        image.manifest().layers
    );
}

#[test]
fn privileged_what_cannot_be_pushed_is_said() {
    let fixture = Fixture::new();
    let (image, source) = with_image(&fixture);
    let registry = Registry::start();
    let name = tagged(&fixture, &source, &registry, "app:1");
    let images = fixture.images();
    let push = |name: &Reference| images.push(&client(), name, &PushOptions::default(), &Silent);
    let error = push(&reference(&format!("{}/app:2", registry.domain()))).unwrap_err();
    assert!(matches!(error, PushError::NotHere(_)), "{error:?}");
    let digest = images.find_reference(&name).unwrap().target.digest;
    let error = push(&name.with_digest(digest)).unwrap_err();
    assert!(matches!(error, PushError::Digest(_)), "{error:?}");
    assert_eq!(registry.requests(), []);

    registry.script(|request| {
        let begins = request.method == "POST";
        begins.then(|| Reply::error(403, "DENIED", "requested access to the resource is denied"))
    });
    let error = push(&name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert!(registry.manifest("app", "1").is_none());
    registry.script(|_| None);

    // A blob that has gone from here is no loss where the registry has it.
    let layer = &image.manifest().layers[1].digest;
    let path = fixture.store.blobs().path(layer);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let diff_id = images.find_reference(&name).unwrap().diff_ids()[1].clone();
    let layer_folder = fixture.path("store/layers").join(diff_id.0.hex());
    std::fs::remove_file(layer_folder.join("split.zst")).unwrap();
    let error = push(&name).unwrap_err();
    assert!(matches!(error, PushError::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains(&layer.to_string()), "{error}");
    assert!(registry.manifest("app", "1").is_none());
    registry.serve_blob(bytes);
    push(&name).unwrap();
    assert!(
        fixture
            .visible()
            .iter()
            .all(|name| !name.starts_with("ops/"))
    );
}

#[test]
fn privileged_every_tag_of_a_repository_is_found() {
    let fixture = Fixture::new();
    let (_, source) = with_image(&fixture);
    let images = fixture.images();
    for name in ["r.test/app:b", "r.test/app:a", "r.test/app2:c", "app:d"] {
        images.tag(&source.to_string(), &reference(name)).unwrap();
    }
    let tags = images.tags(&reference("r.test/app")).unwrap();
    assert_eq!(tags, ["r.test/app:a", "r.test/app:b"].map(reference));
}

#[test]
fn privileged_layers_whose_blobs_were_not_kept_are_packed_again() {
    let fixture = Fixture::new();
    let registry = Registry::start();
    let layer = |n| tar_of(&[(&format!("file{n}"), &noise(n, 900_000))]);
    let tars = [layer(1), layer(2)];
    let origin = Registry::start();
    let source = serve(&origin, "source", &gzip_image(&tars));
    let images = fixture.images().with_keep_blobs(KeepBlobs::Auto);
    let pulled = images
        .pull(&client(), &source, None, &Silent)
        .unwrap()
        .image;
    let blobs = fixture.store.blobs();
    assert!(
        pulled
            .layers
            .iter()
            .all(|l| !blobs.contains(&l.digest).unwrap())
    );

    // Where it came from, everything is there: nothing is sent, the digest stays.
    let push = |name: &Reference| images.push(&client(), name, &PushOptions::default(), &Silent);
    assert_eq!(
        push(&source).unwrap().descriptor.digest,
        pulled.manifest.digest
    );
    // Elsewhere, the layers are packed anew: the same image, another digest, the same each time.
    let name = tagged(&fixture, &source, &registry, "app:1");
    let pushed = push(&name).unwrap();
    assert_ne!(pushed.descriptor.digest, pulled.manifest.digest);
    assert_eq!(push(&name).unwrap(), pushed);
    let other = Fixture::new();
    let again = other
        .images()
        .pull(&client(), &name, None, &Silent)
        .unwrap();
    assert_eq!(again.image.id, pulled.id);

    // An uncompressed blob is the tar itself: made again, it is the same blob.
    let plain = serve(&origin, "plain", &MemoryImage::of_tars(tars.to_vec()));
    let pulled = images.pull(&client(), &plain, None, &Silent).unwrap().image;
    assert!(!blobs.contains(&pulled.layers[0].digest).unwrap());
    let name = tagged(&fixture, &plain, &registry, "plain:1");
    assert_eq!(
        push(&name).unwrap().descriptor.digest,
        pulled.manifest.digest
    );
    let visible = fixture.visible();
    assert!(visible.iter().all(|name| !name.starts_with("ops/")));
}
