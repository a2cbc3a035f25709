//! A layer in memory is what the unpacker would have written.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lamina_fs::Dir;
use lamina_layer::{
    ApplyError, Kind, LayerKind, LayerTree, Limits, Meta, NodeId, Refusal, TarReader, TarWriter,
    apply,
};
use lamina_testkit::evil_tar::corpus;
use proptest::prelude::*;

/// A node by its path, with the first name of the same node.
type Seen = BTreeMap<PathBuf, (String, PathBuf)>;

/// What either way makes of a tar.
#[derive(Debug, PartialEq)]
struct Outcome {
    tree: Seen,
    implied: Vec<PathBuf>,
    opaque_root: bool,
}

fn in_memory(tar: &[u8]) -> Result<Outcome, ApplyError> {
    let limits = Limits::default();
    let mut reader = TarReader::new(tar, limits.clone());
    let mut layer = LayerTree::new(&limits);
    while let Some(entry) = reader.next_entry().map_err(ApplyError::Tar)? {
        let mut content = Vec::new();
        loop {
            let chunk = reader.chunk().map_err(ApplyError::Tar)?;
            if chunk.is_empty() {
                break;
            }
            content.extend_from_slice(chunk);
        }
        layer.add(entry, content)?;
    }
    reader.finish().map_err(ApplyError::Tar)?;
    Ok(Outcome {
        tree: of_layer(&layer),
        implied: layer.implied(),
        opaque_root: layer.opaque_root(),
    })
}

fn of_layer(layer: &LayerTree<Vec<u8>>) -> Seen {
    let mut paths = vec![(PathBuf::new(), layer.root())];
    let mut at = 0;
    while at < paths.len() {
        let (path, id) = paths[at].clone();
        if let LayerKind::Directory(names) = &layer.node(id).kind {
            let below = names.iter();
            paths.extend(
                below.map(|(name, id)| (path.join(std::ffi::OsStr::from_bytes(name)), *id)),
            );
        }
        at += 1;
    }
    paths.sort();
    let mut first: BTreeMap<NodeId, PathBuf> = BTreeMap::new();
    let described = paths.into_iter().map(|(path, id)| {
        let node = layer.node(id);
        let meta = &node.meta;
        let root_mark = path.as_os_str().is_empty() && layer.opaque_root();
        let kind = match &node.kind {
            LayerKind::Directory(_) if node.opaque || root_mark => "opaque directory".to_owned(),
            LayerKind::Directory(_) => "directory".to_owned(),
            LayerKind::File { size, content } => format!("file {size} {content:?}"),
            LayerKind::Symlink(target) => format!("link {target:?}"),
            LayerKind::Fifo => "fifo".to_owned(),
            LayerKind::Whiteout => "whiteout".to_owned(),
            other => format!("{other:?}"),
        };
        let mode = match node.kind {
            LayerKind::Symlink(_) => 0o777,
            _ => meta.mode,
        };
        let time = if node.implied || node.kind == LayerKind::Whiteout {
            None
        } else {
            // What ext4 can keep.
            Some(meta.mtime.seconds.min(15_032_385_535))
        };
        let text = format!("{kind} {mode:o} {}:{} {time:?}", meta.uid, meta.gid);
        let first = first.entry(id).or_insert_with(|| path.clone()).clone();
        (path, (text, first))
    });
    described.collect()
}

fn unpacked(tar: &[u8]) -> Result<Outcome, ApplyError> {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::create_all(temp.path().join("layer"), 0o755).unwrap();
    let applied = apply(tar, dir.as_fd(), &Limits::default())?;
    Ok(Outcome {
        tree: of_directory(dir.path(), &applied.implied),
        implied: applied.implied,
        opaque_root: applied.opaque_root,
    })
}

fn of_directory(root: &Path, implied: &[PathBuf]) -> Seen {
    let mut paths = vec![PathBuf::new()];
    let mut at = 0;
    while at < paths.len() {
        let path = root.join(&paths[at]);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                paths.push(paths[at].join(entry.unwrap().file_name()));
            }
        }
        at += 1;
    }
    paths.sort();
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let described = paths.into_iter().map(|path| {
        let at = root.join(&path);
        let stat = fs::symlink_metadata(&at).unwrap();
        let kind = stat.file_type();
        let whiteout = kind.is_char_device() && stat.rdev() == 0;
        let kind = if kind.is_dir() {
            let opaque = rustix::fs::lgetxattr(&at, "trusted.overlay.opaque", &mut [0; 1][..]);
            let mark = if opaque.is_ok() { "opaque " } else { "" };
            format!("{mark}directory")
        } else if kind.is_symlink() {
            let target = fs::read_link(&at).unwrap();
            format!("link {:?}", target.as_os_str().as_bytes())
        } else if kind.is_file() {
            let mut content = Vec::new();
            let mut file = fs::File::open(&at).unwrap();
            file.read_to_end(&mut content).unwrap();
            format!("file {} {content:?}", stat.size())
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else {
            "whiteout".to_owned()
        };
        let time = (!whiteout && !implied.contains(&path)).then(|| stat.mtime());
        let mode = stat.mode() & 0o7777;
        let text = format!("{kind} {mode:o} {}:{} {time:?}", stat.uid(), stat.gid());
        let first = first.entry(stat.ino()).or_insert_with(|| path.clone());
        (path, (text, first.clone()))
    });
    described.collect()
}

