//! Registries that break: resume or a typed error, within a bounded time.

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lamina_distribution::{Client, ClientConfig, FetchError, ProxyConfig};
use lamina_testkit::registry::{Fault, Framing, Recorded, Registry, Reply};
use lamina_types::oci::Descriptor;
use lamina_types::{ErrorKind, Reference};

use crate::support::{client, config, with_image};

const SIZE: usize = 1_000_000;

/// Serves blobs by `answer`, which is given the request and the bytes from its range on.
fn pull(
    answer: impl Fn(&Recorded, &[u8]) -> Option<Reply> + Send + Sync + 'static,
) -> (Result<(), FetchError>, usize) {
    let (registry, reference, layer, bytes) = with_image(SIZE);
    let all = bytes.clone();
    registry.script(move |request| {
        let from = request.range_start().unwrap_or(0);
        let rest = all
            .get(usize::try_from(from).unwrap()..)
            .unwrap_or_default();
        request
            .path
            .contains("/blobs/")
            .then(|| answer(request, rest))
            .flatten()
    });
    let started = Instant::now();
    let result = read(&client(), &reference, &layer).map(|read| assert!(read == bytes));
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "bounded in time"
    );
    (result, registry.count("/blobs/"))
}

fn read(client: &Client, reference: &Reference, layer: &Descriptor) -> Result<Vec<u8>, FetchError> {
    let mut read = Vec::new();
    let mut stream = client.blob(reference, layer, 0)?;
    match stream.read_to_end(&mut read) {
        Ok(_) => Ok(read),
        Err(error) => Err(FetchError::from_io(error).expect("a typed error")),
    }
}

/// A 206 for what was asked, or a 200 for the whole.
fn part(request: &Recorded, rest: &[u8]) -> Reply {
    match request.range_start() {
        None => Reply::ok(rest),
        Some(from) => Reply::status(206)
            .header(
                "content-range",
                &format!("bytes {from}-{}/{SIZE}", SIZE - 1),
            )
            .body(rest),
    }
}

#[test]
fn resets_closes_and_stalls_are_resumed_at_the_byte() {
    let tenth = SIZE / 10;
    for fault in [
        Fault::ResetAfter(tenth),
        Fault::CloseAfter(tenth),
        Fault::CloseAfter(tenth + 1),
        Fault::ResetAfter(SIZE - 1),
        Fault::StallAfter(SIZE / 2, Duration::from_secs(2)),
    ] {
        let shown = format!("{fault:?}");
        let (result, requests) =
            pull(move |request, rest| Some(part(request, rest).fault(fault.clone())));
        assert!(result.is_ok(), "{shown}: {result:?}");
        assert!((2..=11).contains(&requests), "{shown}: {requests} requests");
    }
}

#[test]
fn every_framing_is_read_and_none_is_trusted() {
    for framing in [Framing::Chunked, Framing::UntilClose] {
        let (result, _) = pull(move |request, rest| Some(part(request, rest).framing(framing)));
        assert!(result.is_ok(), "{framing:?}: {result:?}");
    }
    // Complete but for the last chunk: the descriptor's length is what counts.
    let (result, _) =
        pull(|request, rest| Some(part(request, rest).framing(Framing::ChunkedWithoutEnd)));
    assert!(result.is_ok(), "{result:?}");
    for wrong in [SIZE as u64 - 1, SIZE as u64 + 1, u64::MAX, 0] {
        let (result, requests) =
            pull(move |_, rest| Some(Reply::ok(rest).framing(Framing::Claimed(wrong))));
        let error = result.unwrap_err();
        assert!(
            matches!(error, FetchError::SizeMismatch { .. }),
            "{wrong}: {error}"
        );
        assert_eq!(requests, 1);
    }
    // More than the descriptor says is not delivered.
    let (result, _) =
        pull(|_, rest| Some(Reply::ok([rest, b"more"].concat()).framing(Framing::Chunked)));
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn a_server_without_ranges_has_the_beginning_skipped() {
    let half = SIZE / 2;
    let whole = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&whole);
    let (result, requests) = pull(move |request, rest| {
        let mut whole = keep.lock().unwrap();
        if request.nth == 0 {
            *whole = rest.to_vec();
            return Some(Reply::ok(rest).fault(Fault::CloseAfter(half)));
        }
        Some(Reply::ok(whole.clone()))
    });
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(requests, 2);
}

