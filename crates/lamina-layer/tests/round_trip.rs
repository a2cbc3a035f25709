//! Trees to tars and back: ours to ours, ours to GNU tar and Python, GNU tar's dialects to ours.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare and inspect trees by path"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use lamina_fs::Dir;
use lamina_layer::{Applied, Kind, Limits, Meta, SparsePart, TarReader, TarWriter, Time, apply};
use proptest::prelude::*;

fn apply_to(target: &Path, tar: &[u8]) -> Applied {
    let dir = Dir::create_all(target, 0o755).unwrap();
    apply(tar, dir.as_fd(), &Limits::default()).unwrap()
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0u8; 1024];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

/// One file of a generated tree.
#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    meta: Meta,
    content: Vec<u8>,
}

fn node() -> impl Strategy<Value = Node> {
    let time = (-2_000_000_000i64..9_000_000_000, 0u32..1_000_000_000).prop_map(
        |(seconds, nanoseconds)| Time {
            seconds,
            nanoseconds,
        },
    );
    let value = proptest::collection::vec(any::<u8>(), 0..40);
    let xattrs = proptest::collection::btree_map("user\\.[a-z]{1,8}", value, 0..3);
    let meta = (0u32..0o10000, 0u32..u32::MAX, 0u32..5_000_000, time, xattrs).prop_map(
        |(mode, uid, gid, mtime, xattrs)| {
            let xattrs = xattrs
                .into_iter()
                .map(|(k, v)| (k.into_bytes(), v))
                .collect();
            Meta {
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            }
        },
    );
    let content = proptest::collection::vec(any::<u8>(), 0..3000);
    let kind = prop_oneof![
        4 => Just(Kind::File),
        2 => Just(Kind::Directory),
        2 => proptest::collection::vec(1u8..255, 1..300).prop_map(Kind::Symlink),
        1 => Just(Kind::Fifo),
        1 => (1u32..255, 0u32..255).prop_map(|(major, minor)| Kind::Char { major, minor }),
        1 => proptest::collection::vec((1u64..100_000, 1u64..600), 0..5).prop_map(sparse),
    ];
    (kind, meta, content).prop_map(|(kind, mut meta, content)| {
        if !matches!(kind, Kind::File | Kind::Directory | Kind::Sparse { .. }) {
            meta.xattrs.clear();
        }
        let content = match &kind {
            Kind::File => content,
            Kind::Sparse { parts, .. } => {
                let stored: u64 = parts.iter().map(|p| p.length).sum();
                (0..stored)
                    .map(|n| u8::try_from(n % 251).unwrap() + 1)
                    .collect()
            }
            _ => Vec::new(),
        };
        Node {
            kind,
            meta,
            content,
        }
    })
}

fn sparse(gaps: Vec<(u64, u64)>) -> Kind {
    let mut parts = Vec::new();
    let mut size = 0;
    for (gap, length) in gaps {
        parts.push(SparsePart {
            offset: size + gap,
            length,
        });
        size += gap + length;
    }
    Kind::Sparse {
        size: size + 5000,
        parts,
    }
}

/// Trees of directories named `d…` with anything inside; names long enough for every header form.
fn tree() -> impl Strategy<Value = BTreeMap<Vec<u8>, Node>> {
    let name = prop_oneof![
        5 => "[a-z]{1,6}".prop_map(String::into_bytes),
        1 => "[a-zé ]{90,120}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(1u8..255, 1..20)
            .prop_map(|v| v.into_iter().map(|b| if b == b'/' { b'_' } else { b }).collect()),
    ];
    let safe = name.prop_filter("not special", |n: &Vec<u8>| {
        !n.starts_with(b".") && !n.starts_with(b".wh.")
    });
    let path = proptest::collection::vec(safe, 1..4).prop_map(|parts| parts.join(&b'/'));
    proptest::collection::btree_map(path, node(), 1..25).prop_map(|mut tree| {
        // A path below another makes that other one a directory.
        let paths: Vec<_> = tree.keys().cloned().collect();
        for path in &paths {
            for at in (0..path.len()).filter(|at| path[*at] == b'/') {
                if let Some(above) = tree.get_mut(&path[..at]) {
                    above.kind = Kind::Directory;
                    above.content.clear();
                }
            }
        }
        tree
    })
}

