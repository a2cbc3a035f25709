//! What is removed and brought back.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use lamina_store::{
    Area, CollectOptions, Link, Removal, RemovedContainer, Store, Subject, UndoRemovalError, Window,
};
use lamina_types::ContainerId;
use proptest::prelude::*;

use crate::{Host, Sample, names, write_file};

const HOUR: Duration = Duration::from_secs(3600);

fn window(keep: Duration) -> Window {
    Window {
        keep,
        limit: None,
        command: vec!["rmi".to_owned(), "one".to_owned()],
    }
}

fn put(store: &Store, name: &str) -> Sample {
    let op = store.ops().begin("pull", &[]).unwrap();
    let sample = Sample::put(store, &op, name, name);
    store.refs().set(&sample.entry).unwrap();
    op.finish().unwrap();
    sample
}

fn collect(store: &Store) -> u64 {
    store.collect(&CollectOptions::default()).unwrap().bytes()
}

/// Everything in the folders that a removal changes, with the content of files.
fn picture(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut waiting = ["refs", "snap", "containers", "volumes", "removed", "ops"]
        .map(|name| root.join(name))
        .to_vec();
    while let Some(path) = waiting.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
            "folder".to_owned()
        } else if metadata.is_symlink() {
            std::fs::read_link(&path).unwrap().display().to_string()
        } else {
            std::fs::read_to_string(&path).unwrap()
        };
        all.insert(path.display().to_string(), content);
    }
    all
}

fn container(store: &Store, name: &str, sample: &Sample) -> RemovedContainer {
    let id = ContainerId::from_random([name.as_bytes()[0]; 32]);
    let root = store.root().path();
    let make = |path: String, content: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_file(path, content);
    };
    make(format!("containers/{id}/record.json"), "a record");
    make(format!("snap/{id}/upper/file"), "written");
    let pin = serde_json::json!({ "version": 1, "pin": { "diff-ids": [sample.diff_id] } });
    make(format!("snap/{id}/info.json"), &pin.to_string());
    make(format!("volumes/{id}/_data/file"), "kept");
    symlink(format!("../{id}"), root.join("containers/names").join(name)).unwrap();
    RemovedContainer {
        volumes: vec![id.to_string()],
        image: "image".to_owned(),
        name: name.parse().unwrap(),
        id,
    }
}

#[test]
fn a_name_comes_back_as_it_was() {
    let host = Host::new();
    let store = host.open();
    let one = put(&store, "one");
    put(&store, "two");
    let before = picture(host.root());
    let mut removal = Removal::new(&store, &window(HOUR));
    let gone = removal
        .refs(std::slice::from_ref(&one.entry), None)
        .unwrap();
    assert_eq!(gone, std::slice::from_ref(&one.entry.name));
    let id = removal.finish().unwrap().id.unwrap();
    assert_eq!(store.refs().get(&one.entry.name).unwrap(), None);

    assert_eq!(collect(&store), 0, "it is kept");
    assert!(one.is_whole(&store));
    let subject = Subject::Layer(one.diff_id.clone());
    let why = store.why(&subject).unwrap();
    assert!(matches!(&why[0][0], Link::Removed { id: by, .. } if *by == id));
    let listed = store.removed().list().unwrap();
    assert_eq!(listed[0].refs, std::slice::from_ref(&one.entry));
    assert_eq!(listed[0].command, ["rmi", "one"]);
    assert_eq!(listed[0].size, 3, "the content of its layer");

    let found = store.removed().find(Some(&id.as_str()[..4])).unwrap();
    let restored = store.removed().undo(&found).unwrap();
    assert_eq!(restored.names, std::slice::from_ref(&one.entry.name));
    assert_eq!(picture(host.root()), before);
    assert!(matches!(
        store.removed().find(None),
        Err(UndoRemovalError::Nothing)
    ));
}

