//! Requests that nobody honest sends.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use lamina_registry::{Access, Limits};
use lamina_types::oci::media;
use serde_json::json;

use crate::support::{Server, read, sha256};

fn server() -> Server {
    Server::start(Limits::default())
}

#[test]
fn privileged_paths_reach_nothing() {
    let server = server();
    let digest = sha256(b"x");
    for path in [
        "/v2/../../etc/passwd",
        "/v2/%2e%2e/%2e%2e/etc/passwd/manifests/x",
        "/v2/a/../b/manifests/x",
        "/v2//manifests/x",
        "/v2/a//b/manifests/x",
        "/v2/A/manifests/x",
        "/v2/a:b/manifests/x",
        "/v2/a@b/manifests/x",
        "/v2/a%00/manifests/x",
        "/v2/held.invalid/docker.io/a/manifests/x",
        "/v2/none.invalid/none/manifests/x",
        "/v2/a/manifests/..",
        "/v2/a/manifests/-x",
        "/v2/a/manifests/sha256:../../../etc/passwd",
        "/v2/a/blobs/sha256:xyz",
        "/v2/a/blobs/..%2f..%2f..%2fmeta.json",
        "/v2/a/blobs/sha256:AA",
        &format!("/v2/a/blobs/{digest}/"),
        &format!("/v2/../blobs/{digest}"),
        "/v2/a/referrers/x",
        "/etc/passwd",
        "http://169.254.169.254/v2/a/tags/list",
        &format!("/v2/{}/tags/list", "a/".repeat(300) + "a"),
    ] {
        let answer = server.get(path);
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        assert!(!answer.code().is_empty(), "{path}: {answer:?}");
        let put = server.ask("PUT", path, &["content-type: x"], b"{}");
        assert!((400..500).contains(&put.status), "{path}: {put:?}");
    }
    for (method, path) in [
        ("TRACE", "/v2/"),
        ("POST", "/v2/a/manifests/x"),
        ("PATCH", "/v2/a/manifests/x"),
        ("DELETE", "/v2/a/tags/list"),
        ("PUT", "/v2/_catalog"),
        ("GET", "/v2/a/blobs/uploads/"),
    ] {
        let answer = server.ask(method, path, &[], b"");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (405, "UNSUPPORTED"),
            "{method} {path}"
        );
    }
}

#[test]
fn privileged_manifests_that_lie_are_refused() {
    let server = server();
    server.blob("a", b"{}");
    let config = json!({"mediaType": media::OCI_CONFIG, "digest": sha256(b"{}"), "size": 2});
    let manifest = |config: &serde_json::Value, layers: serde_json::Value| json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": layers});
    let good = manifest(&config, json!([])).to_string();
    let mut ambiguous = manifest(&config, json!([]));
    ambiguous["manifests"] = json!([]);
    let mut wrong_size = config.clone();
    wrong_size["size"] = json!(3);
    let mut hostile = config.clone();
    hostile["digest"] = json!("sha256:../../../../etc/passwd");
    let layer = json!([{"mediaType": media::OCI_LAYER, "digest": sha256(b"none"), "size": 4}]);
    let child = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": media::OCI_MANIFEST, "digest": sha256(b"none"), "size": 4}]});
    for (name, kind, body, status, code) in [
        ("x", media::OCI_MANIFEST, "", 400, "MANIFEST_INVALID"),
        ("x", media::OCI_MANIFEST, "{}", 400, "MANIFEST_INVALID"),
        ("x", media::OCI_MANIFEST, "[[[[", 400, "MANIFEST_INVALID"),
        ("x", media::OCI_INDEX, &good, 400, "MANIFEST_INVALID"),
        (
            "x",
            media::OCI_MANIFEST,
            &ambiguous.to_string(),
            400,
            "MANIFEST_INVALID",
        ),
        (
            "x",
            media::OCI_MANIFEST,
            &manifest(&hostile, json!([])).to_string(),
            400,
            "MANIFEST_INVALID",
        ),
        (
            "x",
            media::OCI_MANIFEST,
            &manifest(&wrong_size, json!([])).to_string(),
            400,
            "SIZE_INVALID",
        ),
        (
            "x",
            media::OCI_MANIFEST,
            &manifest(&config, layer).to_string(),
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (
            "x",
            media::OCI_INDEX,
            &child.to_string(),
            404,
            "MANIFEST_BLOB_UNKNOWN",
        ),
        (
            &sha256(b"other").to_string(),
            media::OCI_MANIFEST,
            &good,
            400,
            "DIGEST_INVALID",
        ),
    ] {
        let answer = server.put("a", name, kind, body.as_bytes());
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{body}: {answer:?}"
        );
    }
    let huge = server.put("a", "x", media::OCI_MANIFEST, &vec![b' '; 5 << 20]);
    assert_eq!(huge.status, 413, "{huge:?}");
    assert_eq!(server.get("/v2/a/tags/list").status, 404);
    // Layers that are no tars are another's business until somebody runs them.
    assert_eq!(
        server
            .put("a", "x", media::OCI_MANIFEST, good.as_bytes())
            .status,
        201
    );
}