/// Compares outcomes; of errors, what they say.
fn compare(tar: &[u8]) -> Result<(), String> {
    let shown = |outcome: Result<Outcome, ApplyError>| {
        outcome.map_err(|error| match error {
            // The kernel's words for the same.
            ApplyError::Io { act: "link", .. }
            | ApplyError::Refused {
                refusal: Refusal::BadTarget,
                ..
            } => "a bad link".to_owned(),
            other => other.to_string(),
        })
    };
    let (mut memory, mut disk) = (shown(in_memory(tar)), shown(unpacked(tar)));
    if let (Ok(memory), Ok(disk)) = (&mut memory, &mut disk)
        && has_links(tar)
    {
        // What several paths lead to the unpacker knows by the one it came by.
        memory.implied.clone_from(&disk.implied);
        for text in memory.tree.values_mut().chain(disk.tree.values_mut()) {
            text.0.truncate(text.0.rfind(' ').unwrap());
        }
    }
    if memory == disk {
        return Ok(());
    }
    Err(format!("in memory: {memory:#?}\nunpacked: {disk:#?}"))
}

fn has_links(tar: &[u8]) -> bool {
    let mut reader = TarReader::new(tar, Limits::default());
    let mut next = || reader.next_entry().ok().flatten();
    std::iter::from_fn(&mut next).any(|entry| matches!(entry.kind, Kind::Symlink(_)))
}

/// One entry over very few names, so that entries meet.
#[derive(Debug, Clone)]
enum Step {
    Entry(PathBuf, Kind, u32),
    Hardlink(PathBuf, PathBuf),
    Whiteout(PathBuf),
    Opaque(PathBuf),
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    proptest::collection::vec(name, 1..4).prop_map(|names| names.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    let targets = vec![
        "a",
        "/a",
        "b/c",
        "/b/c",
        "..",
        "/",
        "../a",
        "/no/where",
        "a/b/.",
    ];
    let link = prop::sample::select(targets);
    let link = link.prop_map(|target| Kind::Symlink(target.as_bytes().to_vec()));
    let kind = prop_oneof![
        4 => Just(Kind::Directory),
        4 => Just(Kind::File),
        3 => link,
        1 => Just(Kind::Fifo),
    ];
    prop_oneof![
        10 => (path(), kind, 0..0o1000_u32).prop_map(|(path, kind, mode)| {
            Step::Entry(path, kind, mode)
        }),
        2 => (path(), path()).prop_map(|(path, to)| Step::Hardlink(path, to)),
        3 => path().prop_map(Step::Whiteout),
        1 => path().prop_map(Step::Opaque),
        1 => Just(Step::Opaque(PathBuf::new())),
        1 => (0..0o1000_u32).prop_map(|mode| {
            Step::Entry(PathBuf::from("."), Kind::Directory, mode)
        }),
    ]
}

fn tar(steps: &[Step]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (number, step) in steps.iter().enumerate() {
        let meta = |mode| Meta {
            mode,
            uid: 7,
            mtime: lamina_layer::Time {
                seconds: 1000 + number as i64,
                nanoseconds: 0,
            },
            ..Meta::default()
        };
        match step {
            Step::Entry(path, Kind::Directory, mode) => tar.directory(path, &meta(*mode)).unwrap(),
            Step::Entry(path, Kind::Symlink(to), _) => {
                let to = Path::new(std::ffi::OsStr::from_bytes(to));
                tar.symlink(path, to, &meta(0o777)).unwrap();
            }
            Step::Entry(path, Kind::Fifo, mode) => {
                tar.special(path, &Kind::Fifo, &meta(*mode)).unwrap();
            }
            Step::Entry(path, _, mode) => {
                let content = number.to_string();
                tar.file_bytes(path, &meta(*mode), content.as_bytes())
                    .unwrap();
            }
            Step::Hardlink(path, to) => tar.hardlink(path, to, &meta(0o644)).unwrap(),
            Step::Whiteout(path) => {
                let mut name = std::ffi::OsString::from(".wh.");
                name.push(path.file_name().unwrap());
                let name = path.with_file_name(name);
                tar.file_bytes(name, &Meta::default(), b"").unwrap();
            }
            Step::Opaque(path) => {
                let name = path.join(".wh..wh..opq");
                tar.file_bytes(name, &Meta::default(), b"").unwrap();
            }
        }
    }
    tar.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn privileged_a_layer_in_memory_is_what_would_be_unpacked(
        steps in proptest::collection::vec(step(), 1..14),
    ) {
        compare(&tar(&steps)).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn privileged_hostile_layers_are_refused_alike() {
    let mut wrong = Vec::new();
    for evil in corpus(Path::new("/nowhere")) {
        if let Err(difference) = compare(&evil.tar) {
            wrong.push(format!("{}: {difference}", evil.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
