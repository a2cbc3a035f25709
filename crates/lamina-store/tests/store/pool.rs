//! The pool, and layers made tars again: from a tree, from the pool, in odd cases.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests damage the store behind its back"
)]

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use lamina_layer::{Kind, Limits, Meta, ObjectId, SparsePart, TarWriter, apply_keeping, split};
use lamina_store::{
    Area, CollectOptions, LayerError, LayerInfo, Line, ObjectKey, Operation, PoolError, PoolWriter,
    Store,
};
use lamina_types::{DiffId, ErrorKind};

use crate::{Host, digest_of, names, write_file};

fn put(store: &Store, op: &Operation, contents: &[Vec<u8>]) -> Vec<ObjectId> {
    let mut writer = PoolWriter::new(store, op);
    let ids = contents.iter().map(|c| writer.put(c).unwrap());
    let ids = ids.collect();
    let blocks = writer.finish().unwrap();
    assert_eq!(blocks.len(), contents.len());
    assert!(blocks.iter().all(|blocks| *blocks > 0));
    ids
}

fn read(store: &Store, id: &ObjectId) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = store.pool().open(id).unwrap()?;
    file.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

fn path_of(store: &Store, id: &ObjectId) -> std::path::PathBuf {
    store.pool().path().join(ObjectKey::from(id).path())
}

fn samples(seed: u8, count: usize) -> Vec<Vec<u8>> {
    let one = |n: usize| {
        let mut bytes = vec![seed; 5000 + n];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        bytes
    };
    (0..count).map(one).collect()
}

/// Makes the markers those of another boot.
fn reboot(host: &Host) -> Store {
    let dir = lamina_fs::Dir::open(host.root().join("unsynced")).unwrap();
    for entry in dir.entries().unwrap() {
        let name = entry.name.into_string().unwrap();
        let foreign = format!("another-boot.{}", name.split_once('.').unwrap().1);
        dir.rename_to(&name, &dir, foreign, lamina_fs::Durability::Volatile)
            .unwrap();
    }
    host.open()
}

#[test]
fn a_content_is_stored_once_and_cannot_be_written() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let contents = [samples(1, 200), samples(1, 3), vec![vec![7; 3 << 20]]].concat();
    let ids = put(&store, &op, &contents);
    for (id, content) in ids.iter().zip(&contents) {
        assert!(read(&store, id).as_ref() == Some(content));
        let meta = std::fs::metadata(path_of(&store, id)).unwrap();
        assert_eq!(
            (meta.permissions().mode() & 0o7777, meta.nlink()),
            (0o400, 1)
        );
        assert!(store.pool().contains(id, content.len() as u64).unwrap());
        assert!(!store.pool().contains(id, 5).unwrap());
    }
    let inode = |id| std::fs::metadata(path_of(&store, id)).unwrap().ino();
    let before: Vec<u64> = ids.iter().map(inode).collect();
    put(&store, &op, &contents);
    assert!(ids.iter().map(inode).eq(before));
    assert!(read(&store, &ObjectId::of(b"nothing")).is_none());
    op.finish().unwrap();
}

#[test]
fn a_hit_is_compared_and_damage_is_repaired() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let contents = samples(2, 2);
    let ids = put(&store, &op, &contents);
    // Cut short, as a filesystem without a journal may leave it.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(path_of(&store, &ids[0]))
        .unwrap();
    file.set_len(10).unwrap();
    put(&store, &op, &contents);
    assert!(read(&store, &ids[0]).as_ref() == Some(&contents[0]));
    // Another content by that name: what 128 equal bits would be.
    std::fs::rename(path_of(&store, &ids[1]), path_of(&store, &ids[0])).unwrap();
    let mut writer = PoolWriter::new(&store, &op);
    writer.put(&contents[0]).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, PoolError::Collision { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    assert!(store.pool().open(&ids[0]).is_err());
}

