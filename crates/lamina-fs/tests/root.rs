//! Trees of strangers: nothing leads out, whatever they hold and whoever renames meanwhile.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare and inspect trees by path"
)]

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lamina_fs::Root;
use lamina_types::ErrorKind;
use rustix::fs::{CWD, OFlags, RenameFlags};

struct Hostile {
    _temp: tempfile::TempDir,
    root: Root,
    inside: PathBuf,
    outside: PathBuf,
}

fn hostile() -> Hostile {
    let temp = tempfile::tempdir().unwrap();
    let (inside, outside) = (temp.path().join("root"), temp.path().join("outside"));
    fs::create_dir_all(inside.join("etc")).unwrap();
    fs::create_dir_all(outside.join("dir")).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    fs::write(inside.join("etc/passwd"), b"root").unwrap();
    let links = [
        ("abs", "/etc"),
        ("up", "../../../../../../etc"),
        ("loop", "loop"),
        ("a", "b"),
        ("b", "a"),
        ("out", outside.to_str().unwrap()),
        ("magic", "/proc/self/root"),
        ("dangling", "/run/not/yet"),
        ("chain", "abs/../abs/passwd"),
    ];
    for (name, target) in links {
        symlink(target, inside.join(name)).unwrap();
    }
    let root = Root::open_path(&inside).unwrap();
    Hostile {
        _temp: temp,
        root,
        inside,
        outside,
    }
}

fn identity(fd: &OwnedFd) -> (u64, u64) {
    let stat = rustix::fs::fstat(fd).unwrap();
    (stat.st_dev, stat.st_ino)
}

fn at(path: &Path) -> (u64, u64) {
    let m = fs::symlink_metadata(path).unwrap();
    (m.dev(), m.ino())
}

#[test]
fn links_resolve_as_after_a_chroot() {
    let h = hostile();
    for path in [
        "etc/passwd",
        "/etc/passwd",
        "abs/passwd",
        "up/passwd",
        "chain",
        "../../etc/passwd",
        "etc/../../etc/passwd",
    ] {
        assert_eq!(h.root.read(path, 100).unwrap(), b"root", "{path}");
        let fd = h.root.open(path, OFlags::PATH).unwrap();
        assert_eq!(identity(&fd), at(&h.inside.join("etc/passwd")), "{path}");
    }
    for path in [
        "loop",
        "loop/x",
        "a",
        "out/secret",
        "magic/etc",
        "dangling",
        "etc/passwd/x",
    ] {
        assert!(h.root.open(path, OFlags::PATH).is_err(), "{path}");
    }
    let root = h.root.open("", OFlags::PATH).unwrap();
    assert_eq!(identity(&root), at(&h.inside));
}

#[test]
fn magic_links_are_refused() {
    let proc = Root::open_path("/proc").unwrap();
    for path in ["self/root/etc", "self/cwd", "self/exe", "self/fd/0"] {
        let error = proc.open(path, OFlags::PATH).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::FailedPrecondition,
            "{path}: {error:?}"
        );
    }
}

#[test]
fn parents_are_opened_and_the_last_component_is_left() {
    let h = hostile();
    let (parent, name) = h.root.open_parent("abs/new/").unwrap();
    assert_eq!(
        (identity(&parent), name.to_str()),
        (at(&h.inside.join("etc")), Some("new"))
    );
    let (parent, name) = h.root.open_parent("loop").unwrap();
    assert_eq!(
        (identity(&parent), name.to_str()),
        (at(&h.inside), Some("loop"))
    );
    for path in ["", "/", ".", "..", "etc/..", "etc/."] {
        let error = h.root.open_parent(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{path}");
    }
}

#[test]
fn directories_are_made_inside_only() {
    let h = hostile();
    let cases = [
        ("x/y/z", "x/y/z"),
        ("/abs/sub", "etc/sub"),
        ("up/../up/sub2", "etc/sub2"),
        ("dangling/here", "run/not/yet/here"),
        ("../../top", "top"),
        ("x/../w/./v", "w/v"),
    ];
    for (path, real) in cases {
        let fd = h.root.create_dir_all(path, 0o750, None).unwrap();
        assert_eq!(identity(&fd), at(&h.inside.join(real)), "{path}");
        assert_eq!(
            fs::metadata(h.inside.join(real)).unwrap().mode() & 0o7777,
            0o750
        );
    }
    let out = h.root.create_dir_all("out/new", 0o755, None).unwrap();
    let inner = h
        .inside
        .join(h.outside.strip_prefix("/").unwrap())
        .join("new");
    assert_eq!(
        identity(&out),
        at(&inner),
        "an absolute link's target is made inside"
    );
    for path in ["loop/x", "a/b", "etc/passwd/x", "magic/x/\0"] {
        assert!(h.root.create_dir_all(path, 0o755, None).is_err(), "{path}");
    }
    assert_eq!(fs::read_dir(&h.outside).unwrap().count(), 2);
    let mut made = Vec::new();
    h.root
        .create_dir_all_noting("abs/p/q", 0o755, None, &mut made)
        .unwrap();
    assert_eq!(made, [PathBuf::from("etc/p"), PathBuf::from("etc/p/q")]);
}

#[test]
fn files_are_made_where_missing_and_taken_as_they_are_where_not() {
    let h = hostile();
    h.root.ensure_file("m/n/file").unwrap();
    assert_eq!(fs::read(h.inside.join("m/n/file")).unwrap(), b"");
    let kept = h.root.ensure_file("chain").unwrap();
    assert_eq!(identity(&kept), at(&h.inside.join("etc/passwd")));
    symlink("/outside-file", h.inside.join("dang")).unwrap();
    h.root.ensure_file("dang").unwrap();
    assert!(h.inside.join("outside-file").exists());
    assert!(h.root.ensure_file("loop").is_err());
}

#[test]
fn read_refuses_what_is_no_file_and_does_not_block() {
    let h = hostile();
    let fifo = h.inside.join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    fs::File::create(h.inside.join("huge"))
        .unwrap()
        .set_len(2 << 30)
        .unwrap();
    let start = Instant::now();
    for path in ["fifo", "etc", "huge", "loop"] {
        assert!(h.root.read(path, 1 << 20).is_err(), "{path}");
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// The racer of CVE-2021-30465 and CVE-2024-45310: a directory and a link to the outside change
/// places as fast as they can. Calls may fail; what they open or make must be inside.
#[test]
fn exchanging_a_directory_with_a_link_leads_nowhere() {
    let h = hostile();
    fs::create_dir(h.inside.join("dir")).unwrap();
    let (dir, link) = (h.inside.join("dir"), h.inside.join("out"));
    let done = AtomicBool::new(false);
    let secret = at(&h.outside.join("secret"));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE);
                thread::sleep(Duration::from_micros(20));
            }
        });
        let mut bad = Vec::new();
        let start = Instant::now();
        for n in 0..300 {
            if start.elapsed() > Duration::from_secs(3) {
                break;
            }
            if let Ok(fd) = h.root.open("dir/secret", OFlags::PATH) {
                bad.extend((identity(&fd) == secret).then_some("opened"));
            }
            let _ = h.root.create_dir_all(format!("dir/new{n}/x"), 0o755, None);
            let _ = h.root.ensure_file(format!("dir/file{n}"));
            if let Ok((parent, _)) = h.root.open_parent("dir/x") {
                bad.extend((identity(&parent) == at(&h.outside)).then_some("parent"));
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(bad.is_empty(), "{bad:?}");
    });
    assert_eq!(fs::read_dir(&h.outside).unwrap().count(), 2);
    assert!(h.root.as_fd().try_clone_to_owned().is_ok());
}
