//! Pushing: what is there is not sent, what breaks off goes on, and nobody else sees a password.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lamina_distribution::{BlobSource, Client, FetchError, Sent, Upload};
use lamina_testkit::registry::{Fault, Recorded, Registry, Reply, sha256};
use lamina_types::oci::{Descriptor, media};
use lamina_types::{ErrorKind, Reference};

use crate::credentials::{BASIC, guard, password, with};
use crate::support::{client, image, noise, reference};

const MIB: usize = 1 << 20;

struct InMemory(Vec<u8>);

impl BlobSource for InMemory {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(&self.0[usize::try_from(offset).unwrap()..]))
    }
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media::OCI_LAYER, sha256(bytes), bytes.len() as u64)
}

fn push_from(
    client: &Client,
    to: &Reference,
    bytes: &[u8],
    mount_from: &[&str],
) -> Result<Sent, FetchError> {
    let mount_from: Vec<String> = mount_from.iter().map(|&path| path.to_owned()).collect();
    let reported = AtomicU64::new(0);
    let sent = client.push_blob(
        to,
        &Upload {
            descriptor: &descriptor(bytes),
            source: &InMemory(bytes.to_vec()),
            mount_from: &mount_from,
            progress: &|done| reported.store(done, Ordering::SeqCst),
        },
    );
    if matches!(sent, Ok(Sent::Uploaded)) {
        assert_eq!(reported.load(Ordering::SeqCst), bytes.len() as u64);
    }
    sent
}

fn push(client: &Client, to: &Reference, bytes: &[u8]) -> Result<Sent, FetchError> {
    push_from(client, to, bytes, &[])
}

fn methods(registry: &Registry) -> Vec<String> {
    let requests = registry.requests();
    requests.into_iter().map(|request| request.method).collect()
}

#[test]
fn an_image_is_pushed_and_pulled_and_pushed_for_nothing() {
    let registry = Registry::start();
    let to = reference(&registry, "team/app:v1");
    let image = image(100_000);
    let manifest = image.manifest_bytes();
    let client = client();
    let large = noise(9 * MIB);
    for bytes in [&image.config, &image.layers[0].1, &large, &Vec::new()] {
        assert_eq!(push(&client, &to, bytes).unwrap(), Sent::Uploaded);
        assert_eq!(
            registry.pushed_blob("team/app", &sha256(bytes)).as_ref(),
            Some(bytes)
        );
    }
    client
        .push_manifest(&to, "v1", media::OCI_MANIFEST, &manifest)
        .unwrap();
    assert_eq!(client.resolve(&to).unwrap().bytes, manifest);
    assert_eq!(
        client.pushed_manifest(&to, "v1").unwrap(),
        Some(sha256(&manifest))
    );
    assert_eq!(client.pushed_manifest(&to, "v2").unwrap(), None);
    let before = registry.requests().len();
    assert_eq!(push(&client, &to, &large).unwrap(), Sent::Existed);
    assert_eq!(methods(&registry)[before..], ["HEAD"]);
    assert_eq!(registry.pending_uploads(), 0);
}

#[test]
fn a_blob_of_a_neighbour_is_mounted() {
    let registry = Registry::start();
    let client = client();
    let bytes = noise(100_000);
    push(&client, &reference(&registry, "base:1"), &bytes).unwrap();
    let to = reference(&registry, "team/app:v1");
    let sent = push_from(&client, &to, &bytes, &["wrong", "base"]).unwrap();
    assert_eq!(sent, Sent::Mounted("base".to_owned()));
    assert_eq!(
        registry.pushed_blob("team/app", &sha256(&bytes)),
        Some(bytes)
    );
    // The upload that was begun in place of the first mount is not left behind.
    assert_eq!(registry.pending_uploads(), 0);
    let other = noise(200_000);
    let sent = push_from(&client, &to, &other, &["base", "x", "y", "z"]).unwrap();
    assert_eq!(sent, Sent::Uploaded);
    assert_eq!(registry.pending_uploads(), 0);
    let mounts = registry.count("from=");
    assert_eq!(mounts, 2 + 3, "no more than three are tried");
}