#[test]
fn a_container_comes_back_with_its_layer_and_volumes() {
    let host = Host::new();
    let store = host.open();
    let one = put(&store, "one");
    let web = container(&store, "web", &one);
    let before = picture(host.root());
    let mut removal = Removal::new(&store, &window(HOUR));
    removal.container(&web).unwrap();
    removal
        .refs(std::slice::from_ref(&one.entry), None)
        .unwrap();
    removal.finish().unwrap();
    for area in [Area::Snap, Area::Volumes, Area::Names, Area::Refs] {
        assert!(names(&store, area).is_empty(), "{area:?}");
    }
    assert_eq!(names(&store, Area::Containers), ["names"]);
    assert_eq!(collect(&store), 0, "the layer is kept for both");
    let space = store.space().unwrap();
    let shares = store.shares(&space).unwrap();
    assert!(space.removed.values().sum::<u64>() > 0 && shares.removed > 0);
    assert_eq!((shares.garbage, shares.held), (0, 0));

    // Somebody takes the name: nothing moves.
    let other = container(&store, "other", &one);
    let named = host.root().join("containers/names/web");
    symlink(format!("../{}", other.id), &named).unwrap();
    let removed = picture(host.root());
    let id = store.removed().find(None).unwrap();
    let error = store.removed().undo(&id).unwrap_err();
    assert!(
        matches!(&error, UndoRemovalError::ContainerNameTaken { container, .. } if other.id.as_str().starts_with(container)),
        "{error}"
    );
    assert_eq!(picture(host.root()), removed);
    std::fs::remove_file(named).unwrap();
    let mut removal = Removal::new(&store, &window(HOUR));
    removal.container(&other).unwrap();
    removal.finish().unwrap();

    store.removed().undo(&id).unwrap();
    let mut after = picture(host.root());
    after.retain(|path, _| !path.contains("/removed/"));
    let mut before = before;
    before.retain(|path, _| !path.contains("/removed/"));
    assert_eq!(after, before);
    assert!(one.is_whole(&store));
}

#[test]
fn a_name_that_was_given_away_is_not_taken_back() {
    let host = Host::new();
    let store = host.open();
    let one = put(&store, "one");
    let two = put(&store, "two");
    let mut removal = Removal::new(&store, &window(HOUR));
    removal
        .refs(&[one.entry.clone(), two.entry.clone()], None)
        .unwrap();
    let id = removal.finish().unwrap().id.unwrap();
    let mut other = two.entry.clone();
    other.name = one.entry.name.clone();
    store.refs().set(&other).unwrap();
    let error = store.removed().undo(&id).unwrap_err();
    assert!(
        matches!(&error, UndoRemovalError::NameTaken { name } if name == "one:latest"),
        "{error}"
    );
    assert_eq!(store.refs().get(&two.entry.name).unwrap(), None);
    store.refs().remove(&other.name).unwrap();
    store.removed().undo(&id).unwrap();
    assert_eq!(store.refs().list().unwrap(), [one.entry, two.entry]);
}

#[test]
fn what_changed_meanwhile_is_not_removed() {
    let host = Host::new();
    let store = host.open();
    let one = put(&store, "one");
    let mut seen = one.entry.clone();
    seen.updated += 1;
    let mut removal = Removal::new(&store, &window(HOUR));
    assert!(removal.refs(&[seen], None).unwrap().is_empty());
    assert!(removal.finish().unwrap().id.is_none());
    assert!(store.refs().get(&one.entry.name).unwrap().is_some());
    assert!(names(&store, Area::Removed).is_empty());
}

#[test]
fn a_removal_that_died_is_settled() {
    let host = Host::new();
    let store = host.open();
    let one = put(&store, "one");
    let web = container(&store, "web", &one);
    // Its folder was moved and nothing else: completed.
    let before = picture(host.root());
    let mut removal = Removal::new(&store, &window(HOUR));
    removal.container(&web).unwrap();
    let id = names(&store, Area::Removed).remove(0);
    let root = host.root();
    let part = |name: &str| root.join(format!("removed/{id}/{name}-{}", web.id));
    rustix::fs::rename(part("snap"), root.join("snap").join(web.id.as_str())).unwrap();
    symlink(format!("../{}", web.id), root.join("containers/names/web")).unwrap();
    drop(removal);
    assert!(names(&store, Area::Names).is_empty() && names(&store, Area::Snap).is_empty());
    store
        .removed()
        .undo(&store.removed().find(None).unwrap())
        .unwrap();
    assert_eq!(picture(host.root()), before);
    // Nothing was taken: the entry goes.
    let mut removal = Removal::new(&store, &window(HOUR));
    removal
        .refs(std::slice::from_ref(&one.entry), None)
        .unwrap();
    store.refs().set(&one.entry).unwrap();
    drop(removal);
    assert_eq!(picture(host.root()), before);
}

#[test]
fn an_undo_that_died_is_finished_or_ended() {
    let host = Host::new();
    let store = host.open();
    let one = put(&store, "one");
    let web = container(&store, "web", &one);
    let before = picture(host.root());
    let root = host.root();
    let remove = || {
        let mut removal = Removal::new(&store, &window(HOUR));
        removal.container(&web).unwrap();
        let id = removal.finish().unwrap().id.unwrap();
        // The layer and the name are back, the folder not yet.
        let part = root.join(format!("removed/{id}/snap-{}", web.id));
        rustix::fs::rename(part, root.join("snap").join(web.id.as_str())).unwrap();
        symlink(format!("../{}", web.id), root.join("containers/names/web")).unwrap();
        id
    };
    store.removed().undo(&remove()).unwrap();
    assert_eq!(picture(host.root()), before);
    remove();
    store.removed().expire(&window(HOUR), true).unwrap();
    for area in [Area::Snap, Area::Volumes, Area::Names, Area::Removed] {
        assert!(names(&store, area).is_empty(), "{area:?}");
    }
}

