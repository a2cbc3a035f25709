//! The ledger: sums that are those of `du`, shares, and chains of owners.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use lamina_fs::Durability;
use lamina_layer::ObjectId;
use lamina_store::{
    Area, CollectOptions, LayerInfo, Line, Link, ObjectKey, Operation, Pin, PoolWriter, Removal,
    Store, Subject, Window, image_key,
};
use lamina_types::DiffId;
use lamina_types::oci::{Descriptor, media};

use crate::{Host, Sample, digest_of, names, write_file};

/// What `du` says: the oracle, made of nothing but the standard library's walk.
fn du(path: &Path) -> u64 {
    fn walk(path: &Path, links: &mut std::collections::HashSet<u64>) -> u64 {
        let Ok(meta) = std::fs::symlink_metadata(path) else {
            return 0;
        };
        if meta.nlink() > 1 && !meta.is_dir() && !links.insert(meta.ino()) {
            return 0;
        }
        let mut sum = meta.blocks() * 512;
        if meta.is_dir() {
            for entry in std::fs::read_dir(path).unwrap().flatten() {
                sum += walk(&entry.path(), links);
            }
        }
        sum
    }
    walk(path, &mut std::collections::HashSet::new())
}

fn pin(store: &Store, id: &str, sample: &Sample) {
    let dir = store.dir(Area::Snap).unwrap().mkdir(id, 0o700).unwrap();
    let hold = Pin {
        diff_ids: vec![sample.diff_id.clone()],
        image: Some(sample.entry.image.clone()),
        manifest: Some(sample.manifest.clone()),
        ..Pin::default()
    };
    let info = serde_json::json!({ "version": 1, "pin": hold });
    let bytes = serde_json::to_vec(&info).unwrap();
    dir.create_exclusive("info.json", &bytes, 0o600, Durability::Volatile)
        .unwrap();
    let upper = dir.mkdir("upper", 0o755).unwrap();
    write_file(upper.path().join("written"), vec![1; 70_000]);
}

/// A layer whose contents are in the pool.
fn pooled(store: &Store, op: &Operation, contents: &[&[u8]]) -> (DiffId, Vec<ObjectKey>) {
    let diff_id = DiffId(digest_of(&contents.concat()));
    let mut writer = PoolWriter::new(store, op);
    let ids: Vec<ObjectId> = contents
        .iter()
        .map(|bytes| writer.put(bytes).unwrap())
        .collect();
    let blocks = writer.finish().unwrap();
    let records = ids.iter().zip(contents).zip(blocks);
    let records = records.map(|((id, bytes), blocks)| lamina_layer::IndexRecord {
        id: *id,
        size: bytes.len() as u64,
        blocks,
    });
    let index = lamina_layer::ObjectIndex::new(records.collect());
    let draft = store.layers().draft_pooled(op).unwrap();
    let info = LayerInfo {
        pooled: true,
        ..LayerInfo::default()
    };
    draft.publish(op, &diff_id, &info).unwrap();
    let idx = store.path(Area::Layers).join(diff_id.0.hex()).join("idx");
    write_file(idx, index.encode());
    (diff_id, ids.iter().map(ObjectKey::from).collect())
}

/// An image over layers that are here.
fn image_of(store: &Store, op: &Operation, name: &str, layers: &[DiffId]) -> Sample {
    let base = Sample::put(store, op, name, name);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "author": name,
        "rootfs": { "type": "layers", "diff_ids": layers },
    });
    let bytes = serde_json::to_vec(&config).unwrap();
    let config = store.blobs().put(op, &bytes).unwrap();
    let config_of = Descriptor::new(media::OCI_CONFIG, config.clone(), bytes.len() as u64);
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config_of, "layers": [],
    });
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let manifest = store.blobs().put(op, &bytes).unwrap();
    let described = Descriptor::new(media::OCI_MANIFEST, manifest.clone(), bytes.len() as u64);
    let mut entry = base.entry.clone();
    entry.image = lamina_types::ImageId(config.clone());
    (entry.target, entry.manifest) = (described.clone(), described);
    store.refs().set(&entry).unwrap();
    Sample {
        entry,
        manifest,
        config,
        blob: Vec::new(),
        diff_id: layers[0].clone(),
    }
}

/// A content that no layer has.
fn pool_content(store: &Store, op: &Operation, content: &[u8]) -> ObjectKey {
    let mut writer = PoolWriter::new(store, op);
    let id = writer.put(content).unwrap();
    writer.finish().unwrap();
    ObjectKey::from(&id)
}