#[test]
fn a_broken_upload_goes_on_where_it_was() {
    let registry = Registry::start();
    let to = reference(&registry, "app:1");
    let bytes = noise(12 * MIB);
    registry.break_bodies(|request| {
        let first = request.method == "PATCH" && request.header("content-range").is_none();
        first.then_some(5 * MIB as u64)
    });
    assert_eq!(push(&client(), &to, &bytes).unwrap(), Sent::Uploaded);
    let resumed = registry.requests();
    let resumed = resumed
        .iter()
        .find_map(|request| request.header("content-range"))
        .unwrap();
    let start: usize = resumed.split('-').next().unwrap().parse().unwrap();
    assert_eq!(start, 5 * MIB);
    assert_eq!(registry.pushed_blob("app", &sha256(&bytes)), Some(bytes));
}

#[test]
fn a_registry_that_forgot_gets_it_anew() {
    let registry = Registry::start();
    let to = reference(&registry, "app:1");
    let bytes = noise(6 * MIB);
    registry.script(|request| {
        let first = request.method == "PATCH" && request.nth == 0;
        first.then(|| {
            Reply::error(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            )
        })
    });
    registry.break_bodies(|request| (request.method == "PUT" && request.nth == 0).then_some(0));
    assert_eq!(push(&client(), &to, &bytes).unwrap(), Sent::Uploaded);
    assert_eq!(registry.pushed_blob("app", &sha256(&bytes)), Some(bytes));
}

#[test]
fn an_answer_that_is_lost_is_no_loss() {
    let registry = Registry::start();
    let to = reference(&registry, "app:1");
    let bytes = noise(100_000);
    let tagged = to.clone();
    // The commit arrives, its answer does not.
    let twin = Registry::start();
    push(&client(), &reference(&twin, "app:1"), &bytes).unwrap();
    let committed = Arc::new(AtomicBool::new(false));
    registry.script(move |request| {
        if request.method == "PUT" {
            committed.store(true, Ordering::SeqCst);
            return Some(Reply::status(201).fault(Fault::Raw(Vec::new())));
        }
        let asked = request.method == "HEAD" && committed.load(Ordering::SeqCst);
        asked.then(|| Reply::status(200))
    });
    assert_eq!(push(&client(), &tagged, &bytes).unwrap(), Sent::Uploaded);
    let puts = methods(&registry);
    assert_eq!(puts.iter().filter(|method| *method == "PUT").count(), 1);
}

#[test]
fn what_is_too_large_goes_in_pieces() {
    let registry = Registry::start();
    let to = reference(&registry, "app:1");
    let bytes = noise(10 * MIB);
    registry.script(|request| {
        let too_large = request.body.len() > 3 * MIB;
        too_large.then(|| Reply::error(413, "SIZE_INVALID", "request entity too large"))
    });
    assert_eq!(push(&client(), &to, &bytes).unwrap(), Sent::Uploaded);
    let sizes: Vec<usize> = registry
        .requests()
        .iter()
        .filter(|request| request.method == "PATCH" && request.body.len() <= 3 * MIB)
        .map(|request| request.body.len())
        .collect();
    assert_eq!(sizes, [2 * MIB; 5]);
    assert_eq!(registry.pushed_blob("app", &sha256(&bytes)), Some(bytes));
}