fn write(tree: &BTreeMap<Vec<u8>, Node>) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (path, node) in tree {
        let stored = node.content.len() as u64;
        tar.append(path, &node.kind, &node.meta, stored, &mut &node.content[..])
            .unwrap();
    }
    tar.finish().unwrap()
}

fn check(root: &Path, path: &[u8], node: &Node) {
    let at = root.join(OsStr::from_bytes(path));
    let m = fs::symlink_metadata(&at).unwrap();
    let meta = &node.meta;
    assert_eq!((m.uid(), m.gid()), (meta.uid, meta.gid), "{at:?}");
    // Within the 34 bits of seconds that ext4 keeps.
    assert_eq!(
        (m.mtime(), m.mtime_nsec()),
        (meta.mtime.seconds, meta.mtime.nanoseconds.into()),
        "{at:?}"
    );
    let links = matches!(node.kind, Kind::Symlink(_));
    assert!(
        links || m.mode() & 0o7777 == meta.mode,
        "{at:?} {:o} {:o}",
        m.mode(),
        meta.mode
    );
    for (name, value) in &meta.xattrs {
        assert_eq!(
            xattr(&at, std::str::from_utf8(name).unwrap()).as_ref(),
            Some(value)
        );
    }
    match &node.kind {
        Kind::File => assert_eq!(fs::read(&at).unwrap(), node.content),
        Kind::Directory => assert!(m.is_dir()),
        Kind::Symlink(to) => assert_eq!(fs::read_link(&at).unwrap().as_os_str().as_bytes(), to),
        Kind::Fifo => assert!(m.file_type().is_fifo()),
        Kind::Char { major, minor } => assert_eq!(m.rdev(), rustix::fs::makedev(*major, *minor)),
        Kind::Sparse { size, parts } => {
            let mut want = vec![0; usize::try_from(*size).unwrap()];
            let mut from = 0;
            for part in parts {
                let (offset, length) = (
                    usize::try_from(part.offset).unwrap(),
                    usize::try_from(part.length).unwrap(),
                );
                want[offset..offset + length].copy_from_slice(&node.content[from..from + length]);
                from += length;
            }
            assert_eq!(fs::read(&at).unwrap(), want);
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn privileged_a_tree_survives_tar_and_apply(tree in tree()) {
        let temp = tempfile::tempdir().unwrap();
        let tar = write(&tree);
        prop_assert_eq!(&tar, &write(&tree), "the same bytes for the same tree");
        let target = temp.path().join("t");
        let applied = apply_to(&target, &tar);
        prop_assert_eq!(applied.entries, tree.len() as u64);
        prop_assert_eq!(applied.tar_bytes, tar.len() as u64);
        for (path, node) in &tree {
            check(&target, path, node);
        }
        for implied in &applied.implied {
            let m = fs::metadata(target.join(implied)).unwrap();
            prop_assert_eq!((m.mode() & 0o7777, m.uid(), m.gid()), (0o755, 0, 0));
            prop_assert!(!tree.contains_key(implied.as_os_str().as_bytes()));
        }
    }

    #[test]
    fn what_is_written_is_read(tree in tree()) {
        let tar = write(&tree);
        let mut reader = TarReader::new(&tar[..], Limits::default());
        for (path, node) in &tree {
            let entry = reader.next_entry().unwrap().unwrap();
            let mut want = path.clone();
            if node.kind == Kind::Directory {
                want.push(b'/');
            }
            prop_assert_eq!(&entry.path, &want);
            prop_assert_eq!(&entry.kind, &node.kind);
            prop_assert_eq!(&entry.meta, &node.meta);
            let mut content = Vec::new();
            loop {
                let chunk = reader.chunk().unwrap();
                if chunk.is_empty() { break; }
                content.extend_from_slice(chunk);
            }
            prop_assert_eq!(&content, &node.content);
        }
        prop_assert!(reader.next_entry().unwrap().is_none());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096), flag in any::<u8>()) {
        let mut head = lamina_testkit::evil_tar::Head::new(flag, b"n");
        for (at, byte) in bytes.iter().take(40).enumerate() {
            head = head.bytes(100 + usize::from(*byte) % 400, &bytes[at..at + 1]);
        }
        let tar = lamina_testkit::evil_tar::RawTar::default().claiming(head, &bytes).end();
        let mut reader = TarReader::new(&tar[..], Limits::default());
        while let Ok(Some(_)) = reader.next_entry() {}
    }

    #[test]
    fn python_and_gnu_tar_list_what_we_list(tree in tree()) {
        let tar = write(&tree);
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("t.tar");
        fs::write(&file, &tar).unwrap();
        let script = "import sys,tarfile\nfor m in tarfile.open(sys.argv[1], errors='surrogateescape', encoding='utf-8'):\n sys.stdout.buffer.write(b'%s %d %d %d %o\\0' % (m.name.encode('utf-8','surrogateescape'), m.size, m.uid, m.gid, m.mode))";
        let Ok(python) = Command::new("python3").args(["-c", script]).arg(&file).output() else {
            eprintln!("SKIP: no python3 to compare with");
            return Ok(());
        };
        let ours: Vec<u8> = tree.iter().flat_map(|(path, node)| {
            let size = match &node.kind { Kind::Sparse { size, .. } => *size, _ => node.content.len() as u64 };
            let m = &node.meta;
            [&path[..], format!(" {size} {} {} {:o}\0", m.uid, m.gid, m.mode).as_bytes()].concat()
        }).collect();
        prop_assert_eq!(String::from_utf8_lossy(&python.stdout), String::from_utf8_lossy(&ours), "{}", String::from_utf8_lossy(&python.stderr));
        let gnu = Command::new("tar").args(["--quoting-style=literal", "-tf"]).arg(&file).output().unwrap();
        prop_assert!(gnu.status.success(), "{}", String::from_utf8_lossy(&gnu.stderr));
        let lines: usize = tree.keys().map(|p| 1 + p.iter().filter(|b| **b == b'\n').count()).sum();
        prop_assert_eq!(gnu.stdout.iter().filter(|b| **b == b'\n').count(), lines);
    }
}

/// A tree with everything a distribution's has, made by the system's tools.
fn system_tree(root: &Path) {
    let script = r#"
        set -e; cd "$1"; umask 022
        mkdir -p usr/bin etc tmp "deep/$(printf 'n%.0s' $(seq 1 120))/$(printf 'm%.0s' $(seq 1 130))"
        chmod 1777 tmp; echo x > etc/file; chmod 0640 etc/file; chown 12:34 etc/file
        cp /bin/true usr/bin/su; chmod 4755 usr/bin/su
        ln etc/file etc/hard; ln -s ../etc/file usr/link; ln -s "$(printf 'l%.0s' $(seq 1 150))" usr/longlink
        ln etc/file "deep/$(printf 'n%.0s' $(seq 1 120))/$(printf 'm%.0s' $(seq 1 130))/hard"
        mkfifo tmp/fifo; mknod tmp/null c 1 3; mknod tmp/loop b 7 0
        truncate -s 3M sparse; printf hello | dd of=sparse bs=1 seek=1048576 conv=notrunc status=none; printf end | dd of=sparse bs=1 seek=3000000 conv=notrunc status=none
        truncate -s 1M hole
        chown 3000000:4000000 hole; touch -d '2001-02-03 04:05:06.789012345' etc/file; touch -d '1969-01-01' hole
        setfattr -n user.note -v hi usr/bin/su 2>/dev/null || true
        setcap cap_net_raw+ep usr/bin/su 2>/dev/null || true
        touch -d '1999-01-01' tmp usr/bin
    "#;
    assert!(
        Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(root)
            .status()
            .unwrap()
            .success()
    );
}

fn listing(root: &Path, nanoseconds: bool) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(path) = todo.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let time = if nanoseconds { m.mtime_nsec() } else { 0 };
        let mut line = format!(
            "{:o} {}:{} {}.{time} {:x}",
            m.mode(),
            m.uid(),
            m.gid(),
            m.mtime(),
            m.rdev()
        );
        if m.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            line.push_str(&format!(" {} {}", m.len(), m.nlink()));
        }
        if m.is_file() {
            line.push_str(&format!(
                " {:?}",
                fs::read(&path)
                    .unwrap()
                    .iter()
                    .map(|b| u64::from(*b))
                    .sum::<u64>()
            ));
            line.push_str(&format!(
                " {:?} {:?}",
                xattr(&path, "user.note"),
                xattr(&path, "security.capability")
            ));
        }
        seen.insert(path.strip_prefix(root).unwrap().to_path_buf(), line);
    }
    seen
}

