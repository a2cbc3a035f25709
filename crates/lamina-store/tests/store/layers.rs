//! Layers: drafts, publishing, and what a reboot without a sync does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lamina_store::{Area, LayerInfo};
use lamina_types::DiffId;

use crate::{Host, digest_of, names, write_file};

fn info() -> LayerInfo {
    LayerInfo {
        size: 4,
        entries: 2,
        implied: vec![PathBuf::from("tmp"), bytes_path(b"caf\xe9")],
        opaque_root: true,
        pooled: false,
    }
}

fn bytes_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[test]
fn the_first_to_publish_wins() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let diff_id = DiffId(digest_of(b"layer"));
    let drafts = [b"1", b"2"].map(|content| {
        let draft = store.layers().draft(&op).unwrap();
        write_file(draft.tree().path().join("file"), content);
        draft
    });
    assert!(store.layers().get(&diff_id).unwrap().is_none());
    for draft in drafts {
        let layer = draft.publish(&op, &diff_id, &info()).unwrap();
        assert_eq!(std::fs::read(layer.dir.join("file")).unwrap(), b"1");
    }
    assert_eq!(store.layers().get(&diff_id).unwrap().unwrap().info, info());
    op.finish().unwrap();
    assert!(names(&store, Area::Ops).is_empty());
}

#[test]
fn what_is_not_published_vanishes_with_its_operation() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let draft = store.layers().draft(&op).unwrap();
    write_file(draft.tree().path().join("file"), b"x");
    drop((draft, op));
    assert!(names(&store, Area::Ops).is_empty());
    assert_eq!(store.empty_trash().unwrap().removed, 1);
    assert!(names(&store, Area::Trash).is_empty());
}

#[test]
fn a_layer_that_was_not_synced_before_a_reboot_is_dropped() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let publish = |name: &[u8]| {
        let diff_id = DiffId(digest_of(name));
        let draft = store.layers().draft(&op).unwrap();
        draft.publish(&op, &diff_id, &info()).unwrap();
        diff_id
    };
    let synced = publish(b"synced");
    store.sync().unwrap();
    assert!(names(&store, Area::Unsynced).is_empty());
    let lost = publish(b"lost");
    op.finish().unwrap();
    let markers = names(&store, Area::Unsynced);
    assert_eq!(markers.len(), 1);

    // The same boot: it is in the page cache and stays.
    let again = host.open();
    assert!(again.layers().contains(&lost).unwrap());
    // Another boot.
    let unsynced = host.root().join("unsynced");
    let foreign = format!("11111111-2222-3333-4444-555555555555.{}", lost.0.hex());
    let dir = lamina_fs::Dir::open(&unsynced).unwrap();
    dir.rename_to(&markers[0], &dir, &foreign, lamina_fs::Durability::Volatile)
        .unwrap();
    let rebooted = host.open();
    assert!(!rebooted.layers().contains(&lost).unwrap());
    assert!(rebooted.layers().contains(&synced).unwrap());
    assert!(names(&rebooted, Area::Unsynced).is_empty());
}