#[test]
fn wrong_ranges_and_416_fall_back_to_the_whole() {
    for status in [206, 416] {
        let whole = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&whole);
        let (result, requests) = pull(move |request, rest| {
            let mut whole = keep.lock().unwrap();
            if request.nth == 0 {
                *whole = rest.to_vec();
                return Some(Reply::ok(rest).fault(Fault::CloseAfter(SIZE / 2)));
            }
            let wrong = Reply::status(status)
                .header("content-range", &format!("bytes 7-{}/{SIZE}", SIZE - 1))
                .body(&whole[7..]);
            Some(if request.range_start().is_some() {
                wrong
            } else {
                Reply::ok(whole.clone())
            })
        });
        assert!(result.is_ok(), "{status}: {result:?}");
        assert_eq!(requests, 3, "{status}");
    }
}

#[test]
fn resuming_names_the_strong_tag_and_a_changed_one_brings_the_whole() {
    let (registry, reference, layer, bytes) = with_image(SIZE);
    let all = bytes.clone();
    registry.script(move |request| {
        (request.path.contains("/blobs/") && request.nth == 0).then(|| {
            let reply = Reply::ok(all.clone()).header("etag", "\"first\"");
            reply.fault(Fault::CloseAfter(SIZE / 2))
        })
    });
    assert!(read(&client(), &reference, &layer).unwrap() == bytes);
    let requests = registry.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.header("if-range"), Some("\"first\""));
    assert_eq!(last.range_start(), Some(SIZE as u64 / 2));
}

#[test]
fn overload_is_retried_as_asked_and_not_for_ever() {
    for (headers, status, ok) in [
        (None, 503, true),
        (Some("0"), 429, true),
        (Some("1"), 429, true),
        (Some("garbage"), 429, true),
        (Some("315360000"), 429, false),
        (Some("Sun, 06 Nov 2094 08:49:37 GMT"), 503, false),
    ] {
        let (result, requests) = pull(move |request, _| {
            (request.nth == 0).then(|| {
                let reply = Reply::error(status, "TOOMANYREQUESTS", "slow down");
                headers
                    .iter()
                    .fold(reply, |reply, value| reply.header("retry-after", value))
            })
        });
        assert_eq!(result.is_ok(), ok, "{headers:?}: {result:?}");
        assert_eq!(requests, if ok { 2 } else { 1 }, "{headers:?}");
    }
    let (result, requests) = pull(|_, _| Some(Reply::status(502)));
    let error = result.unwrap_err();
    assert!(
        matches!(error, FetchError::Server { status: 502, .. }),
        "{error}"
    );
    assert_eq!((error.kind(), requests), (ErrorKind::Unavailable, 4));
}

#[test]
fn what_cannot_pass_is_not_retried() {
    for (status, kind) in [
        (403, ErrorKind::PermissionDenied),
        (404, ErrorKind::NotFound),
    ] {
        let (result, requests) = pull(move |_, _| Some(Reply::error(status, "DENIED", "no")));
        assert_eq!(
            (result.unwrap_err().kind(), requests),
            (kind, 1),
            "{status}"
        );
    }
}

#[test]
fn a_trickle_is_not_waited_for() {
    let started = Instant::now();
    let (result, _) = pull(|request, rest| {
        Some(part(request, rest).fault(Fault::Trickle(1, Duration::from_millis(50))))
    });
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[test]
fn answers_that_are_no_http_are_typed() {
    for raw in [
        &b"garbage\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx",
        b"",
        b"\x15\x03\x01\x00\x02\x02\x16",
    ] {
        let (result, requests) =
            pull(move |_, _| Some(Reply::status(200).fault(Fault::Raw(raw.to_vec()))));
        assert!(result.is_err(), "{:?}", String::from_utf8_lossy(raw));
        assert!(requests <= 4);
    }
    let flood = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 1 << 20]].concat();
    let (result, _) = pull(move |_, _| Some(Reply::ok("").fault(Fault::Raw(flood.clone()))));
    assert!(result.is_err());
}