#[test]
fn privileged_gnu_tars_of_every_format_come_out_the_same() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: needs root to chown and mknod");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    system_tree(&source);
    let formats: [(&[&str], bool); 6] = [
        (&["--format=gnu", "-S"], false),
        (&["--format=gnu"], false),
        (&["--format=pax"], true),
        (&["--format=pax", "-S", "--sparse-version=0.0"], true),
        (&["--format=pax", "-S", "--sparse-version=0.1"], true),
        (&["--format=pax", "-S", "--sparse-version=1.0"], true),
    ];
    for (n, (options, pax)) in formats.into_iter().enumerate() {
        let xattrs: &[&str] = if pax {
            &["--xattrs", "--xattrs-include=*"]
        } else {
            &[]
        };
        let tar = Command::new("tar")
            .args(options)
            .args(xattrs)
            .arg("-cf")
            .arg("-")
            .arg("-C")
            .arg(&source)
            .arg(".")
            .output()
            .unwrap();
        assert!(
            tar.status.success(),
            "{options:?}: {}",
            String::from_utf8_lossy(&tar.stderr)
        );
        let target = temp.path().join(format!("t{n}"));
        let applied = apply_to(&target, &tar.stdout);
        assert_eq!(applied.implied, Vec::<PathBuf>::new());
        let (mut want, mut got) = (listing(&source, pax), listing(&target, pax));
        for lines in [&mut want, &mut got] {
            for line in lines.values_mut().filter(|_| !pax) {
                // The GNU format holds no attributes.
                *line = line.split(" Some").next().unwrap().replace(" None", "");
            }
        }
        assert_eq!(got, want, "{options:?}");
        if options.contains(&"-S") {
            let blocks = fs::metadata(target.join("sparse")).unwrap().blocks();
            assert!(
                blocks < 200,
                "{options:?}: sparse stays sparse, has {blocks} blocks"
            );
        }
    }
}