#[test]
fn time_and_space_are_limited() {
    let host = Host::new();
    let store = host.open();
    let remove = |name: &str, keep| {
        let sample = put(&store, name);
        let mut removal = Removal::new(&store, &window(keep));
        removal
            .refs(std::slice::from_ref(&sample.entry), None)
            .unwrap();
        (sample, removal)
    };
    let policy = window(HOUR);
    let (brief, removal) = remove("brief", Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(5));
    // One that is still being filled is left alone.
    assert!(
        store
            .removed()
            .expire(&policy, false)
            .unwrap()
            .ids
            .is_empty()
    );
    removal.finish().unwrap();
    assert!(store.removed().is_due(&policy).unwrap());
    let expired = store.removed().expire(&policy, false).unwrap();
    assert_eq!(expired.ids.len(), 1);
    assert!(expired.collected.unwrap().bytes() > 0 && !brief.is_whole(&store));

    let (first, removal) = remove("first", HOUR);
    removal.finish().unwrap();
    std::thread::sleep(Duration::from_millis(5));
    let (second, removal) = remove("second", HOUR);
    removal.finish().unwrap();
    assert!(!store.removed().is_due(&policy).unwrap());
    let space = store.space().unwrap();
    let kept = space.removed.values().sum::<u64>() + store.shares(&space).unwrap().removed;
    let policy = Window {
        limit: Some(kept - 1),
        ..window(HOUR)
    };
    store.removed().expire(&policy, false).unwrap();
    assert!(
        !first.is_whole(&store) && second.is_whole(&store),
        "the oldest goes"
    );
    store.removed().expire(&window(HOUR), true).unwrap();
    assert!(!second.is_whole(&store));
}

#[test]
fn without_a_window_everything_goes_at_once() {
    let host = Host::new();
    let store = host.open();
    let one = put(&store, "one");
    let mut removal = Removal::at_once(&store);
    removal
        .refs(std::slice::from_ref(&one.entry), None)
        .unwrap();
    let finished = removal.finish().unwrap();
    assert!(finished.id.is_none() && finished.collected.unwrap().bytes() > 0);
    assert!(!one.is_whole(&store) && names(&store, Area::Removed).is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Remove(u8),
    Undo(u8),
    Collect,
    ExpireAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Step::Put),
        3 => (0..4_u8).prop_map(Step::Remove),
        3 => (0..4_u8).prop_map(Step::Undo),
        2 => Just(Step::Collect),
        1 => Just(Step::ExpireAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is done in whatever order: what has a name or can be brought back is whole, and
    /// bringing back gives exactly what was there.
    #[test]
    fn nothing_that_can_be_brought_back_is_lost(steps in prop::collection::vec(step(), 1..24)) {
        let host = Host::new();
        let store = host.open();
        let mut named: BTreeMap<String, Sample> = BTreeMap::new();
        let mut removed: Vec<(lamina_store::RemovedId, Sample)> = Vec::new();
        for step in steps {
            match step {
                Step::Put(n) => {
                    let name = format!("n{n}");
                    named.insert(name.clone(), put(&store, &name));
                }
                Step::Remove(n) => {
                    if let Some(sample) = named.remove(&format!("n{n}")) {
                        let mut removal = Removal::new(&store, &window(HOUR));
                        removal.refs(std::slice::from_ref(&sample.entry), None).unwrap();
                        removed.push((removal.finish().unwrap().id.unwrap(), sample));
                    }
                }
                Step::Undo(n) if !removed.is_empty() => {
                    let at = usize::from(n) % removed.len();
                    let (id, sample) = removed.remove(at);
                    let name = sample.entry.name.familiar().trim_end_matches(":latest").to_owned();
                    // The same name was put again meanwhile, by the very same document.
                    prop_assert!(store.removed().undo(&id).is_ok());
                    named.insert(name, sample);
                }
                Step::Undo(_) => {}
                Step::Collect => drop(collect(&store)),
                Step::ExpireAll => {
                    store.removed().expire(&window(HOUR), true).unwrap();
                    removed.clear();
                }
            }
            let list = store.refs().list().unwrap();
            let expected: Vec<_> = named.values().map(|sample| sample.entry.clone()).collect();
            prop_assert_eq!(list, expected);
            for sample in named.values().chain(removed.iter().map(|(_, sample)| sample)) {
                prop_assert!(sample.is_whole(&store));
            }
        }
    }
}
