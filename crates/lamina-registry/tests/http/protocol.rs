//! What the specification asks for, section by section.

use lamina_image::Images;
use lamina_registry::Limits;
use lamina_store::CollectOptions;
use lamina_types::oci::media;
use lamina_types::{Digest, Platform};
use serde_json::{Value, json};

use crate::support::{Answer, Server, sha256, sha512};

fn server() -> Server {
    Server::start(Limits::default())
}

/// Pushes the blobs of an image and returns its manifest.
fn image(server: &Server, repository: &str, layers: &[&[u8]], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| sha256(layer)).collect();
    let config = json!({
        "architecture": architecture, "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string();
    server.blob(repository, config.as_bytes());
    let describe = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": sha256(bytes), "size": bytes.len()});
    let mut described = Vec::new();
    for layer in layers {
        server.blob(repository, layer);
        described.push(describe(media::OCI_LAYER, layer));
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": describe(media::OCI_CONFIG, config.as_bytes()), "layers": described,
    });
    manifest.to_string().into_bytes()
}

fn host() -> String {
    Platform::host().architecture
}

fn location(answer: &Answer) -> String {
    answer.header("location").unwrap().to_owned()
}

#[test]
fn privileged_blobs_come_in_every_way_and_go_out_in_parts() {
    let server = server();
    let base = server.get("/v2/");
    assert_eq!(base.status, 200);
    assert_eq!(
        base.header("docker-distribution-api-version"),
        Some("registry/2.0")
    );
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n / 3).to_le_bytes()[0])
        .collect();

    // POST then PUT.
    let begun = server.ask("POST", "/v2/team/app/blobs/uploads/", &[], b"");
    assert_eq!(begun.status, 202, "{begun:?}");
    let whole = format!("{}?digest={}", location(&begun), sha256(b"one"));
    let done = server.ask("PUT", &whole, &[], b"one");
    assert_eq!(done.status, 201, "{done:?}");
    assert_eq!(
        location(&done),
        format!("/v2/team/app/blobs/{}", sha256(b"one"))
    );
    assert_eq!(server.ask("PUT", &whole, &[], b"one").status, 404);

    // In pieces, in order and not.
    let begun = server.ask("POST", "/v2/team/app/blobs/uploads/", &[], b"");
    let at = location(&begun);
    let middle = 1_200_000;
    let range = format!("content-range: 0-{}", middle - 1);
    let piece = server.ask("PATCH", &at, &[&range], &bytes[..middle]);
    assert_eq!(piece.status, 202, "{piece:?}");
    let reached = format!("0-{}", middle - 1);
    assert_eq!(piece.header("range"), Some(reached.as_str()));
    let again = server.ask("PATCH", &at, &[&range], &bytes[..middle]);
    assert_eq!(
        (again.status, again.header("range")),
        (416, Some(reached.as_str()))
    );
    let lying = format!("content-range: {middle}-{middle}");
    assert_eq!(server.ask("PATCH", &at, &[&lying], b"xy").status, 400);
    let state = server.get(&at);
    assert_eq!(
        (state.status, state.header("range")),
        (204, Some(reached.as_str()))
    );
    let rest = server.ask("PATCH", &at, &[], &bytes[middle..2_000_000]);
    assert_eq!(rest.status, 202);
    let commit = format!(
        "{at}?digest={}",
        sha256(&bytes).to_string().replace(':', "%3A")
    );
    let range = format!("content-range: 2000000-{}", bytes.len() - 1);
    let done = server.ask("PUT", &commit, &[&range], &bytes[2_000_000..]);
    assert_eq!(done.status, 201, "{done:?}");

    // By another hash, cancelled, and with the wrong digest.
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha512(b"two"));
    assert_eq!(server.ask("POST", &path, &[], b"two").status, 201);
    let begun = server.ask("POST", "/v2/a/blobs/uploads/", &[], b"");
    assert_eq!(
        server.ask("DELETE", &location(&begun), &[], b"").status,
        204
    );
    assert_eq!(server.get(&location(&begun)).status, 404);
    let wrong = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"three"));
    let refused = server.ask("POST", &wrong, &[], b"four");
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (400, "DIGEST_INVALID")
    );
    assert_eq!(
        server
            .get(&format!("/v2/a/blobs/{}", sha256(b"four")))
            .code(),
        "BLOB_UNKNOWN"
    );

    // Mounted, or begun instead.
    let mount = |digest: &Digest| format!("/v2/b/blobs/uploads/?mount={digest}&from=team/app");
    assert_eq!(
        server.ask("POST", &mount(&sha256(b"one")), &[], b"").status,
        201
    );
    assert_eq!(
        server
            .ask("POST", &mount(&sha256(b"none")), &[], b"")
            .status,
        202
    );

    let path = format!("/v2/b/blobs/{}", sha256(&bytes));
    let head = server.ask("HEAD", &path, &[], b"");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("3000000"))
    );
    assert!(head.body.is_empty());
    assert!(server.get(&path).body == bytes);
    let part = server.ask("GET", &path, &["range: bytes=2999990-"], b"");
    assert_eq!(part.status, 206);
    assert_eq!(
        part.header("content-range"),
        Some("bytes 2999990-2999999/3000000")
    );
    assert!(part.body == bytes[2_999_990..]);
    let beyond = server.ask("GET", &path, &["range: bytes=3000000-"], b"");
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */3000000"))
    );
    assert_eq!(server.ask("DELETE", &path, &[], b"").status, 405);
}

