//! Content that is not what it claims to be.

use std::fmt::Write as _;

use lamina_distribution::{Client, ClientConfig, FetchError, Mirror, RegistryConfig};
use lamina_testkit::registry::{Framing, Registry, Reply, sha256};
use lamina_types::oci::{Descriptor, media};
use lamina_types::{Digest, ErrorKind, Platform};

use sha2::{Digest as _, Sha512};

use crate::support::{client, config, image, reference, with_image};

#[test]
fn wrong_bytes_are_refused_by_digest() {
    let (registry, tagged, layer, _) = with_image(5000);
    let pinned = tagged.with_digest(sha256(b"something else"));
    let honest = client().resolve(&tagged).unwrap();
    let bytes = honest.bytes.clone();
    registry.script(move |request| {
        request
            .path
            .contains("/manifests/")
            .then(|| Reply::ok(bytes.clone()))
    });
    let error = client().resolve(&pinned).unwrap_err();
    assert!(
        matches!(error, FetchError::DigestMismatch { .. }),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::DataLoss);

    let bytes = honest.bytes.clone();
    registry.script(move |_| {
        let lie = sha256(b"a lie").to_string();
        Some(Reply::ok(bytes.clone()).header("docker-content-digest", &lie))
    });
    let error = client().resolve(&tagged).unwrap_err();
    assert!(
        matches!(error, FetchError::DigestMismatch { .. }),
        "{error}"
    );

    registry.script(|request| {
        request
            .path
            .contains("/blobs/")
            .then(|| Reply::ok(vec![b'x'; 5000]))
    });
    let error = client().blob_bytes(&tagged, &layer, 1 << 20).unwrap_err();
    assert!(
        matches!(error, FetchError::DigestMismatch { .. }),
        "{error}"
    );
    let error = client().blob_bytes(&tagged, &layer, 100).unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
}

#[test]
fn sha512_is_verified_too() {
    let (registry, tagged, ..) = with_image(10);
    let bytes = client().resolve(&tagged).unwrap().bytes;
    let good = Digest::from_sha512(Sha512::digest(&bytes).into());
    let served = bytes.clone();
    registry.script(move |request| {
        request
            .path
            .contains("sha512:")
            .then(|| Reply::ok(served.clone()))
    });
    assert_eq!(
        client().resolve(&tagged.with_digest(good)).unwrap().bytes,
        bytes
    );
    let bad = Digest::from_sha512([7; 64]);
    let error = client().resolve(&tagged.with_digest(bad)).unwrap_err();
    assert!(
        matches!(error, FetchError::DigestMismatch { .. }),
        "{error}"
    );
}

#[test]
fn a_manifest_of_another_size_than_the_index_says_is_refused() {
    let (_registry, tagged, ..) = with_image(10);
    let mut descriptor = client().resolve(&tagged).unwrap().descriptor;
    descriptor.size += 1;
    let error = client().manifest(&tagged, &descriptor).unwrap_err();
    assert!(matches!(error, FetchError::SizeMismatch { .. }), "{error}");
    descriptor.size -= 1;
    descriptor.media_type = media::OCI_INDEX.to_owned();
    let error = client().manifest(&tagged, &descriptor).unwrap_err();
    assert!(matches!(error, FetchError::Document { .. }), "{error}");
}

#[test]
fn huge_documents_are_cut_off() {
    let (registry, tagged, ..) = with_image(10);
    for framing in [Framing::Length, Framing::Chunked, Framing::UntilClose] {
        registry.script(move |request| {
            let huge = || Reply::ok(vec![b' '; 5 << 20]).framing(framing);
            request.path.contains("/manifests/").then(huge)
        });
        let error = client().resolve(&tagged).unwrap_err();
        assert!(
            matches!(error, FetchError::TooLarge { .. }),
            "{framing:?}: {error}"
        );
    }
    registry.script(|_| Some(Reply::ok("").framing(Framing::Claimed(1 << 40))));
    assert!(client().resolve(&tagged).is_err());
    let layer = format!(
        "{{\"mediaType\":\"x\",\"digest\":\"sha256:{}\",\"size\":1}},",
        "a".repeat(64)
    );
    let mut many = "{\"schemaVersion\":2,\"layers\":[".to_owned();
    for _ in 0..30_000 {
        write!(many, "{layer}").unwrap();
    }
    registry.script(move |_| Some(Reply::ok(many.clone())));
    let error = client().resolve(&tagged).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
}