/// Gives an image its name and takes it away; returns what keeps it then.
fn remove(store: &Store, sample: &Sample) -> Link {
    store.refs().set(&sample.entry).unwrap();
    let window = Window {
        keep: Duration::from_secs(3600),
        limit: None,
        command: vec!["rmi".to_owned(), "gone".to_owned()],
    };
    let mut removal = Removal::new(store, &window);
    let going = std::slice::from_ref(&sample.entry);
    removal.refs(going, None).unwrap();
    Link::Removed {
        id: removal.finish().unwrap().id.unwrap(),
        command: "rmi gone".to_owned(),
    }
}

/// A store with something of everything.
fn plant(store: &Store) -> Operation {
    let op = store.ops().begin("pull", &[]).unwrap();
    let shared: &[u8] = &vec![7; 300_000];
    let (one, _) = pooled(store, &op, &[shared, &[1; 50_000]]);
    let (two, _) = pooled(store, &op, &[shared, &[2; 90_000]]);
    image_of(store, &op, "first", std::slice::from_ref(&one));
    image_of(store, &op, "second", std::slice::from_ref(&two));
    image_of(store, &op, "third", &[one, two]);
    let used = Sample::put(store, &op, "used", &"large ".repeat(50_000));
    store.refs().set(&used.entry).unwrap();
    pin(store, "c1", &used);
    // Two names of one file count once.
    let upper = store.path(Area::Snap).join("c1/upper");
    std::fs::hard_link(upper.join("written"), upper.join("again")).unwrap();
    write_file(upper.join("holes"), b"");
    let holes = std::fs::File::options()
        .write(true)
        .open(upper.join("holes"))
        .unwrap();
    holes.set_len(1 << 30).unwrap();
    let key = image_key(std::slice::from_ref(&used.diff_id));
    store
        .dir(Area::Images)
        .unwrap()
        .mkdir(format!("{key}.top"), 0o755)
        .unwrap();
    let log = store.path(Area::Containers).join("c1/log");
    std::fs::create_dir_all(&log).unwrap();
    write_file(log.join("0"), vec![b'x'; 20_000]);
    let data = store.path(Area::Volumes).join("db/_data/deep/er");
    std::fs::create_dir_all(&data).unwrap();
    write_file(data.join("rows"), vec![3; 120_000]);
    let partial = format!("sha256-{}", digest_of(b"coming").hex());
    write_file(store.path(Area::Partial).join(partial), vec![4; 60_000]);
    let gone = store.root().mkdir("gone", 0o700).unwrap();
    write_file(gone.path().join("file"), vec![5; 40_000]);
    store.trash(store.root(), "gone").unwrap();
    op
}

#[test]
fn the_sum_is_what_du_says() {
    let host = Host::new();
    let store = host.open();
    let op = plant(&store);
    // A draft of the operation, and a file of somebody else.
    let draft = store.layers().draft(&op).unwrap();
    write_file(draft.tree().path().join("half"), vec![6; 30_000]);
    write_file(host.root().join("notes.txt"), vec![6; 10_000]);
    write_file(host.root().join("layers/README"), b"mine");
    for round in 0..2 {
        let space = store.space().unwrap();
        let (said, real) = (space.total(), du(host.root()));
        assert!(
            said.abs_diff(real) * 100 <= real,
            "{round}: {said} instead of {real}"
        );
        let foreign: Vec<&String> = space.unaccounted.keys().collect();
        assert_eq!(foreign, ["layers/README", "notes.txt"]);
        assert!(space.trash >= 40_000 && space.ops >= 30_000);
        assert!(space.logs["c1"] >= 20_000);
        assert!(space.partials.values().sum::<u64>() >= 60_000);
    }
    drop(draft);
    op.finish().unwrap();
}

#[test]
fn an_image_has_what_only_it_has_and_what_others_have_too() {
    let host = Host::new();
    let store = host.open();
    plant(&store).finish().unwrap();
    store.collect(&CollectOptions::default()).unwrap();
    let space = store.space().unwrap();
    let shares = store.shares(&space).unwrap();
    assert_eq!(shares.garbage, 0, "{shares:#?}");
    for image in shares.images.values() {
        assert!(image.total >= image.unique && image.unique >= image.freed);
    }
    let of = |name: &str| {
        let mut images = shares.images.values();
        images
            .find(|image| image.names[0].familiar() == format!("{name}:latest"))
            .unwrap()
    };
    // All of its contents are in the third image as well.
    assert!(of("first").total >= 350_000 && of("first").unique < 50_000);
    assert!(of("used").used && of("used").freed == 0 && of("used").unique > 300_000);
    assert!(!of("third").used);

    // What is said to be freed is freed.
    let freed = of("second").freed;
    store.refs().remove(&"second".parse().unwrap()).unwrap();
    store.collect(&CollectOptions::default()).unwrap();
    store.empty_trash().unwrap();
    let after = store.space().unwrap();
    let images = |space: &lamina_store::Space| space.total() - space.own - space.trash;
    assert_eq!(images(&space) - images(&after), freed);

    // With both names of a content gone, so is the content.
    for name in ["first", "third"] {
        store.refs().remove(&name.parse().unwrap()).unwrap();
    }
    store.collect(&CollectOptions::default()).unwrap();
    assert!(store.space().unwrap().objects.is_empty());
}

