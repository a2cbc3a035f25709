//! The power goes out after an acknowledgement: what was acknowledged is there.

use std::io::Read;

use lamina_layer::ObjectId;
use lamina_store::{Area, CollectOptions, Fetch, LayerInfo, Operation, PoolWriter, Store};
use lamina_testkit::{Disk, as_another_boot};
use lamina_types::{DiffId, Digest};

use crate::{Host, Sample, digest_of, names, skip, write_file};

fn download(store: &Store, op: &Operation, content: &[u8]) -> Digest {
    let digest = digest_of(content);
    let size = content.len() as u64;
    let fetch = store.blobs().fetch(op, &digest, size, &mut |_| false);
    let Fetch::Missing(mut partial) = fetch.unwrap() else {
        panic!("the blob is here before it was downloaded");
    };
    partial.append(content).unwrap();
    partial.finish().unwrap();
    digest
}

fn object(n: u8) -> Vec<u8> {
    vec![n; 5000 + usize::from(n)]
}

/// Puts ninety objects into the pool.
fn pool(store: &Store, op: &Operation, first: u8) -> Vec<ObjectId> {
    let mut writer = PoolWriter::new(store, op);
    let ids = (first..first + 90).map(|n| writer.put(&object(n)).unwrap());
    let ids = ids.collect();
    writer.finish().unwrap();
    ids
}

fn content(store: &Store, id: &ObjectId) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = store.pool().open(id).unwrap()?;
    file.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// Objects that were acknowledged are whole; of the others what is there is whole too.
fn objects_are_whole(kind: &str, store: &Store, acknowledged: &[ObjectId]) {
    for id in acknowledged {
        let bytes = content(store, id).expect("an acknowledged object is lost");
        assert_eq!(ObjectId::of(&bytes), *id, "{kind}: an object is damaged");
    }
    for n in 0..90 {
        let id = ObjectId::of(&object(n + 90));
        let bytes = content(store, &id);
        assert!(
            bytes.is_none_or(|bytes| ObjectId::of(&bytes) == id),
            "{kind}: an unsynced object is believed"
        );
    }
}

fn survives(kind: &str) {
    let host = Host::new();
    let disk = match Disk::new(host.root().join("disk"), host.root().join("mount"), kind) {
        Ok(disk) => disk,
        Err(reason) => {
            skip(&reason);
            return;
        }
    };
    let root = disk.path().join("store");
    let store = Store::open(&root).unwrap();
    let op = store.ops().begin("pull", &[]).unwrap();
    let sample = Sample::put(&store, &op, "debian", "one");
    let blob = download(&store, &op, &vec![1; 1 << 20]);
    let pooled = pool(&store, &op, 0);
    store.refs().set(&sample.entry).unwrap();
    // Acknowledged. What comes now is not: a layer that was published but not synced.
    let lost = DiffId(digest_of(b"lost"));
    let draft = store.layers().draft(&op).unwrap();
    write_file(draft.tree().path().join("file"), vec![1; 1 << 20]);
    draft.publish(&op, &lost, &LayerInfo::default()).unwrap();
    let lost_blob = download(&store, &op, &vec![2; 1 << 20]);
    pool(&store, &op, 90);
    op.finish().unwrap();
    drop(store);
    disk.cut_power();

    as_another_boot(&root);
    let store = Store::open(&root).unwrap();
    assert_eq!(
        store.refs().list().unwrap(),
        std::slice::from_ref(&sample.entry)
    );
    assert!(sample.is_whole(&store), "{kind}: the image is damaged");
    let file = store.layers().tree(&sample.diff_id).join("file");
    assert_eq!(std::fs::read(file).unwrap(), b"one");
    assert!(
        !store.layers().contains(&lost).unwrap(),
        "{kind}: an unsynced layer is believed"
    );
    assert!(
        store.blobs().read(&blob, 2 << 20).is_ok(),
        "{kind}: a blob of an acknowledged image is damaged"
    );
    assert!(
        !store.blobs().contains(&lost_blob).unwrap(),
        "{kind}: an unsynced blob is believed"
    );
    objects_are_whole(kind, &store, &pooled);
    assert!(names(&store, Area::Unsynced).is_empty());
    store.refs().remove(&sample.entry.name).unwrap();
    drop(store);
    disk.cut_power();

    let store = Store::open(&root).unwrap();
    assert_eq!(
        store.refs().list().unwrap(),
        [],
        "{kind}: a removed name is back"
    );
    store.collect(&CollectOptions::default()).unwrap();
    assert!(names(&store, Area::Layers).is_empty());
}

#[test]
fn privileged_an_acknowledged_image_survives_on_ext4() {
    survives("ext4");
}

#[test]
fn privileged_an_acknowledged_image_survives_on_xfs() {
    survives("xfs");
}