#[test]
fn a_silent_server_is_a_timeout() {
    let (registry, reference, ..) = with_image(10);
    registry.script(|request| {
        let wait = Duration::from_secs(3);
        request
            .path
            .contains("/manifests/")
            .then(|| Reply::ok("").delay(wait))
    });
    let mut settings: ClientConfig = config();
    settings.retry.attempts = 1;
    let error = Client::new(settings)
        .unwrap()
        .resolve(&reference)
        .unwrap_err();
    assert!(
        matches!(error, FetchError::Timeout { act: "answer", .. }),
        "{error}"
    );
}

#[test]
fn redirects_end() {
    for location in [
        "",
        "/v2/",
        "relative",
        "//",
        "ftp://x/",
        "http://u:p@127.0.0.1/",
    ] {
        let (result, requests) = pull(move |request, _| {
            let to = match location {
                "/v2/" => request.path.clone(),
                other => other.to_owned(),
            };
            Some(Reply::redirect(307, &to))
        });
        let error = result.unwrap_err();
        let kind = error.kind();
        assert!(
            matches!(kind, ErrorKind::PermissionDenied | ErrorKind::NotFound),
            "{error}"
        );
        assert_eq!(
            requests,
            if location == "relative" { 2 } else { 1 },
            "{location:?}"
        );
    }
    let (result, requests) = pull(|request, _| {
        let hop = request
            .path
            .split_once('?')
            .map_or("", |(_, query)| query)
            .len();
        Some(Reply::redirect(302, &format!("?{}", "a".repeat(hop + 1))))
    });
    assert!(result.unwrap_err().to_string().contains("redirect"));
    assert_eq!(requests, 11);
    for status in [301, 302, 303, 307, 308] {
        let (result, _) = pull(move |request, rest| {
            Some(match request.path.contains('?') {
                true => Reply::ok(rest),
                false => Reply::redirect(status, "?x=%2F..%00"),
            })
        });
        assert!(result.is_ok(), "{status}: {result:?}");
    }
}

#[test]
fn cancelling_ends_a_read_in_another_thread() {
    let (registry, reference, layer, bytes) = with_image(SIZE);
    registry.script(move |request| {
        let stall = Fault::StallAfter(1000, Duration::from_secs(5));
        request
            .path
            .contains("/blobs/")
            .then(|| Reply::ok(bytes.clone()).fault(stall))
    });
    let mut settings = config();
    settings.timeouts.idle = Duration::from_secs(4);
    let client = Client::new(settings).unwrap();
    let reader = client.clone();
    let started = Instant::now();
    let thread = thread::spawn(move || read(&reader, &reference, &layer));
    thread::sleep(Duration::from_millis(200));
    client.cancel();
    let error = thread.join().unwrap().unwrap_err();
    assert!(matches!(error, FetchError::Cancelled), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_proxy_that_refuses_is_typed_and_this_machine_needs_none() {
    let (_registry, tagged, ..) = with_image(10);
    let proxy = Registry::start();
    proxy.script(|_| Some(Reply::status(407)));
    let mut settings = config();
    settings.proxy = Some(ProxyConfig {
        url: format!("http://user:pass@{}", proxy.domain()),
        no_proxy: String::new(),
    });
    let client = Client::new(settings).unwrap();
    client.resolve(&tagged).unwrap();
    assert_eq!(proxy.requests(), []);
    let away: Reference = "registry.test/a/b".parse().unwrap();
    let error = client.resolve(&away).unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error:?}");
    let asked = &proxy.requests()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("CONNECT", "registry.test:443")
    );
    assert_eq!(
        asked.header("proxy-authorization"),
        Some("Basic dXNlcjpwYXNz")
    );
}
