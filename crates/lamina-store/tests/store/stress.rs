//! Several processes that pull, remove and collect at once, some of them killed.

use std::process::Stdio;
use std::time::Duration;

use lamina_store::{Area, CollectOptions};

use crate::children::command;
use crate::{Host, names};

#[test]
fn whatever_is_named_is_whole() {
    let host = Host::new();
    host.open();
    let mut children: Vec<_> = (0..6)
        .map(|_| {
            command("children::child_stress", host.root())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(700));
    for child in &mut children[..2] {
        child.kill().unwrap();
    }
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(number < 2 || output.status.success(), "{text}");
    }
    let store = host.open();
    assert!(store.recovery().errors.is_empty(), "{:?}", store.recovery());
    assert!(names(&store, Area::Ops).is_empty());
    let refs = store.refs().list().unwrap();
    let collected = store.collect(&CollectOptions::default()).unwrap();
    assert_eq!(collected.damaged, []);
    for entry in &refs {
        assert!(store.blobs().read(&entry.manifest.digest, 1 << 20).is_ok());
        assert!(store.blobs().read(&entry.image.0, 1 << 20).is_ok());
    }
    for entry in refs {
        store.refs().remove(&entry.name).unwrap();
    }
    store.collect(&CollectOptions::default()).unwrap();
    for area in [
        Area::BlobsSha256,
        Area::Layers,
        Area::Images,
        Area::Unsynced,
    ] {
        store.sync().unwrap();
        assert!(names(&store, area).is_empty(), "{area:?} is left");
    }
}
