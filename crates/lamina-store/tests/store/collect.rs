//! What the collector keeps, and what it takes.

use lamina_fs::{Dir, Durability};
use lamina_store::{Area, CollectOptions, Collected, Fetch, Line, Pin, Store};

use crate::{Host, Sample, digest_of, names};

fn collect(store: &Store) -> Collected {
    store.collect(&CollectOptions::default()).unwrap()
}

fn pin(store: &Store, id: &str, pin: &Pin) -> Dir {
    let dir = store.dir(Area::Snap).unwrap().mkdir(id, 0o700).unwrap();
    let info = serde_json::json!({ "version": 1, "pin": pin });
    let bytes = serde_json::to_vec(&info).unwrap();
    dir.create_exclusive("info.json", &bytes, 0o600, Durability::Volatile)
        .unwrap();
    dir
}

#[test]
fn names_snapshots_and_operations_hold() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let named = Sample::put(&store, &op, "named", "named");
    let pinned = Sample::put(&store, &op, "pinned", "pinned");
    let leased = Sample::put(&store, &op, "leased", "leased");
    let free = Sample::put(&store, &op, "free", "free");
    store.refs().set(&named.entry).unwrap();
    let hold = Pin {
        diff_ids: vec![pinned.diff_id.clone()],
        image: Some(pinned.entry.image.clone()),
        manifest: Some(pinned.manifest.clone()),
        ..Pin::default()
    };
    pin(&store, "c1", &hold);
    let lease = store
        .ops()
        .begin("create", &[Line::Image(leased.manifest.clone())])
        .unwrap();
    assert_eq!(
        collect(&store).bytes(),
        0,
        "the first operation holds them all"
    );
    op.finish().unwrap();

    let collected = collect(&store);
    assert_eq!(collected.blobs.len(), 3);
    assert_eq!(collected.layers[&free.diff_id], Some(4));
    assert!(!free.is_whole(&store));
    for held in [&named, &pinned, &leased] {
        assert!(held.is_whole(&store));
    }
    assert!(names(&store, Area::Trash).len() >= 4);
    store.empty_trash().unwrap();
    assert!(names(&store, Area::Trash).is_empty());

    lease.finish().unwrap();
    store.refs().remove(&named.entry.name).unwrap();
    collect(&store);
    assert!(!named.is_whole(&store) && !leased.is_whole(&store));
    assert!(pinned.is_whole(&store));
    assert_eq!(store.pins().list().unwrap()[0].1, hold);
}

#[test]
fn an_unfinished_snapshot_goes_unless_it_is_being_made() {
    let host = Host::new();
    let store = host.open();
    let snap = store.dir(Area::Snap).unwrap();
    snap.mkdir("orphan", 0o700).unwrap();
    snap.mkdir("young", 0o700).unwrap();
    let line = Line::Snapshot("young".parse().unwrap());
    let op = store.ops().begin("create", &[line]).unwrap();
    assert_eq!(collect(&store).snapshots, ["orphan"]);
    assert_eq!(names(&store, Area::Snap), ["young"]);
    drop(op);
    assert!(names(&store, Area::Snap).is_empty());
}

#[test]
fn partial_downloads_stay_unless_asked() {
    let host = Host::new();
    let store = host.open();
    let digest = digest_of(b"content");
    let op = store.ops().begin("pull", &[]).unwrap();
    let Fetch::Missing(mut partial) = store.blobs().fetch(&op, &digest, 7, &mut |_| true).unwrap()
    else {
        panic!("not here yet");
    };
    partial.append(b"con").unwrap();
    let all = CollectOptions { partials: true };
    assert!(
        store.collect(&all).unwrap().partials.is_empty(),
        "it is running"
    );
    drop((partial, op));
    assert!(collect(&store).partials.is_empty());
    let collected = store.collect(&all).unwrap();
    assert_eq!(collected.partials.values().sum::<u64>(), 3);
    assert!(names(&store, Area::Partial).is_empty());
}

#[test]
fn a_damaged_manifest_is_reported_and_stops_nothing() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let bad = Sample::put(&store, &op, "bad", "bad");
    let good = Sample::put(&store, &op, "good", "good");
    store.refs().set(&bad.entry).unwrap();
    store.refs().set(&good.entry).unwrap();
    op.finish().unwrap();
    crate::write_file(store.blobs().path(&bad.manifest), "torn");
    let collected = collect(&store);
    assert_eq!(collected.damaged.len(), 1);
    assert_eq!(collected.damaged[0].digest, bad.manifest);
    assert!(good.is_whole(&store));
    assert_eq!(store.refs().list().unwrap().len(), 2);
}
