//! Several pulls of one image at a time, and a pull that is killed.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lamina_image::{Images, Silent};
use lamina_store::Store;
use lamina_testkit::registry::{Fault, Registry, Reply};

use crate::support::{Fixture, client, digest_of, gzip_image, noise, reference, serve, tar_of};

/// The process half: told the store and the image on its standard input, pulls. Does nothing
/// where nobody tells it anything.
#[test]
fn child_that_pulls() {
    let mut told = String::new();
    let marked = std::env::args().any(|argument| argument == "concurrent::child_that_pulls");
    if !marked || std::io::stdin().read_to_string(&mut told).is_err() {
        return;
    }
    let Some((root, name)) = told.trim().split_once('\n') else {
        return;
    };
    let store = Store::open(root.as_ref()).unwrap();
    let pulled = Images::new(&store).pull(&client(), &reference(name), None, &Silent);
    pulled.unwrap();
}

fn spawn(fixture: &Fixture, name: &str) -> std::process::Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "concurrent::child_that_pulls", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let told = format!("{}\n{name}", fixture.path("store").display());
    child
        .stdin
        .take()
        .unwrap()
        .write_all(told.as_bytes())
        .unwrap();
    child
}

#[test]
fn privileged_two_processes_download_each_blob_once() {
    let registry = Registry::start();
    let tars: Vec<_> = (0..4)
        .map(|i| tar_of(&[(&format!("file{i}"), &noise(i + 10, 400_000))]))
        .collect();
    let image = gzip_image(&tars);
    let name = serve(&registry, "app", &image).to_string();
    let blobs: Vec<(String, Vec<u8>)> = image
        .layers
        .iter()
        .map(|(_, b)| (digest_of(b), b.clone()))
        .collect();
    let served = blobs.clone();
    registry.script(move |request| {
        let (_, bytes) = served
            .iter()
            .find(|(digest, _)| request.path.contains(digest))?;
        Some(Reply::ok(bytes.clone()).fault(Fault::Trickle(100_000, Duration::from_millis(50))))
    });
    let fixture = Fixture::new();
    let mut children: Vec<_> = (0..2).map(|_| spawn(&fixture, &name)).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    for (digest, _) in &blobs {
        assert_eq!(
            registry.count(digest),
            1,
            "{digest} was downloaded more than once"
        );
    }
    assert!(fixture.images().find(&name).is_ok());
    assert!(
        !fixture
            .visible()
            .iter()
            .any(|name| name.starts_with("ops/"))
    );
}

#[test]
fn privileged_a_killed_pull_leaves_nothing_and_is_continued() {
    let registry = Registry::start();
    let image = gzip_image(&[tar_of(&[("big", &noise(20, 4_000_000))])]);
    let name = serve(&registry, "app", &image).to_string();
    let (path, bytes) = (digest_of(&image.layers[0].1), image.layers[0].1.clone());
    registry.script(move |request| {
        let first = request.path.contains(&path) && request.range_start().is_none();
        let stall = Fault::StallAfter(2_500_000, Duration::from_secs(30));
        first.then(|| Reply::ok(bytes.clone()).fault(stall))
    });
    let fixture = Fixture::new();
    let mut child = spawn(&fixture, &name);
    let partial = fixture.path("store/partial");
    let arrived = || {
        let entries = partial.read_dir().unwrap();
        entries
            .map(|e| e.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    };
    let start = Instant::now();
    while arrived() < 2_000_000 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "only {} bytes",
            arrived()
        );
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Store::open(&fixture.path("store")).unwrap();
    assert!(fixture.visible().is_empty(), "{:?}", fixture.visible());
    let pulled = Images::new(&store).pull(&client(), &reference(&name), None, &Silent);
    pulled.unwrap();
    let starts: Vec<u64> = registry
        .requests()
        .iter()
        .filter_map(|r| r.range_start())
        .collect();
    assert!(
        starts.first().is_some_and(|start| *start >= 2_000_000),
        "{starts:?}"
    );
}
