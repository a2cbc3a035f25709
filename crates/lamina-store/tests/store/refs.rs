//! Names, and the index that other tools read.

use std::fs;

use lamina_store::Store;
use serde_json::Value;

use crate::{Host, Sample, write_file};

fn index(store: &Store) -> Value {
    let path = store.root().path().join("oci/index.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_name_is_set_replaced_listed_and_removed() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let one = Sample::put(&store, &op, "debian:12", "one");
    let two = Sample::put(&store, &op, "alpine", "two");
    store.refs().set(&one.entry).unwrap();
    store.refs().set(&two.entry).unwrap();
    op.finish().unwrap();
    assert_eq!(
        store.refs().get(&one.entry.name).unwrap(),
        Some(one.entry.clone())
    );
    let listed: Vec<String> = store
        .refs()
        .list()
        .unwrap()
        .iter()
        .map(|r| r.name.familiar())
        .collect();
    assert_eq!(listed, ["alpine:latest", "debian:12"]);

    let manifests = index(&store);
    let manifests = manifests["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2);
    assert_eq!(
        manifests[1]["annotations"]["org.opencontainers.image.ref.name"],
        "docker.io/library/debian:12"
    );

    let mut moved = two.entry.clone();
    moved.name = one.entry.name.clone();
    store.refs().set(&moved).unwrap();
    assert_eq!(store.refs().get(&one.entry.name).unwrap(), Some(moved));
    assert!(store.refs().remove(&one.entry.name).unwrap());
    assert!(!store.refs().remove(&one.entry.name).unwrap());
    assert_eq!(store.refs().get(&one.entry.name).unwrap(), None);
}

#[test]
fn an_image_without_its_blobs_is_not_in_the_index() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let sample = Sample::put(&store, &op, "debian", "one");
    store
        .blobs()
        .drop_damaged(&crate::digest_of(&sample.blob))
        .unwrap();
    store.refs().set(&sample.entry).unwrap();
    op.finish().unwrap();
    assert!(index(&store)["manifests"].as_array().unwrap().is_empty());
}

#[test]
fn a_damaged_name_does_not_stop_the_others() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let sample = Sample::put(&store, &op, "debian", "one");
    store.refs().set(&sample.entry).unwrap();
    op.finish().unwrap();
    write_file(
        host.root().join(format!("refs/{}.json", "a".repeat(64))),
        "",
    );
    assert_eq!(store.refs().list().unwrap().len(), 1);
    store
        .collect(&lamina_store::CollectOptions::default())
        .unwrap();
    assert!(sample.is_whole(&store));
}