#[test]
fn what_is_here_is_found_among_many_new_contents() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let contents = samples(7, 300);
    // So far into the layer that nothing is looked for any more before it is written.
    let here = put(&store, &op, &contents[250..260]);
    let cut = path_of(&store, &here[0]);
    let file = std::fs::OpenOptions::new().write(true).open(cut);
    file.unwrap().set_len(10).unwrap();
    let inode = |id| path_of(&store, id).metadata().unwrap().ino();
    let before: Vec<u64> = here.iter().map(inode).collect();
    let ids = put(&store, &op, &contents);
    let after: Vec<u64> = here.iter().map(inode).collect();
    assert_ne!(before[0], after[0], "damage is replaced");
    assert_eq!(before[1..], after[1..], "the rest stays as it was");
    for (id, content) in ids.iter().zip(&contents) {
        assert!(read(&store, id).as_ref() == Some(content));
    }
}

#[test]
fn leased_contents_stay_and_others_are_collected() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let contents = samples(3, 300);
    let ids = put(&store, &op, &contents);
    let collect = || store.collect(&CollectOptions::default()).unwrap();
    assert_eq!(collect().objects, 0);
    let whole = store.ops().begin("pull", &[Line::Pool]).unwrap();
    op.finish().unwrap();
    assert_eq!(collect().objects, 0);
    whole.finish().unwrap();
    let kept = ObjectKey::from(&ids[5]);
    let lease = store.ops().begin("pull", &[Line::Objects(vec![kept])]);
    let collected = collect();
    assert_eq!(collected.objects, 299);
    let sum: usize = contents.iter().map(Vec::len).sum();
    assert_eq!(collected.object_bytes, (sum - contents[5].len()) as u64);
    assert!(read(&store, &ids[5]).is_some() && read(&store, &ids[6]).is_none());
    lease.unwrap().finish().unwrap();
    assert_eq!(collect().objects, 1);
}

#[test]
fn contents_that_were_not_synced_before_a_reboot_are_looked_at() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let (synced, later) = (samples(4, 3), samples(5, 3));
    let synced = put(&store, &op, &synced);
    store.sync().unwrap();
    assert!(names(&store, Area::Unsynced).is_empty());
    let ids = put(&store, &op, &later);
    assert_eq!(names(&store, Area::Unsynced).len(), 1);
    // The length is right and the bytes are not; a synced one is not looked at.
    let damage = |id| {
        let path = path_of(&store, id);
        let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all(&[0; 100]).unwrap();
    };
    damage(&ids[1]);
    damage(&synced[1]);
    op.finish().unwrap();
    let store = reboot(&host);
    let here = |id: &ObjectId| store.pool().open(id).unwrap().is_some();
    assert!(here(&ids[0]) && !here(&ids[1]) && here(&ids[2]));
    assert!(here(&synced[1]));
    assert!(names(&store, Area::Unsynced).is_empty());
}

fn meta() -> Meta {
    Meta {
        mode: 0o644,
        ..Meta::default()
    }
}

/// A tar whose entries replace each other in every way.
fn odd_tar() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let file = |tar: &mut TarWriter<Vec<u8>>, name: &str, byte: u8, len: usize| {
        tar.file_bytes(name, &meta(), &vec![byte; len]).unwrap();
    };
    file(&mut tar, "small", 1, 10);
    file(&mut tar, "twice", 2, 5000);
    file(&mut tar, "twice", 3, 5000);
    file(&mut tar, "d/gone/deep", 4, 6000);
    file(&mut tar, "d/gone/deep2", 5, 3001);
    file(&mut tar, "d/gone", 6, 10);
    tar.directory("one", &meta()).unwrap();
    tar.directory("two", &meta()).unwrap();
    tar.symlink("link", "one", &meta()).unwrap();
    file(&mut tar, "link/through", 7, 5000);
    tar.symlink("link", "two", &meta()).unwrap();
    file(&mut tar, "link/through", 8, 5000);
    tar.hardlink("hard", "one/through", &meta()).unwrap();
    for byte in [9, 10] {
        let parts = vec![SparsePart {
            offset: 40960,
            length: 1500,
        }];
        let kind = Kind::Sparse {
            size: 1 << 30,
            parts,
        };
        tar.append(b"holes", &kind, &meta(), 1500, &mut &[byte; 1500][..])
            .unwrap();
    }
    tar.file_bytes(".wh.gone", &meta(), &[1; 4000]).unwrap();
    tar.finish().unwrap()
}