#[test]
fn privileged_whiteouts_become_overlay_forms_and_parents_are_implied() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("t");
    let meta = Meta {
        mode: 0o644,
        ..Meta::default()
    };
    let mut tar = TarWriter::new(Vec::new());
    for path in [
        "a/b/.wh.gone",
        "a/opaque/.wh..wh..opq",
        "a/opaque/new",
        ".wh..wh..opq",
        "a/.wh.dir",
    ] {
        tar.file_bytes(path, &meta, b"").unwrap();
    }
    tar.directory(
        "a/dir",
        &Meta {
            mode: 0o750,
            ..Meta::default()
        },
    )
    .unwrap();
    let tar = tar.finish().unwrap();
    let applied = apply_to(&target, &tar);
    assert!(applied.opaque_root);
    assert_eq!(
        applied.implied,
        ["", "a", "a/b", "a/opaque"].map(PathBuf::from)
    );
    let gone = fs::symlink_metadata(target.join("a/b/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    for opaque in ["a/opaque", "a/dir"] {
        let mark = xattr(&target.join(opaque), "trusted.overlay.opaque");
        assert_eq!(mark.as_deref(), Some(&b"y"[..]), "{opaque}");
    }
    assert_eq!(xattr(&target.join("a"), "trusted.overlay.opaque"), None);
}

#[test]
fn privileged_links_inside_a_layer_resolve_inside_it() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("t");
    let meta = Meta {
        mode: 0o755,
        mtime: Time {
            seconds: 7,
            nanoseconds: 8,
        },
        ..Meta::default()
    };
    let mut tar = TarWriter::new(Vec::new());
    tar.directory("var", &meta).unwrap();
    tar.symlink("var/run", "/run", &meta).unwrap();
    tar.file_bytes("var/run/lock/pid", &meta, b"1").unwrap();
    tar.hardlink("pid", "var/run/lock/pid", &meta).unwrap();
    let applied = apply_to(&target, &tar.finish().unwrap());
    assert_eq!(fs::read(target.join("run/lock/pid")).unwrap(), b"1");
    assert_eq!(fs::metadata(target.join("pid")).unwrap().nlink(), 2);
    assert!(applied.implied.contains(&PathBuf::from("run")));
    let var = fs::metadata(target.join("var")).unwrap();
    assert_eq!(
        (var.mtime(), var.mtime_nsec()),
        (7, 8),
        "set after its content"
    );
}
