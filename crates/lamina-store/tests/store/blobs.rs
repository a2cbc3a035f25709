//! Blobs: verification, resumption, one download among several.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use lamina_store::{Area, BlobError, CollectOptions, Fetch, Holder, Line, Partial};
use lamina_types::ErrorKind;

use crate::{Host, Sample, digest_of, names, write_file};

fn never(_: &Holder) -> bool {
    panic!("nobody else is downloading")
}

fn missing(fetch: Fetch) -> Box<Partial> {
    match fetch {
        Fetch::Missing(partial) => partial,
        Fetch::Here => panic!("the blob is not here yet"),
    }
}

#[test]
fn a_document_is_hashed_when_it_is_read() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("test", &[]).unwrap();
    let digest = store.blobs().put(&op, b"document").unwrap();
    assert_eq!(store.blobs().put(&op, b"document").unwrap(), digest);
    assert_eq!(store.blobs().read(&digest, 100).unwrap(), b"document");
    assert!(
        store.blobs().read(&digest, 3).is_err(),
        "larger than the limit"
    );

    write_file(store.blobs().path(&digest), b"documenT");
    let error = store.blobs().read(&digest, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    // Putting it again repairs it.
    store.blobs().put(&op, b"document").unwrap();
    assert_eq!(store.blobs().read(&digest, 100).unwrap(), b"document");
    let lie = store.blobs().put_as(&op, &digest, b"other").unwrap_err();
    assert!(matches!(lie, BlobError::Digest { .. }));
    op.finish().unwrap();
}

#[test]
fn a_download_is_resumed_and_verified() {
    let host = Host::new();
    let content = vec![7; 100_000];
    let digest = digest_of(&content);
    {
        let store = host.open();
        let op = store.ops().begin("pull", &[]).unwrap();
        let fetch = store.blobs().fetch(&op, &digest, 100_000, &mut never);
        let mut partial = missing(fetch.unwrap());
        partial.append(&content[..60_000]).unwrap();
        // Cancelled: what has arrived stays.
    }
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let fetch = store.blobs().fetch(&op, &digest, 100_000, &mut never);
    let mut partial = missing(fetch.unwrap());
    assert_eq!(partial.len(), 60_000);
    let mut seen = Vec::new();
    std::io::Read::read_to_end(&mut partial.reader().unwrap(), &mut seen).unwrap();
    assert_eq!(seen, content[..60_000]);
    partial.append(&content[60_000..]).unwrap();
    assert!(!store.blobs().contains(&digest).unwrap());
    partial.finish().unwrap();
    assert_eq!(store.blobs().read(&digest, 1 << 20).unwrap(), content);
    assert!(names(&store, Area::Partial).is_empty());
    assert_eq!(
        names(&store, Area::Locks),
        ["store"],
        "lock files do not pile up"
    );
    op.finish().unwrap();
}

#[test]
fn a_download_that_nobody_keeps_leaves_nothing() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let blobs = store.blobs();
    let begin = |content: &[u8], lied: &[u8]| {
        let size = content.len() as u64;
        let fetch = blobs.fetch(&op, &digest_of(content), size, &mut never);
        let mut partial = missing(fetch.unwrap());
        partial.append(lied).unwrap();
        partial
    };
    let nothing_left = || {
        assert!(names(&store, Area::Partial).is_empty());
        assert!(names(&store, Area::BlobsSha256).is_empty());
        assert!(names(&store, Area::Unsynced).is_empty());
        assert_eq!(names(&store, Area::Locks), ["store"]);
    };
    let partial = begin(b"content", b"content");
    partial.verify().unwrap();
    assert_eq!(names(&store, Area::Partial).len(), 1);
    partial.discard().unwrap();
    nothing_left();

    let partial = begin(b"content", b"CONTENT");
    let error = partial.verify().unwrap_err();
    assert!(matches!(error, BlobError::Digest { .. }), "{error}");
    drop(partial);
    assert!(names(&store, Area::Partial).is_empty());

    // Whoever is at it keeps it; what a killed process left goes.
    let partial = begin(b"content", b"cont");
    let digest = digest_of(b"content");
    blobs.discard_left(&digest).unwrap();
    assert_eq!(names(&store, Area::Partial).len(), 1);
    drop(partial);
    blobs.discard_left(&digest).unwrap();
    blobs.discard_left(&digest).unwrap();
    nothing_left();
    op.finish().unwrap();
}

