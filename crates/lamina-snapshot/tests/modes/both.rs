//! The same layers in both modes, and from one to the other.

use std::path::{Path, PathBuf};

use lamina_layer::{Kind, Meta, TarWriter, Time};
use lamina_snapshot::conformance::compare_mounted;
use lamina_snapshot::{ImageLayers, KnownTrees, PrepareOptions, StorageMode, open};
use lamina_store::{CollectOptions, Store};
use lamina_types::{Rootfs, Source};
use proptest::prelude::*;

use crate::support::{ingest, ingest_pooled, skip};

/// Opens a store in both modes; none where one does not work.
macro_rules! both {
    ($store:expr) => {
        match (
            open($store, StorageMode::Plain),
            open($store, StorageMode::Erofs),
        ) {
            (Ok(plain), Ok(erofs)) => (plain, erofs),
            (Err(error), _) | (_, Err(error)) => {
                skip(&error);
                return Ok(());
            }
        }
    };
}

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// One entry of a layer over few names, so that layers meet.
#[derive(Debug, Clone)]
enum Step {
    Entry(PathBuf, Kind, u32, usize),
    Whiteout(PathBuf),
    Opaque(PathBuf),
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name = prop::sample::select(vec!["a", "b", "etc"]);
    proptest::collection::vec(name, 1..4).prop_map(|names| names.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        4 => Just(Kind::Directory),
        4 => Just(Kind::File),
        1 => Just(Kind::Symlink(b"a/b".to_vec())),
        1 => Just(Kind::Fifo),
    ];
    let length = prop::sample::select(vec![0_usize, 10, 1024, 1025, 5000]);
    prop_oneof![
        10 => (path(), kind, 0..0o1000_u32, length).prop_map(|(path, kind, mode, length)| {
            Step::Entry(path, kind, mode, length)
        }),
        3 => path().prop_map(Step::Whiteout),
        1 => path().prop_map(Step::Opaque),
    ]
}

/// Returns the tar of a layer; entries that contradict earlier ones are left out.
fn tar(number: u8, steps: &[Step]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let mut seen: Vec<(&Path, bool)> = Vec::new();
    for step in steps {
        let (path, directory) = match step {
            Step::Entry(path, kind, ..) => (path, *kind == Kind::Directory),
            Step::Whiteout(path) => (path, false),
            Step::Opaque(path) => (path, true),
        };
        // What an entry of the same layer replaced is the unpacker's own test.
        let inside_file = seen
            .iter()
            .any(|(known, is_directory)| path.starts_with(known) && !is_directory);
        let above = !directory && seen.iter().any(|(known, _)| known.starts_with(path));
        if inside_file || above {
            continue;
        }
        seen.push((path, directory));
        put(&mut tar, number, step);
    }
    tar.finish().unwrap()
}

fn put(tar: &mut TarWriter<Vec<u8>>, number: u8, step: &Step) {
    let seconds = 1000 + i64::from(number);
    let mut meta = Meta {
        uid: number.into(),
        mtime: Time {
            seconds,
            nanoseconds: 0,
        },
        ..Meta::default()
    };
    match step {
        Step::Entry(path, kind, mode, length) => {
            meta.mode = *mode;
            if matches!(kind, Kind::File | Kind::Directory) && length % 2 == 0 {
                let value = length.to_string().into_bytes();
                meta.xattrs.push((b"user.lamina.test".to_vec(), value));
            }
            match kind {
                Kind::Directory => tar.directory(path, &meta).unwrap(),
                Kind::File => {
                    let content = vec![number + b'0'; *length];
                    tar.file_bytes(path, &meta, &content).unwrap();
                }
                Kind::Symlink(_) => tar.symlink(path, "a/b", &meta).unwrap(),
                other => tar.special(path, other, &meta).unwrap(),
            }
        }
        Step::Whiteout(path) => {
            let name = format!(".wh.{}", path.file_name().unwrap().display());
            let name = path.with_file_name(name);
            tar.file_bytes(name, &meta, b"").unwrap();
        }
        Step::Opaque(path) => {
            let name = path.join(".wh..wh..opq");
            tar.file_bytes(name, &meta, b"").unwrap();
        }
    }
}