#[test]
fn an_empty_answer_and_endless_indexes_are_invalid() {
    let (registry, tagged, ..) = with_image(10);
    registry.script(|request| request.path.ends_with("v1").then(|| Reply::ok("")));
    let error = client().resolve(&tagged).unwrap_err();
    assert!(matches!(error, FetchError::Document { .. }), "{error}");
    let mut inner = client_descriptor(&registry);
    for _ in 0..6 {
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX,
            "manifests": [inner]});
        let bytes = index.to_string().into_bytes();
        let digest = registry.serve_manifest("team/app", "deep", media::OCI_INDEX, &bytes);
        inner = Descriptor::new(media::OCI_INDEX, digest, bytes.len() as u64);
    }
    let deep = tagged.with_tag("deep").unwrap();
    let error = client()
        .resolve_platform(&deep, &Platform::host())
        .unwrap_err();
    assert!(matches!(error, FetchError::Document { .. }), "{error}");
}

fn client_descriptor(registry: &Registry) -> Descriptor {
    let bytes = image(10).manifest_bytes();
    let digest = registry.serve_manifest("team/app", "leaf", media::OCI_MANIFEST, &bytes);
    Descriptor::new(media::OCI_MANIFEST, digest, bytes.len() as u64)
}

fn with_mirrors(registry: &Registry, mirrors: &[&Registry]) -> ClientConfig {
    let mut config = config();
    let mirror = |mirror: &&Registry| Mirror {
        location: format!("{}/cache", mirror.url()),
        namespace: true,
        ..Mirror::default()
    };
    let table = RegistryConfig {
        mirrors: mirrors.iter().map(mirror).collect(),
        ..RegistryConfig::default()
    };
    config.registries.insert(registry.domain(), table);
    config
}

#[test]
fn mirrors_come_first_and_the_registry_when_they_fail() {
    let (registry, tagged, layer, bytes) = with_image(200_000);
    let (down, empty) = (Registry::start(), Registry::start());
    down.script(|_| Some(Reply::status(503)));
    empty.script(|_| Some(Reply::ok("")));
    let client = Client::new(with_mirrors(&registry, &[&down, &empty])).unwrap();
    client.resolve(&tagged).unwrap();
    assert_eq!(client.blob_bytes(&tagged, &layer, 1 << 20).unwrap(), bytes);
    let asked = &down.requests()[0].path;
    let expected = format!("/v2/cache/team/app/manifests/v1?ns={}", "127.0.0.1%3A");
    assert!(asked.starts_with(&expected), "{asked}");

    let good = Registry::start();
    good.serve_image("cache/team/app", "v1", &image(200_000));
    let before = registry.requests().len();
    let client = Client::new(with_mirrors(&registry, &[&good])).unwrap();
    client.resolve(&tagged).unwrap();
    assert_eq!(client.blob_bytes(&tagged, &layer, 1 << 20).unwrap(), bytes);
    assert_eq!(
        registry.requests().len(),
        before,
        "the mirror had everything"
    );
}

#[test]
fn a_blob_begun_at_a_mirror_ends_at_the_registry() {
    use lamina_testkit::registry::Fault;
    let (registry, tagged, layer, bytes) = with_image(400_000);
    let mirror = Registry::start();
    let served = bytes.clone();
    mirror.script(move |request| {
        let reply = Reply::ok(served.clone()).fault(Fault::CloseAfter(150_000));
        Some(if request.nth == 0 {
            reply
        } else {
            Reply::status(500)
        })
    });
    let client = Client::new(with_mirrors(&registry, &[&mirror])).unwrap();
    assert_eq!(client.blob_bytes(&tagged, &layer, 1 << 20).unwrap(), bytes);
    let last = registry.requests().last().unwrap().clone();
    assert_eq!(last.range_start(), Some(150_000));
}

#[test]
fn when_all_fail_the_error_names_them_and_has_the_registrys_kind() {
    let registry = Registry::start();
    let mirror = Registry::start();
    mirror.script(|_| Some(Reply::status(404)));
    let client = Client::new(with_mirrors(&registry, &[&mirror])).unwrap();
    let error = client.resolve(&reference(&registry, "a/b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&mirror.domain()), "{error}");
}
