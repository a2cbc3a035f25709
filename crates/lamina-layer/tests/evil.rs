//! Hostile archives: each is refused or stays inside, and what lies outside is untouched.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(clippy::disallowed_methods, reason = "the tests prepare trees by path")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use lamina_fs::{Dir, Root};
use lamina_layer::{ApplyError, Limits, apply, extract};
use lamina_testkit::evil_tar::{Expect, Head, RawTar, corpus};
use lamina_types::ErrorKind;

/// Everything that must not change: type and mode, owner, time, inode, links, content.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(path) = todo.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let mut line = format!(
            "{:o} {}:{} {}.{} {} {}",
            m.mode(),
            m.uid(),
            m.gid(),
            m.mtime(),
            m.mtime_nsec(),
            m.ino(),
            m.nlink()
        );
        if m.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            let names = rustix::fs::listxattr(&path, &mut [0u8; 0][..]);
            line.push_str(&format!(" {names:?}"));
        } else if m.is_file() {
            line.push_str(&format!(" {:?}", fs::read(&path).unwrap()));
        }
        seen.insert(path, line);
    }
    seen
}

fn outside(temp: &Path) -> PathBuf {
    let outside = temp.join("outside");
    fs::create_dir_all(outside.join("dir")).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    fs::set_permissions(outside.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("secret", outside.join("link")).unwrap();
    outside
}

fn apply_to(target: &Path, tar: &[u8]) -> Result<lamina_layer::Applied, ApplyError> {
    let dir = Dir::create_all(target, 0o755).unwrap();
    apply(tar, dir.as_fd(), &Limits::default())
}

#[test]
fn privileged_hostile_archives_stay_inside() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: needs root to chown and mknod");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let outside = outside(temp.path());
    let before = snapshot(&outside);
    let mut wrong = Vec::new();
    for (n, case) in corpus(&outside).into_iter().enumerate() {
        let target = temp.path().join(format!("deep/er/target{n}"));
        let result = apply_to(&target, &case.tar);
        if snapshot(&outside) != before {
            wrong.push(format!("{}: changed the outside", case.name));
            break;
        }
        match (&case.expect, result) {
            (Expect::Refused, Ok(_)) => wrong.push(format!("{}: was applied", case.name)),
            (Expect::Inside(_), Err(e)) => wrong.push(format!("{}: {e}: {:?}", case.name, e)),
            (Expect::Refused, Err(error)) => {
                assert_ne!(
                    error.kind(),
                    ErrorKind::Internal,
                    "{}: {error:?}",
                    case.name
                );
            }
            (Expect::Inside(paths), Ok(_)) => {
                for path in *paths {
                    let (want, path) = match path.strip_prefix('!') {
                        Some(path) => (false, path),
                        None => (true, *path),
                    };
                    if fs::symlink_metadata(target.join(path)).is_ok() != want {
                        wrong.push(format!("{}: {path:?} exists is not {want}", case.name));
                    }
                }
            }
        }
        assert_no_overlay_attributes(&target, case.name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `cp` does with a tar: no path of it leads out of the tree, which it may change anywhere.
#[test]
fn privileged_hostile_archives_are_extracted_into_the_tree_alone() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: needs root to chown and mknod");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let outside = outside(temp.path());
    let before = snapshot(&outside);
    for (n, case) in corpus(&outside).into_iter().enumerate() {
        let target = temp.path().join(format!("deep/er/root{n}"));
        fs::create_dir_all(target.join("in")).unwrap();
        let root = Root::open_path(&target).unwrap();
        if let Err(error) = extract(&case.tar[..], &root, Path::new("/in"), None) {
            assert_ne!(
                error.kind(),
                ErrorKind::Internal,
                "{}: {error:?}",
                case.name
            );
        }
        assert!(
            snapshot(&outside) == before,
            "{}: changed the outside",
            case.name
        );
    }
}

/// Only our own whiteouts may carry overlayfs' attributes, and only `opaque`.
fn assert_no_overlay_attributes(target: &Path, name: &str) {
    let mut list = [0u8; 4096];
    let mut todo = vec![target.to_path_buf()];
    while let Some(path) = todo.pop() {
        let length = rustix::fs::llistxattr(&path, &mut list[..]).unwrap_or(0);
        let keys = String::from_utf8_lossy(&list[..length]).into_owned();
        assert!(
            !keys.contains("user.overlay") && !keys.contains("redirect"),
            "{name}: {keys}"
        );
        assert!(
            !name.contains("attribute") || !keys.contains("overlay"),
            "{name}: {keys}"
        );
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn privileged_limits_bound_every_resource() {
    let temp = tempfile::tempdir().unwrap();
    let file = |n: usize, size: usize| {
        (0..n)
            .fold(RawTar::default(), |t, i| {
                t.file(&format!("f{i}"), &vec![1; size])
            })
            .end()
    };
    let directories = (0..50)
        .fold(RawTar::default(), |t, i| t.dir(&format!("d{i:0>90}")))
        .end();
    let limits = |set: fn(&mut Limits)| {
        let mut limits = Limits::default();
        set(&mut limits);
        limits
    };
    let sparse = |size: &str, map: &str, content: &[u8]| {
        let records = [
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.map", map.as_bytes()),
        ];
        RawTar::default().pax(&records).file("s", content).end()
    };
    let cases = [
        ("entries", file(11, 0), limits(|l| l.max_entries = 10)),
        ("content", file(3, 5000), limits(|l| l.max_bytes = 10_000)),
        (
            "file size",
            sparse("1000000", "0,1", b"x"),
            limits(|l| l.max_file_size = 999_999),
        ),
        (
            "sparse regions",
            sparse("9", "0,1,2,1,4,1", b"xyz"),
            limits(|l| l.max_sparse_parts = 2),
        ),
        (
            "metadata",
            RawTar::default()
                .pax(&[("comment", &[b'x'; 4096])])
                .file("f", b"")
                .end(),
            limits(|l| l.max_metadata = 4096),
        ),
        (
            "directory names",
            directories,
            limits(|l| l.max_directory_bytes = 1000),
        ),
    ];
    for (n, (name, tar, limits)) in cases.into_iter().enumerate() {
        let dir = Dir::create_all(temp.path().join(n.to_string()), 0o755).unwrap();
        let error = apply(&tar[..], dir.as_fd(), &limits).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::ResourceExhausted,
            "{name}: {error}"
        );
        let dir = Dir::create_all(temp.path().join(format!("ok{n}")), 0o755).unwrap();
        apply(&tar[..], dir.as_fd(), &Limits::default()).unwrap();
    }
}

#[test]
fn privileged_every_damaged_byte_is_an_error_or_stays_inside() {
    let temp = tempfile::tempdir().unwrap();
    let outside = outside(temp.path());
    let before = snapshot(&outside);
    let whole = RawTar::default()
        .dir("d")
        .pax(&[
            ("path", b"d/long"),
            ("mtime", b"1.5"),
            ("SCHILY.xattr.user.a", b"b"),
        ])
        .file("x", b"content")
        .link(b'2', "l", b"d")
        .link(b'1', "h", b"d/long")
        .entry(Head::new(b'6', b"fifo"), b"")
        .end();
    for at in 0..whole.len() {
        let mut tar = whole.clone();
        tar[at] ^= 1 << (at % 8);
        // In place, so that entries also meet what earlier runs left.
        let _ = apply_to(&temp.path().join("target"), &tar);
    }
    assert_eq!(snapshot(&outside), before);
}

#[test]
fn a_failing_source_is_reported_as_such() {
    struct Fails(usize);
    impl std::io::Read for Fails {
        fn read(&mut self, mut buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            }
            self.0 -= 1;
            buffer.write(&RawTar::default().dir("d").unfinished())
        }
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    let error = apply(
        std::io::BufReader::new(Fails(1)),
        dir.as_fd(),
        &Limits::default(),
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}