fn check(layers: &[Vec<Step>]) -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let (plain, erofs) = both!(&store);
    let tars = layers.iter().zip(0..).map(|(layer, n)| tar(n, layer));
    let mut image = ImageLayers::default();
    for (number, tar) in tars.enumerate() {
        // Either form is where the other comes from.
        let ingest = [ingest, ingest_pooled][number % 2];
        image.diff_ids.push(ingest(&store, &tar)?);
    }
    compare_mounted(&plain.view(&image)?, &erofs.view(&image)?)?;
    let options = PrepareOptions { volatile: true };
    let one = plain.prepare(&"plain".parse()?, &image, &options)?;
    let other = erofs.prepare(&"erofs".parse()?, &image, &options)?;
    compare_mounted(&one, &other)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 25,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn privileged_random_layers_are_the_same_tree_in_both_modes(
        layers in proptest::collection::vec(proptest::collection::vec(step(), 1..10), 1..5),
    ) {
        check(&layers).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}

#[test]
fn privileged_a_snapshot_stays_in_the_mode_it_was_made_in() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let (plain, erofs) = both!(&store);
    let mut tar = TarWriter::new(Vec::new());
    tar.file_bytes("f", &Meta::default(), &[b'x'; 5000])?;
    let image = ImageLayers {
        diff_ids: vec![ingest_pooled(&store, &tar.finish()?)?],
        ..ImageLayers::default()
    };
    let options = PrepareOptions::default();
    let one = plain.prepare(&"one".parse()?, &image, &options)?;
    let two = erofs.prepare(&"two".parse()?, &image, &options)?;
    assert_eq!(erofs.get(&"one".parse()?)?, one);
    assert_eq!(plain.get(&"two".parse()?)?, two);
    let is_image = |rootfs: &Rootfs| match rootfs {
        Rootfs::Overlay { lowers, .. } => matches!(lowers[..], [Source::Erofs { .. }]),
        Rootfs::Dir(_) => false,
    };
    assert_eq!((is_image(&one), is_image(&two)), (false, true));
    Ok(())
}

#[test]
fn privileged_contents_of_a_converted_layer_are_not_collected() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let (plain, erofs) = both!(&store);
    let mut tar = TarWriter::new(Vec::new());
    tar.file_bytes("large", &Meta::default(), &vec![b'x'; 2 << 20])?;
    tar.file_bytes("small", &Meta::default(), b"x")?;
    let image = ImageLayers {
        diff_ids: vec![ingest(&store, &tar.finish()?)?],
        ..ImageLayers::default()
    };
    let id = "c1".parse()?;
    let rootfs = erofs.prepare(&id, &image, &PrepareOptions::default())?;
    store.collect(&CollectOptions::default())?;
    compare_mounted(&plain.view(&image)?, &erofs.view(&image)?)?;
    assert_eq!(erofs.get(&id)?, rootfs);
    Ok(())
}

#[test]
fn privileged_a_layer_of_an_older_store_is_used_as_a_tree() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let (plain, erofs) = both!(&store);
    let mut image = ImageLayers::default();
    for (name, ingest) in [
        ("old", ingest as fn(&Store, &[u8]) -> _),
        ("new", ingest_pooled),
    ] {
        let mut tar = TarWriter::new(Vec::new());
        tar.file_bytes(name, &Meta::default(), &[b'x'; 5000])?;
        image.diff_ids.push(ingest(&store, &tar.finish()?)?);
    }
    let layer = dir.path().join("layers").join(image.diff_ids[0].0.hex());
    for file in ["split.zst", "idx"] {
        std::fs::remove_file(layer.join(file))?;
    }
    erofs.ready(&image, &KnownTrees::new())?;
    let (one, two) = ("one".parse()?, "two".parse()?);
    let rootfs = erofs.prepare(&one, &image, &PrepareOptions::default())?;
    assert_eq!(erofs.get(&one)?, rootfs);
    compare_mounted(
        &rootfs,
        &plain.prepare(&two, &image, &PrepareOptions::default())?,
    )?;
    compare_mounted(&plain.view(&image)?, &erofs.view(&image)?)
}