#[test]
fn faults_end_in_bounded_time_with_their_own_errors() {
    let bytes = noise(300_000);
    type Answer = fn(&Recorded) -> Option<Reply>;
    let cases: [(&str, Answer, ErrorKind); 7] = [
        (
            "POST",
            |_| Some(Reply::status(202)),
            ErrorKind::PermissionDenied,
        ),
        (
            "POST",
            |_| Some(Reply::error(403, "DENIED", "read-only")),
            ErrorKind::PermissionDenied,
        ),
        (
            "POST",
            |_| Some(Reply::error(405, "UNSUPPORTED", "")),
            ErrorKind::FailedPrecondition,
        ),
        (
            "POST",
            |_| Some(Reply::redirect(202, "ftp://x/")),
            ErrorKind::PermissionDenied,
        ),
        (
            "POST",
            |_| Some(Reply::redirect(202, "http://169.254.169.254/x")),
            ErrorKind::PermissionDenied,
        ),
        (
            "PUT",
            |_| Some(Reply::error(400, "DIGEST_INVALID", "no")),
            ErrorKind::FailedPrecondition,
        ),
        (
            "PUT",
            |_| Some(Reply::error(503, "", "")),
            ErrorKind::Unavailable,
        ),
    ];
    for (method, answer, kind) in cases {
        let registry = Registry::start();
        let to = reference(&registry, "app:1");
        registry.script(move |request| {
            (request.method == method)
                .then(|| answer(request))
                .flatten()
        });
        let error = push(&client(), &to, &bytes).unwrap_err();
        assert_eq!(error.kind(), kind, "{method}: {error}");
        assert!(methods(&registry).len() < 24, "{method}: {error}");
    }
    let registry = Registry::start();
    let to = reference(&registry, "app:1");
    registry.break_bodies(|_| Some(0));
    let error = push(&client(), &to, &bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn a_source_that_ends_early_is_an_error_of_its_own() {
    let registry = Registry::start();
    let to = reference(&registry, "app:1");
    let bytes = noise(100_000);
    let error = client()
        .push_blob(
            &to,
            &Upload {
                descriptor: &descriptor(&bytes),
                source: &InMemory(bytes[..50_000].to_vec()),
                mount_from: &[],
                progress: &|_| {},
            },
        )
        .unwrap_err();
    assert!(matches!(error, FetchError::Source { .. }), "{error}");
}

#[test]
fn an_upload_elsewhere_gets_no_credentials() {
    let (registry, storage) = (Registry::start(), Registry::start());
    let to = reference(&registry, "team/app:v1");
    let bytes = noise(6 * MIB);
    let elsewhere = format!("{}/bucket/1?sig=x", storage.url());
    registry.script(move |request| {
        let refused = guard(request, BASIC, "Basic realm=\"r\"");
        let begun = request.method == "POST";
        refused.or_else(|| begun.then(|| Reply::redirect(202, &elsewhere)))
    });
    storage.script(|request| {
        Some(match request.method.as_str() {
            "PATCH" => Reply::status(202),
            "PUT" => Reply::status(201),
            _ => Reply::status(404),
        })
    });
    let client = Client::new(with(password())).unwrap();
    assert_eq!(push(&client, &to, &bytes).unwrap(), Sent::Uploaded);
    assert_eq!(storage.authorizations(), Vec::<String>::new());
    assert!(registry.authorizations().iter().all(|sent| sent == BASIC));
    // Nor when it asks for them.
    storage.script(|_| Some(Reply::challenge("Basic realm=\"r\"")));
    let error = push(&client, &to, &noise(5 * MIB)).unwrap_err();
    assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
    assert_eq!(storage.authorizations(), Vec::<String>::new());
}

#[test]
fn the_token_is_for_pushing_and_for_what_is_mounted() {
    let registry = Registry::start();
    let to = reference(&registry, "team/app:v1");
    let realm = format!("Bearer realm=\"{}/token\"", registry.url());
    registry.script(move |request| {
        if request.path.starts_with("/token") {
            return Some(Reply::ok("{\"token\":\"t\"}"));
        }
        guard(request, "Bearer t", &realm)
    });
    let client = Client::new(with(password())).unwrap();
    push_from(&client, &to, &noise(10), &["base/image"]).unwrap();
    let tokens: Vec<String> = registry
        .requests()
        .into_iter()
        .filter(|request| request.path.starts_with("/token"))
        .map(|request| request.path)
        .collect();
    assert_eq!(
        tokens,
        [
            "/token?scope=repository%3Ateam%2Fapp%3Apull%2Cpush&account=user",
            "/token?scope=repository%3Ateam%2Fapp%3Apull%2Cpush\
             &scope=repository%3Abase%2Fimage%3Apull&account=user",
        ]
    );
}

#[test]
fn a_manifest_without_its_blobs_is_refused_with_the_registrys_words() {
    let registry = Registry::start();
    let to = reference(&registry, "app:1");
    let bytes = image(10).manifest_bytes();
    let error = client()
        .push_manifest(&to, "1", media::OCI_MANIFEST, &bytes)
        .unwrap_err();
    assert!(
        error.to_string().contains("MANIFEST_BLOB_UNKNOWN"),
        "{error}"
    );
    registry.script(|request| {
        let put = request.method == "PUT";
        put.then(|| {
            let other = sha256(b"other").to_string();
            Reply::status(201).header("docker-content-digest", &other)
        })
    });
    let error = client()
        .push_manifest(&to, "1", media::OCI_MANIFEST, &bytes)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
}