/// Everything that the collector looks after.
fn everything(store: &Store) -> Vec<Subject> {
    let space = store.space().unwrap();
    let blobs = space.blobs.keys().cloned().map(Subject::Blob);
    let layers = space.layers.keys().cloned().map(Subject::Layer);
    let mut objects: Vec<ObjectKey> = space.objects.keys().copied().collect();
    objects.sort();
    let objects = objects.into_iter().map(Subject::Content);
    let generated = space.generated.keys().cloned().map(Subject::Generated);
    let snapshots = space.snapshots.keys().cloned().map(Subject::Snapshot);
    let all = blobs.chain(layers).chain(objects);
    all.chain(generated).chain(snapshots).collect()
}

#[test]
fn what_has_no_chain_is_what_the_collector_takes() {
    let host = Host::new();
    let store = host.open();
    plant(&store).finish().unwrap();
    let op = store.ops().begin("pull", &[]).unwrap();
    let leased = Sample::put(&store, &op, "leased", "leased");
    let free = Sample::put(&store, &op, "free", "free");
    pooled(&store, &op, &[&[9; 5_000]]);
    let lease = Line::Image(leased.manifest.clone());
    let other = store.ops().begin("push", &[lease]).unwrap();
    op.finish().unwrap();
    store
        .dir(Area::Snap)
        .unwrap()
        .mkdir("orphan", 0o700)
        .unwrap();
    store
        .dir(Area::Images)
        .unwrap()
        .mkdir("0badc0de.top", 0o700)
        .unwrap();
    store.refs().remove(&"first".parse().unwrap()).unwrap();

    let all = everything(&store);
    let (kept, doomed): (Vec<Subject>, Vec<Subject>) = all
        .into_iter()
        .partition(|subject| !store.why(subject).unwrap().is_empty());
    assert!(doomed.contains(&Subject::Layer(free.diff_id)), "{doomed:?}");
    assert!(kept.contains(&Subject::Layer(leased.diff_id)), "{kept:?}");
    store.collect(&CollectOptions::default()).unwrap();
    assert_eq!(everything(&store), kept);
    other.finish().unwrap();
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "what is planted and the chains expected of it are read side by side"
)]
fn every_owner_is_named() {
    let host = Host::new();
    let store = host.open();
    let op = store.ops().begin("pull", &[]).unwrap();
    let (layer, keys) = pooled(&store, &op, &[&[1; 9_000], &[2; 9_000]]);
    let pooled_image = image_of(&store, &op, "pooled", std::slice::from_ref(&layer));
    let named = Sample::put(&store, &op, "named", "named");
    store.refs().set(&named.entry).unwrap();
    let used = Sample::put(&store, &op, "used", "used");
    pin(&store, "c1", &used);
    let many = Sample::put(&store, &op, "many", "many");
    let index = serde_json::json!({
        "schemaVersion": 2, "manifests": [many.entry.manifest],
    });
    let index = serde_json::to_vec(&index).unwrap();
    let index = store.blobs().put(&op, &index).unwrap();
    let mut entry = many.entry.clone();
    entry.target.digest = index.clone();
    store.refs().set(&entry).unwrap();
    let pushed = Sample::put(&store, &op, "pushed", "pushed");
    let coming = digest_of(b"coming");
    write_file(
        store
            .path(Area::Partial)
            .join(format!("sha256-{}", coming.hex())),
        b"half",
    );
    let lost = Sample::put(&store, &op, "lost", "lost");
    let generated = format!("{}.top", image_key(std::slice::from_ref(&named.diff_id)));
    let images = store.dir(Area::Images).unwrap();
    images.mkdir(&generated, 0o755).unwrap();
    let loose = pool_content(&store, &op, &[3; 9_000]);
    let gone = Sample::put(&store, &op, "gone", "gone");
    let removed = remove(&store, &gone);
    op.finish().unwrap();
    let lines = [
        Line::Image(pushed.manifest.clone()),
        Line::Blob(coming.clone()),
        Line::Objects(vec![loose]),
    ];
    let running = store.ops().begin("push", &lines).unwrap();

    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let operation = Link::Operation {
        kind: "push".to_owned(),
        pid,
    };
    let name = |sample: &Sample| Link::Name(sample.entry.name.clone());
    let container = Link::Container("c1".to_owned());
    let manifest = |sample: &Sample| Link::Manifest(sample.manifest.clone());
    let config = |sample: &Sample| Link::Config(sample.config.clone());
    let tree = |sample: &Sample| Link::Layer(sample.diff_id.clone());
    let packed = |sample: &Sample| Link::Blob(digest_of(&sample.blob));
    let blob = |link: &Link| match link {
        Link::Manifest(digest)
        | Link::Config(digest)
        | Link::Blob(digest)
        | Link::Index(digest) => Subject::Blob(digest.clone()),
        Link::Layer(diff_id) => Subject::Layer(diff_id.clone()),
        Link::Content(key) => Subject::Content(*key),
        Link::Partial(digest) => Subject::Partial(digest.clone()),
        Link::Snapshot(id) => Subject::Snapshot(id.clone()),
        Link::Generated(name) => Subject::Generated(name.clone()),
        other => panic!("{other} is a root"),
    };
    let mut cases: Vec<Vec<Link>> = Vec::new();
    for (root, sample) in [
        (name(&named), &named),
        (container.clone(), &used),
        (operation.clone(), &pushed),
        (removed, &gone),
    ] {
        cases.push(vec![root.clone(), manifest(sample)]);
        for last in [config(sample), packed(sample), tree(sample)] {
            cases.push(vec![root.clone(), manifest(sample), last]);
        }
    }
    let top = Link::Index(index);
    cases.push(vec![name(&many), top.clone()]);
    cases.push(vec![name(&many), top.clone(), manifest(&many)]);
    for last in [config(&many), packed(&many), tree(&many)] {
        cases.push(vec![name(&many), top.clone(), manifest(&many), last]);
    }
    for key in keys {
        let chain = [
            name(&pooled_image),
            manifest(&pooled_image),
            Link::Layer(layer.clone()),
        ];
        cases.push([&chain[..], &[Link::Content(key)]].concat());
    }
    cases.push(vec![container, Link::Snapshot("c1".to_owned())]);
    cases.push(vec![operation.clone(), Link::Partial(coming)]);
    cases.push(vec![operation, Link::Content(loose)]);
    let made_of = [name(&named), manifest(&named), Link::Generated(generated)];
    cases.push(made_of.to_vec());
    assert!(cases.len() >= 20, "{}", cases.len());
    for chain in &cases {
        let subject = blob(chain.last().unwrap());
        assert_eq!(
            store.why(&subject).unwrap(),
            std::slice::from_ref(chain),
            "{subject}"
        );
    }
    for link in [manifest(&lost), config(&lost), packed(&lost), tree(&lost)] {
        assert_eq!(store.why(&blob(&link)).unwrap(), [[]; 0], "{link}");
    }
    running.finish().unwrap();
}