fn even_tar() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    tar.directory("d", &meta()).unwrap();
    tar.file_bytes("d/small", &meta(), b"small").unwrap();
    tar.file_bytes("d/large", &meta(), &[5; 70_000]).unwrap();
    tar.file_bytes("huge", &meta(), &vec![6; 3 << 20]).unwrap();
    tar.symlink("link", "d", &meta()).unwrap();
    tar.file_bytes("link/via", &meta(), &[7; 5000]).unwrap();
    tar.special("fifo", &Kind::Fifo, &meta()).unwrap();
    let parts = vec![SparsePart {
        offset: 4096,
        length: 10,
    }];
    let kind = Kind::Sparse { size: 9999, parts };
    tar.append(b"holes", &kind, &meta(), 10, &mut &[1; 10][..])
        .unwrap();
    tar.finish().unwrap()
}

fn in_tree(store: &Store, op: &Operation, tar: &[u8]) -> DiffId {
    let diff_id = DiffId(digest_of(tar));
    let draft = store.layers().draft(op).unwrap();
    let result = split(tar, draft.split().unwrap(), &mut (), &Limits::default()).unwrap();
    let replaced = draft.replaced().unwrap();
    let (tree, limits) = (draft.tree().as_fd(), Limits::default());
    let applied = apply_keeping(tar, tree, replaced.as_fd(), &limits).unwrap();
    assert_eq!(applied.blocks.len(), result.objects.len());
    draft.index(&result.index(&applied.blocks)).unwrap();
    let info = LayerInfo {
        size: applied.bytes,
        ..LayerInfo::default()
    };
    draft.publish(op, &diff_id, &info).unwrap();
    diff_id
}

fn in_pool(store: &Store, op: &Operation, tar: &[u8]) -> DiffId {
    let diff_id = DiffId(digest_of(tar));
    let draft = store.layers().draft_pooled(op).unwrap();
    let mut writer = PoolWriter::new(store, op);
    let file = draft.split().unwrap();
    let result = split(tar, file, &mut writer, &Limits::default()).unwrap();
    let blocks = writer.finish().unwrap();
    assert_eq!(blocks.len(), result.objects.len());
    draft.index(&result.index(&blocks)).unwrap();
    let info = LayerInfo {
        pooled: true,
        ..LayerInfo::default()
    };
    draft.publish(op, &diff_id, &info).unwrap();
    diff_id
}

#[test]
fn privileged_every_layer_becomes_its_tar_again() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let (odd, even) = (odd_tar(), even_tar());
    for (tar, replaced) in [(&odd, true), (&even, false)] {
        let diff_id = in_tree(&store, &op, tar);
        let folder = host.root().join("layers").join(diff_id.0.hex());
        assert_eq!(folder.join("replaced").exists(), replaced);
        let mut again = Vec::new();
        store.layers().rebuild(&diff_id, &mut again).unwrap();
        assert!(again == *tar);
        std::fs::remove_dir_all(&folder).unwrap();
        in_pool(&store, &op, tar);
        assert!(!folder.join("plain").exists());
        assert!(store.layers().get(&diff_id).unwrap().unwrap().info.pooled);
        let mut again = Vec::new();
        store.layers().rebuild(&diff_id, &mut again).unwrap();
        assert!(again == *tar);
    }
    op.finish().unwrap();
}