#[test]
fn wrong_bytes_are_thrown_away_and_missing_ones_awaited() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let digest = digest_of(b"right");
    let fetch = || missing(store.blobs().fetch(&op, &digest, 5, &mut never).unwrap());

    let mut partial = fetch();
    let error = partial.append(b"too long").unwrap_err();
    assert!(matches!(error, BlobError::Size { expected: 5, .. }));
    partial.append(b"wro").unwrap();
    let error = partial.finish().unwrap_err();
    assert!(matches!(error, BlobError::Size { found: 3, .. }), "{error}");

    let mut partial = fetch();
    assert_eq!(partial.len(), 3, "too few bytes are kept");
    partial.append(b"ng").unwrap();
    let error = partial.finish().unwrap_err();
    assert!(matches!(error, BlobError::Digest { .. }), "{error}");

    let mut partial = fetch();
    assert_eq!(partial.len(), 0, "wrong bytes are not");
    partial.append(b"wr").unwrap();
    partial.restart().unwrap();
    partial.append(b"right").unwrap();
    partial.finish().unwrap();
    assert!(matches!(
        store.blobs().fetch(&op, &digest, 5, &mut never),
        Ok(Fetch::Here)
    ));
    let lie = store.blobs().fetch(&op, &digest, 6, &mut never);
    assert!(
        matches!(lie, Err(BlobError::Size { .. })),
        "another length is a lie"
    );
    op.finish().unwrap();
}

#[test]
fn a_second_downloader_waits_and_finds_it() {
    let host = Host::new();
    let digest = digest_of(b"content");
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let fetch = store.blobs().fetch(&op, &digest, 7, &mut never);
    let mut partial = missing(fetch.unwrap());
    let (told, waits) = mpsc::channel();
    let root = host.root().to_path_buf();
    let wanted = digest.clone();
    let second = thread::spawn(move || {
        let store = lamina_store::Store::open(&root).unwrap();
        let op = store.ops().begin("pull", &[]).unwrap();
        let mut wait = |holder: &Holder| told.send(holder.holder.clone()).is_ok();
        let found = store.blobs().fetch(&op, &wanted, 7, &mut wait).unwrap();
        op.finish().unwrap();
        matches!(found, Fetch::Here)
    });
    let holder = waits.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(holder, format!("process {}", std::process::id()));
    partial.append(b"content").unwrap();
    partial.finish().unwrap();
    drop(waits);
    assert!(
        second.join().unwrap(),
        "the second finds what the first made"
    );
    op.finish().unwrap();
}

#[test]
fn a_waiter_may_give_up() {
    let host = Host::new();
    let (first, second) = (host.open(), host.open());
    let digest = digest_of(b"content");
    let op = first.ops().begin("pull", &[]).unwrap();
    let _partial = first.blobs().fetch(&op, &digest, 7, &mut never).unwrap();
    let root = second.clone();
    let error = thread::spawn(move || {
        let op = root.ops().begin("pull", &[]).unwrap();
        root.blobs()
            .fetch(&op, &digest, 7, &mut |_| false)
            .unwrap_err()
    });
    let error = error.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("held by process"), "{error}");
}

#[test]
fn a_released_blob_goes_unless_another_operation_relies_on_it() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let sample = Sample::put(&store, &op, "debian", "one");
    store.refs().set(&sample.entry).unwrap();
    let blob = digest_of(&sample.blob);
    let release = || store.blobs().release(&op, std::slice::from_ref(&blob));
    for line in [
        Line::Blob(blob.clone()),
        Line::Image(sample.manifest.clone()),
    ] {
        let other = store.ops().begin("push", &[line]).unwrap();
        assert_eq!(release().unwrap(), 0);
        assert!(store.blobs().contains(&blob).unwrap());
        other.finish().unwrap();
    }
    assert_eq!(release().unwrap(), 1);
    assert!(!store.blobs().contains(&blob).unwrap());
    assert_eq!(release().unwrap(), 0);
    op.finish().unwrap();
    // The image is none the worse for it, and the collector does not mind.
    let collected = store.collect(&CollectOptions::default()).unwrap();
    assert!(collected.damaged.is_empty() && collected.layers.is_empty());
}