#[test]
fn things_are_found_by_digest_and_by_path() {
    let host = Host::new();
    let store = host.open();
    plant(&store).finish().unwrap();
    let space = store.space().unwrap();
    for subject in everything(&store) {
        let path = match &subject {
            Subject::Blob(digest) => format!("oci/blobs/sha256/{}", digest.hex()),
            Subject::Layer(diff_id) => format!("layers/{}", diff_id.0.hex()),
            Subject::Content(key) => format!("pool/{}", key.path()),
            Subject::Generated(name) => format!("images/{name}"),
            Subject::Snapshot(id) => format!("snap/{id}/upper"),
            other => panic!("{other}"),
        };
        let whole = host.root().join(&path).display().to_string();
        assert_eq!(
            store.subjects(&path).unwrap(),
            std::slice::from_ref(&subject)
        );
        assert_eq!(store.subjects(&whole).unwrap(), [subject]);
    }
    let blob = space.blobs.keys().next().unwrap();
    assert_eq!(
        store.subjects(&blob.to_string()).unwrap(),
        [Subject::Blob(blob.clone())]
    );
    assert_eq!(
        store.subjects(&blob.hex()[..20]).unwrap(),
        [Subject::Blob(blob.clone())]
    );
    let content = ObjectId::of(&vec![7; 300_000]);
    let found = store.subjects(&content.to_string()).unwrap();
    assert_eq!(found, [Subject::Content(ObjectKey::from(&content))]);
    assert_eq!(
        store.why(&found[0]).unwrap().len(),
        3,
        "three images have it"
    );
    for nothing in ["", "zz", "abc", "/etc/passwd", "../x", "sha256:0123456789"] {
        assert!(store.subjects(nothing).is_err(), "{nothing:?}");
    }
    assert_eq!(names(&store, Area::Trash).len(), 1);
    let trashed = format!("trash/{}", names(&store, Area::Trash)[0]);
    assert_eq!(store.subjects(&trashed).unwrap(), [Subject::Trash]);
}
