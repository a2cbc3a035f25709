//! Mode `plain` passes the conformance suite, and what is its own.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Instant;

use lamina_layer::TarWriter;
use lamina_snapshot::conformance::{CASES, Subject};
use lamina_snapshot::{ImageLayers, PrepareOptions, ProbeError, StorageMode, open};
use lamina_store::{CollectOptions, Store};
use lamina_types::{DiffId, ErrorKind};

use crate::support::{self, ingest};

/// Returns the mode on a new store; `None` where overlays cannot be mounted.
fn subject(root: &Path) -> Option<Subject> {
    support::subject(root, StorageMode::Plain)
}

#[test]
fn privileged_plain_conforms() {
    let mut failures = Vec::new();
    for case in CASES {
        let dir = tempfile::tempdir().unwrap();
        let Some(subject) = subject(dir.path()) else {
            return;
        };
        if let Err(failure) = (case.check)(&subject) {
            failures.push(format!("{}:\n{failure}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn privileged_the_generated_top_lives_and_dies_with_its_image() {
    let dir = tempfile::tempdir().unwrap();
    let Some(subject) = subject(dir.path()) else {
        return;
    };
    let tar = TarWriter::new(Vec::new()).finish().unwrap();
    let image = ImageLayers {
        diff_ids: vec![ingest(&subject.store, &tar).unwrap()],
        ..ImageLayers::default()
    };
    let options = PrepareOptions::default();
    let id = "c1".parse().unwrap();
    subject.snapshotter.prepare(&id, &image, &options).unwrap();
    let collect = || subject.store.collect(&CollectOptions::default()).unwrap();
    assert_eq!((collect().generated, collect().layers.len()), (0, 0));
    subject.snapshotter.get(&id).unwrap();
    subject.snapshotter.remove(&id).unwrap();
    let collected = collect();
    assert_eq!((collected.generated, collected.layers.len()), (1, 1));
    assert_eq!(fs::read_dir(dir.path().join("images")).unwrap().count(), 0);
}

#[test]
fn privileged_a_store_on_an_overlay_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let Some(subject) = subject(dir.path()) else {
        return;
    };
    let rootfs = subject
        .snapshotter
        .prepare(
            &"outer".parse().unwrap(),
            &ImageLayers::default(),
            &PrepareOptions::default(),
        )
        .unwrap();
    let mount = lamina_snapshot::mount_detached(&rootfs).unwrap();
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let root = rustix::fs::openat(&mount, ".", flags, rustix::fs::Mode::empty()).unwrap();
    let fd = root.as_raw_fd();
    let store = Store::open(Path::new(&format!("/proc/self/fd/{fd}/store"))).unwrap();
    let error = open(&store, StorageMode::Auto).unwrap_err();
    assert!(matches!(error, ProbeError::OnOverlay(_)), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// Prints what a snapshot costs; the bound is generous, the machine is shared.
#[test]
fn privileged_prepare_and_remove_are_fast() {
    let dir = tempfile::tempdir().unwrap();
    let Some(subject) = subject(dir.path()) else {
        return;
    };
    let layers: Vec<DiffId> = (0..5)
        .map(|number| {
            let mut tar = TarWriter::new(Vec::new());
            let meta = lamina_layer::Meta::default();
            tar.file_bytes(format!("f{number}"), &meta, b"x").unwrap();
            ingest(&subject.store, &tar.finish().unwrap()).unwrap()
        })
        .collect();
    let image = ImageLayers {
        diff_ids: layers,
        ..ImageLayers::default()
    };
    let options = PrepareOptions { volatile: true };
    let rounds = 100;
    let begun = Instant::now();
    for number in 0..rounds {
        let id = format!("c{number}").parse().unwrap();
        subject.snapshotter.prepare(&id, &image, &options).unwrap();
    }
    let prepare = begun.elapsed() / rounds;
    let begun = Instant::now();
    for number in 0..rounds {
        let id = format!("c{number}").parse().unwrap();
        subject.snapshotter.remove(&id).unwrap();
    }
    let remove = begun.elapsed() / rounds;
    let begun = Instant::now();
    for _ in 0..rounds {
        open(&subject.store, StorageMode::Auto).unwrap();
    }
    let probe = begun.elapsed() / rounds;
    let text = format!("prepare {prepare:?}, remove {remove:?}, cached probe {probe:?}");
    println!("{text}");
    drop(File::open(dir.path()).unwrap());
    assert!(prepare.as_millis() < 20, "{text}");
}
