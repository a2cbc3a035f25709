//! Mode `erofs` passes the conformance suite, and what is its own.

use std::fs;

use lamina_layer::{Meta, TarWriter};
use lamina_snapshot::conformance::{CASES, Subject};
use lamina_snapshot::{ImageLayers, PrepareOptions, StorageMode};
use lamina_store::{CollectOptions, Store};

use crate::support::{ingest_pooled, subject};

fn pooled(root: &std::path::Path) -> Option<Subject> {
    let mut subject = subject(root, StorageMode::Erofs)?;
    subject.ingest = ingest_pooled;
    subject.max_layers = 700;
    Some(subject)
}

#[test]
fn privileged_erofs_conforms() {
    let mut failures = Vec::new();
    for case in CASES {
        let dir = tempfile::tempdir().unwrap();
        let Some(subject) = pooled(dir.path()) else {
            return;
        };
        if let Err(failure) = (case.check)(&subject) {
            failures.push(format!("{}:\n{failure}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn privileged_the_image_and_its_objects_live_and_die_with_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let Some(subject) = pooled(dir.path()) else {
        return;
    };
    let mut tar = TarWriter::new(Vec::new());
    tar.file_bytes("large", &Meta::default(), &[b'x'; 5000])
        .unwrap();
    let image = ImageLayers {
        diff_ids: vec![ingest_pooled(&subject.store, &tar.finish().unwrap()).unwrap()],
        ..ImageLayers::default()
    };
    let id = "c1".parse().unwrap();
    let options = PrepareOptions::default();
    subject.snapshotter.prepare(&id, &image, &options).unwrap();
    let collect = || subject.store.collect(&CollectOptions::default()).unwrap();
    assert_eq!((collect().generated, objects(&subject.store)), (0, 1));
    subject.snapshotter.get(&id).unwrap();
    subject.snapshotter.remove(&id).unwrap();
    let collected = collect();
    assert_eq!((collected.generated, collected.layers.len()), (1, 1));
    assert_eq!(objects(&subject.store), 0);
    assert_eq!(fs::read_dir(dir.path().join("images")).unwrap().count(), 0);
}

fn objects(store: &Store) -> usize {
    let folders = fs::read_dir(store.pool().path()).unwrap();
    let count = |folder: fs::DirEntry| fs::read_dir(folder.path()).unwrap().count();
    folders.map(|folder| count(folder.unwrap())).sum()
}