#[test]
fn privileged_manifests_are_images_of_the_store() {
    let server = server();
    let images = Images::new(&server.store);
    let one = image(&server, "team/app", &[b"layer"], &host());
    // Nothing leads to the blobs yet; the collector leaves them.
    server.store.collect(&CollectOptions::default()).unwrap();
    let put = server.put("team/app", "v1", media::OCI_MANIFEST, &one);
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(
        location(&put),
        format!("/v2/team/app/manifests/{}", sha256(&one))
    );
    let found = images.find("team/app:v1").unwrap();
    assert_eq!(found.target.digest, sha256(&one));
    for name in ["v1".to_owned(), sha256(&one).to_string()] {
        let answer = server.get(&format!("/v2/team/app/manifests/{name}"));
        assert!(answer.body == one);
        assert_eq!(answer.header("content-type"), Some(media::OCI_MANIFEST));
        let head = server.ask("HEAD", &format!("/v2/team/app/manifests/{name}"), &[], b"");
        assert_eq!(
            head.header("docker-content-digest"),
            Some(&*sha256(&one).to_string())
        );
        assert_eq!(head.header("content-length"), Some(&*one.len().to_string()));
        assert!(head.body.is_empty());
    }
    // Another repository's manifest is not this one's.
    let other = server.get(&format!("/v2/other/manifests/{}", sha256(&one)));
    assert_eq!(
        (other.status, other.code().as_str()),
        (404, "MANIFEST_UNKNOWN")
    );

    // An index: children first, by digest; then they are held by the index alone.
    let two = image(&server, "team/app", &[b"layer", b"more"], "s390x");
    let by_digest = sha256(&two).to_string();
    assert_eq!(
        server
            .put("team/app", &by_digest, media::OCI_MANIFEST, &two)
            .status,
        201
    );
    assert!(
        server
            .get(&format!("/v2/team/app/manifests/{by_digest}"))
            .body
            == two
    );
    assert_eq!(
        images.list().unwrap().len(),
        1,
        "what has no tag is no image to be listed"
    );
    let child = |bytes: &[u8], architecture: &str| {
        json!({"mediaType": media::OCI_MANIFEST, "digest": sha256(bytes), "size": bytes.len(),
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": media::OCI_INDEX,
        "manifests": [child(&two, "s390x"), child(&one, &host())],
    });
    let index = index.to_string().into_bytes();
    assert_eq!(
        server
            .put("team/app", "multi", media::OCI_INDEX, &index)
            .status,
        201
    );
    let found = images.find("team/app:multi").unwrap();
    assert_eq!(
        (found.target.digest, found.manifest.digest),
        (sha256(&index), sha256(&one))
    );
    let in_use = server.ask(
        "DELETE",
        &format!("/v2/team/app/manifests/{by_digest}"),
        &[],
        b"",
    );
    assert_eq!(in_use.status, 405);
    assert!(
        server
            .get(&format!("/v2/team/app/manifests/{by_digest}"))
            .body
            == two
    );

    // A tag that goes leaves the manifest, one that moves too; a manifest that goes takes all.
    let multi = "/v2/team/app/manifests/multi";
    assert_eq!(server.ask("DELETE", multi, &[], b"").status, 202);
    assert_eq!(server.ask("DELETE", multi, &[], b"").status, 404);
    let whole = format!("/v2/team/app/manifests/{}", sha256(&index));
    assert!(server.get(&whole).body == index);
    assert_eq!(server.ask("DELETE", &whole, &[], b"").status, 202);
    assert_eq!(server.get(&whole).status, 404);
    assert_eq!(
        server
            .get(&format!("/v2/team/app/manifests/{by_digest}"))
            .status,
        404
    );
    let moved = image(&server, "team/app", &[b"other"], &host());
    assert_eq!(
        server
            .put("team/app", "v1", media::OCI_MANIFEST, &moved)
            .status,
        201
    );
    let old = format!("/v2/team/app/manifests/{}", sha256(&one));
    assert!(server.get(&old).body == one);
    assert_eq!(server.ask("DELETE", &old, &[], b"").status, 202);
    let new = format!("/v2/team/app/manifests/{}", sha256(&moved));
    assert_eq!(server.ask("DELETE", &new, &[], b"").status, 202);
    assert_eq!(server.get("/v2/team/app/tags/list").code(), "NAME_UNKNOWN");
    assert!(images.list().unwrap().is_empty());
}

#[test]
fn privileged_tags_come_in_pages() {
    let server = server();
    let bytes = image(&server, "app", &[b"x"], &host());
    for tag in ["c", "a", "b", "_d"] {
        assert_eq!(
            server.put("app", tag, media::OCI_MANIFEST, &bytes).status,
            201
        );
    }
    let all = server.get("/v2/app/tags/list");
    assert_eq!(
        all.json(),
        json!({"name": "app", "tags": ["_d", "a", "b", "c"]})
    );
    assert_eq!(all.header("link"), None);
    let first = server.get("/v2/app/tags/list?n=3");
    assert_eq!(first.json()["tags"], json!(["_d", "a", "b"]));
    assert_eq!(
        first.header("link"),
        Some("</v2/app/tags/list?n=3&last=b>; rel=\"next\"")
    );
    assert_eq!(
        server.get("/v2/app/tags/list?n=3&last=b").json()["tags"],
        json!(["c"])
    );
    assert_eq!(
        server.get("/v2/app/tags/list?n=0").json()["tags"],
        json!([])
    );
    assert_eq!(
        server.get("/v2/app/tags/list?n=x").code(),
        "PAGINATION_NUMBER_INVALID"
    );
    assert_eq!(
        server.get("/v2/_catalog").json(),
        json!({"repositories": ["app"]})
    );
}

#[test]
fn privileged_what_refers_to_an_image_is_found() {
    let server = server();
    let bytes = image(&server, "app", &[b"x"], &host());
    server.put("app", "v1", media::OCI_MANIFEST, &bytes);
    server.blob("app", b"{}");
    let referring = |kind: &str, note: &str| -> Value {
        json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2},
            "layers": [], "annotations": {"note": note},
            "subject": {"mediaType": media::OCI_MANIFEST, "digest": sha256(&bytes), "size": bytes.len()},
        })
    };
    for (kind, note) in [
        ("text/sbom", "one"),
        ("text/sig", "two"),
        ("text/sig", "three"),
    ] {
        let document = referring(kind, note).to_string().into_bytes();
        let name = sha256(&document).to_string();
        let put = server.put("app", &name, media::OCI_MANIFEST, &document);
        assert_eq!(put.status, 201, "{put:?}");
        assert_eq!(
            put.header("oci-subject"),
            Some(&*sha256(&bytes).to_string())
        );
    }
    let path = format!("/v2/app/referrers/{}", sha256(&bytes));
    let all = server.get(&path);
    assert_eq!(all.header("content-type"), Some(media::OCI_INDEX));
    assert_eq!(all.header("oci-filters-applied"), None);
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 3);
    let some = server.get(&format!("{path}?artifactType=text%2Fsig"));
    assert_eq!(some.header("oci-filters-applied"), Some("artifactType"));
    let found = some.json()["manifests"].as_array().unwrap().clone();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|one| one["artifactType"] == "text/sig"));
    assert!(found.iter().any(|one| one["annotations"]["note"] == "two"));
    let none = server.get(&format!("/v2/app/referrers/{}", sha256(b"nobody")));
    assert_eq!(
        (none.status, none.json()["manifests"].clone()),
        (200, json!([]))
    );
    // One with a tag is no image either, and survives the collector.
    let document = referring("text/chart", "four").to_string().into_bytes();
    assert_eq!(
        server
            .put("app", "chart", media::OCI_MANIFEST, &document)
            .status,
        201
    );
    server.store.collect(&CollectOptions::default()).unwrap();
    assert_eq!(Images::new(&server.store).list().unwrap().len(), 1);
    assert_eq!(
        server.get("/v2/app/tags/list").json()["tags"],
        json!(["chart", "v1"])
    );
    assert!(server.get("/v2/app/manifests/chart").body == document);
    assert_eq!(
        server.get(&format!("/v2/app/blobs/{}", sha256(b"{}"))).body,
        b"{}"
    );
}