#[test]
fn privileged_a_changed_tree_is_told() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let diff_id = in_tree(&store, &op, &even_tar());
    let tree = store.layers().tree(&diff_id);
    let rebuild = || store.layers().rebuild(&diff_id, std::io::sink());
    write_file(tree.join("d/large"), vec![4; 70_000]);
    let error = rebuild().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error:?}");
    // A fifo in its place is not opened.
    std::fs::remove_file(tree.join("d/large")).unwrap();
    std::fs::rename(tree.join("fifo"), tree.join("d/large")).unwrap();
    let error = rebuild().unwrap_err();
    assert!(matches!(error, LayerError::Rebuild { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::DataLoss);
    let index = store.layers().index(&diff_id).unwrap().unwrap();
    assert_eq!(index.records().len(), 4);
    // The kernel's own count, not a guess.
    let large = index.get(&ObjectId::of(&[5; 70_000])).unwrap();
    assert!(large.blocks >= 70_000 / 512, "{large:?}");
}

#[test]
fn pooled_layers_hold_their_contents() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let diff_id = in_pool(&store, &op, &even_tar());
    op.finish().unwrap();
    let hold = store
        .ops()
        .begin("run", &[Line::Layer(diff_id.clone())])
        .unwrap();
    let collected = store.collect(&CollectOptions::default()).unwrap();
    assert_eq!((collected.objects, collected.layers.len()), (0, 0));
    store.layers().rebuild(&diff_id, std::io::sink()).unwrap();
    // A damaged index is read from the stream; without that, it is reported and stops nothing.
    let index = host.root().join("layers").join(diff_id.0.hex()).join("idx");
    write_file(&index, b"rubbish");
    let collected = store.collect(&CollectOptions::default()).unwrap();
    assert_eq!((collected.objects, collected.damaged), (0, vec![]));
    store.layers().rebuild(&diff_id, std::io::sink()).unwrap();
    write_file(index.with_file_name("split.zst"), b"rubbish");
    let damaged = store.collect(&CollectOptions::default()).unwrap().damaged;
    assert_eq!(damaged[0].digest, diff_id.0);
    hold.finish().unwrap();
    let collected = store.collect(&CollectOptions::default()).unwrap();
    assert_eq!(collected.layers.len(), 1);
    assert!(store.layers().get(&diff_id).unwrap().is_none());
}

/// Makes a layer's tar of these contents and puts them into the pool by it.
fn split_of(store: &Store, op: &Operation, contents: &[Vec<u8>]) -> Vec<u64> {
    let mut tar = TarWriter::new(Vec::new());
    for (number, content) in contents.iter().enumerate() {
        let name = number.to_string();
        tar.file_bytes(name, &Meta::default(), content).unwrap();
    }
    let tar = tar.finish().unwrap();
    let mut writer = PoolWriter::new(store, op);
    split(tar.as_slice(), Vec::new(), &mut writer, &Limits::default()).unwrap();
    writer.finish().unwrap()
}

#[test]
fn long_contents_are_stored_whether_the_layer_is_known_or_not() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let long = |seed: u8, length: usize| {
        let mut bytes: Vec<u8> = (0..length)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        bytes[0] = seed;
        bytes
    };
    let known = [samples(3, 150), vec![long(1, 2 << 20), long(2, 5 << 20)]].concat();
    let first = split_of(&store, &op, &known);
    // Most of it is here, so that long contents are held until it is known whether they are.
    let new = [long(4, 3 << 20), long(5, 900 << 10), long(6, 2 << 20)];
    let second = [known.clone(), new.to_vec(), known.clone()].concat();
    let blocks = split_of(&store, &op, &second);
    assert_eq!(blocks[..known.len()], first);
    assert_eq!(blocks[known.len() + new.len()..], first);
    for content in &second {
        let found = read(&store, &ObjectId::of(content));
        assert!(found.as_ref() == Some(content));
    }
    op.finish().unwrap();
}
