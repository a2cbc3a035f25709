//! Honest pulls.

use std::io::Read as _;
use std::thread;
use std::time::Instant;

use lamina_distribution::{Document, FetchError};
use lamina_testkit::registry::{Registry, Reply, sha256};
use lamina_types::ErrorKind;
use lamina_types::oci::{Index, media};

use crate::support::{client, reference, with_image};

#[test]
fn by_tag_by_digest_and_through_an_index() {
    let (registry, reference, layer, bytes) = with_image(300_000);
    let client = client();
    let resolved = client.resolve(&reference).unwrap();
    let Document::Manifest(manifest) = &resolved.document else {
        panic!("a manifest");
    };
    assert_eq!(sha256(&resolved.bytes), resolved.descriptor.digest);
    let pinned = reference.with_digest(resolved.descriptor.digest.clone());
    assert_eq!(client.resolve(&pinned).unwrap(), resolved);
    let config = client
        .blob_bytes(&reference, &manifest.config, 1 << 20)
        .unwrap();
    assert_eq!(sha256(&config), manifest.config.digest);
    let mut read = Vec::new();
    client
        .blob(&reference, &layer, 0)
        .unwrap()
        .read_to_end(&mut read)
        .unwrap();
    assert_eq!(read, bytes);

    let mut entry = resolved.descriptor.clone();
    entry.platform = Some("linux/s390x".parse().unwrap());
    let index = Index {
        schema_version: 2,
        media_type: Some(media::OCI_INDEX.to_owned()),
        manifests: vec![entry],
        annotations: std::collections::BTreeMap::new(),
    };
    let index = serde_json::to_vec(&index).unwrap();
    registry.serve_manifest("team/app", "multi", media::OCI_INDEX, &index);
    let multi = reference.with_tag("multi").unwrap();
    let found = client
        .resolve_platform(&multi, &"linux/s390x".parse().unwrap())
        .unwrap();
    assert_eq!(found.bytes, resolved.bytes);
    assert_eq!(found.indexes.len(), 1);
    let error = client
        .resolve_platform(&multi, &"linux/amd64".parse().unwrap())
        .unwrap_err();
    assert!(
        matches!(&error, FetchError::NoPlatform { available, .. } if available == "linux/s390x")
    );
}

#[test]
fn unknown_names_are_told_as_docker_does() {
    let (registry, known, mut layer, _) = with_image(10);
    let client = client();
    let error = client.resolve(&known.with_tag("v2").unwrap()).unwrap_err();
    assert!(error.to_string().contains("manifest unknown"), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(client.list_tags(&known, 10).unwrap(), ["v1"]);
    layer.digest = sha256(b"other");
    let error = client.blob(&known, &layer, 0).unwrap_err();
    assert!(matches!(error, FetchError::BlobUnknown { .. }), "{error}");
    let error = client
        .list_tags(&reference(&registry, "no/such"), 10)
        .unwrap_err();
    assert!(
        matches!(error, FetchError::RepositoryUnknown { .. }),
        "{error}"
    );
}

#[test]
fn a_registry_that_is_down_is_an_error_at_once() {
    let (registry, reference, ..) = with_image(10);
    drop(registry);
    let started = Instant::now();
    let error = client().resolve(&reference).unwrap_err();
    assert!(matches!(&error, FetchError::Connect { host, .. } if host == reference.domain()));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(started.elapsed().as_secs() < 2);
}

#[test]
fn an_offset_continues_and_a_whole_blob_needs_no_request() {
    let (registry, reference, layer, bytes) = with_image(100_000);
    let client = client();
    let mut rest = Vec::new();
    client
        .blob(&reference, &layer, 99_000)
        .unwrap()
        .read_to_end(&mut rest)
        .unwrap();
    assert_eq!(rest, bytes[99_000..]);
    let before = registry.requests().len();
    rest.clear();
    client
        .blob(&reference, &layer, layer.size)
        .unwrap()
        .read_to_end(&mut rest)
        .unwrap();
    assert!(rest.is_empty());
    assert_eq!(registry.requests().len(), before);
}

#[test]
fn threads_share_a_client() {
    let (_registry, reference, layer, bytes) = with_image(2 << 20);
    let client = client();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut read = Vec::new();
                client
                    .blob(&reference, &layer, 0)
                    .unwrap()
                    .read_to_end(&mut read)
                    .unwrap();
                assert!(read == bytes);
            });
        }
    });
}

#[test]
fn tags_come_page_by_page_and_from_nowhere_else() {
    let registry = Registry::start();
    let tagged = reference(&registry, "team/app:v1");
    registry.script(|request| {
        let page = request
            .query("last")
            .map_or(0, |last| last.parse().unwrap());
        let tags: Vec<String> = (page..page + 3).map(|n: u32| format!("t{n}")).collect();
        let body = serde_json::json!({"name": "team/app", "tags": tags}).to_string();
        let next = format!(
            "</v2/team/app/tags/list?n=3&last={}>; rel=\"next\"",
            page + 3
        );
        Some(Reply::ok(body).header("link", &next))
    });
    let tags = client().list_tags(&tagged, 8).unwrap();
    assert_eq!(tags, ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"]);
    assert_eq!(registry.count("/tags/list"), 3);

    let other = Registry::start();
    let elsewhere = format!("<{}/v2/team/app/tags/list>; rel=\"next\"", other.url());
    registry.script(move |_| {
        let body = "{\"tags\":[\"a\",\"not a tag\"]}";
        Some(Reply::ok(body).header("link", &elsewhere))
    });
    assert_eq!(client().list_tags(&tagged, 8).unwrap(), ["a"]);
    assert_eq!(other.requests(), []);
    registry.script(|_| Some(Reply::ok("{\"tags\":null}")));
    assert_eq!(
        client().list_tags(&tagged, 8).unwrap(),
        Vec::<String>::new()
    );
}