#[test]
fn privileged_nothing_is_held_beyond_its_bounds() {
    let limits = Limits {
        uploads: 3,
        blob: 1 << 20,
        idle: Duration::from_millis(400),
        ..Limits::default()
    };
    let server = Server::start(limits);
    let uploads = "/v2/a/blobs/uploads/";
    let large = vec![7; (1 << 20) + 1];
    let path = format!("{uploads}?digest={}", sha256(&large));
    let answer = server.ask("POST", &path, &[], &large);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "SIZE_INVALID")
    );
    let begun: Vec<_> = (0..3)
        .map(|_| server.ask("POST", uploads, &[], b""))
        .collect();
    assert!(begun.iter().all(|answer| answer.status == 202));
    let answer = server.ask("POST", uploads, &[], b"");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "TOOMANYREQUESTS")
    );
    let at = begun[0].header("location").unwrap().to_owned();

    // A head that does not end, a body that stops, one that ends early: none is waited for.
    let begin = Instant::now();
    let mut heads = server.connect();
    heads.write_all(b"GET /v2/ HTTP/1.1\r\nx: ").unwrap();
    let mut stops = server.connect();
    let head = format!("PATCH {at} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf");
    stops.write_all(head.as_bytes()).unwrap();
    assert_eq!(read(stops).status, 408);
    read(heads);
    assert!(begin.elapsed() < Duration::from_secs(30));
    // What had come stays, and the upload goes on.
    assert_eq!(server.get(&at).header("range"), Some("0-3"));
    let other = begun[1].header("location").unwrap();
    let foreign = other.replace("/v2/a/", "/v2/b/");
    assert_eq!(
        server.get(&foreign).status,
        404,
        "an upload belongs to its repository"
    );
    let commit = format!("{at}?digest={}", sha256(b"halfwhole"));
    assert_eq!(server.ask("PUT", &commit, &[], b"whole").status, 201);

    let mut noise = server.connect();
    noise
        .write_all(b"\x16\x03\x01 no http at all\r\n\r\n")
        .unwrap();
    assert!(read(noise).status < 500);
    let lines: Vec<String> = (0..4000)
        .map(|n| format!("x-{n}: {}", "y".repeat(400)))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let answer = server.ask("GET", "/v2/", &lines, b"");
    assert!(
        answer.status == 431 || answer.status == 400 || answer.status == 0,
        "{answer:?}"
    );
    assert_eq!(server.get("/v2/").status, 200);
}

#[test]
fn privileged_uploads_of_one_blob_at_once_are_one_blob() {
    let server = server();
    let bytes = vec![3; 2 << 20];
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| server.blob("a", &bytes));
        }
    });
    assert!(server.get(&format!("/v2/a/blobs/{}", sha256(&bytes))).body == bytes);
}

#[test]
fn privileged_whoever_may_not_write_changes_nothing() {
    let server = Server::start_with(Limits::default(), Access::default());
    for (method, path) in [
        ("POST", "/v2/a/blobs/uploads/".to_owned()),
        (
            "POST",
            format!("/v2/a/blobs/uploads/?digest={}", sha256(b"x")),
        ),
        ("PATCH", "/v2/a/blobs/uploads/1".to_owned()),
        ("PUT", "/v2/a/manifests/x".to_owned()),
        ("DELETE", "/v2/a/manifests/x".to_owned()),
    ] {
        let answer = server.ask(method, &path, &[], b"x");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "DENIED"),
            "{method} {path}"
        );
    }
    assert_eq!(server.get("/v2/").status, 200);
    assert!(!server.store.blobs().contains(&sha256(b"x")).unwrap());
}
