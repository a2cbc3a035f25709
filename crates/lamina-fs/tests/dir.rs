//! Directories of ours: what is published whole, what is refused, what a removal reaches.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare and inspect trees by path"
)]
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lamina_fs::{Dir, Durability};
use lamina_types::ErrorKind;
use rustix::fs::{CWD, RenameFlags};

fn scratch() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    (temp, dir)
}

fn names(dir: &Dir) -> Vec<String> {
    let mut names: Vec<_> = dir
        .entries()
        .unwrap()
        .into_iter()
        .map(|e| e.name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn replace_swaps_the_whole_file_and_sets_the_mode() {
    let (temp, dir) = scratch();
    for durability in [Durability::Durable, Durability::Volatile] {
        dir.replace("state.json", b"long first content", 0o600, durability)
            .unwrap();
        dir.replace("state.json", b"short", 0o664, durability)
            .unwrap();
        let meta = fs::metadata(temp.path().join("state.json")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o664);
        assert_eq!(dir.read("state.json", 100).unwrap(), b"short");
    }
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        1,
        "no temporary is left"
    );
}

#[test]
fn readers_never_see_a_half_written_file() {
    let (_temp, dir) = scratch();
    let dir = &dir;
    let content = |n: u8| vec![n; 64 * 1024];
    dir.replace("f", &content(0), 0o600, Durability::Volatile)
        .unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=200 {
                dir.replace("f", &content(n), 0o600, Durability::Volatile)
                    .unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let seen = dir.read("f", 1 << 20).unwrap();
            assert!(seen.len() == 64 * 1024 && seen.iter().all(|b| *b == seen[0]));
        }
    });
}

#[test]
fn create_exclusive_has_one_winner() {
    let (_temp, dir) = scratch();
    let dir = &dir;
    let wins: usize = thread::scope(|scope| {
        let racers: Vec<_> = (0..8u8)
            .map(|n| {
                scope.spawn(move || {
                    let made = dir.create_exclusive("name", &[n; 100], 0o644, Durability::Durable);
                    match made {
                        Ok(()) => 1,
                        Err(error) => {
                            assert!(error.is_already_exists(), "{error}");
                            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                            0
                        }
                    }
                })
            })
            .collect();
        racers.into_iter().map(|r| r.join().unwrap()).sum()
    });
    assert_eq!(wins, 1);
    assert_eq!(dir.read("name", 100).unwrap().len(), 100);
    assert_eq!(names(dir), ["name"]);
}

#[test]
fn names_with_components_are_refused() {
    let (temp, dir) = scratch();
    fs::create_dir(temp.path().join("sub")).unwrap();
    for bad in ["", ".", "..", "a/b", "/etc/passwd", "../x", "sub/"] {
        let v = Durability::Volatile;
        assert_eq!(
            dir.replace(bad, b"", 0o600, v).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
        assert!(dir.create_exclusive(bad, b"", 0o600, v).is_err(), "{bad}");
        assert!(dir.unlink(bad).is_err(), "{bad}");
        assert!(dir.mkdir(bad, 0o700).is_err(), "{bad}");
        assert!(dir.rename_to("sub", &dir, bad, v).is_err(), "{bad}");
        assert!(dir.remove_tree(bad).is_err(), "{bad}");
    }
    assert!(temp.path().join("sub").is_dir());
}

#[test]
fn read_takes_regular_files_within_the_limit_only() {
    let (temp, dir) = scratch();
    let path = |name: &str| temp.path().join(name);
    fs::write(path("file"), [7; 100]).unwrap();
    symlink("file", path("link")).unwrap();
    fs::create_dir(path("dir")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(path("fifo"))
            .status()
            .unwrap()
            .success()
    );
    fs::File::create(path("huge"))
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert_eq!(dir.read("file", 100).unwrap().len(), 100);
    assert_eq!(
        dir.read("file", 99).unwrap_err().kind(),
        ErrorKind::ResourceExhausted
    );
    assert_eq!(
        dir.read("huge", 1 << 20).unwrap_err().kind(),
        ErrorKind::ResourceExhausted
    );
    let start = Instant::now();
    for name in [
        "link",
        "dir",
        "fifo",
        "missing",
        "file/x",
        "../x",
        "/dev/zero",
    ] {
        let error = dir.read(name, 100).unwrap_err();
        assert!(
            error.to_string().contains(name.trim_start_matches('/')),
            "{error}"
        );
    }
    assert!(start.elapsed() < Duration::from_secs(2));
    // procfs says size 0 and has content.
    let proc = Dir::open("/proc/self").unwrap();
    assert!(!proc.read("status", 1 << 20).unwrap().is_empty());
}

#[test]
fn open_at_follows_no_link_and_leaves_by_no_dots() {
    let (temp, dir) = scratch();
    fs::create_dir_all(temp.path().join("a/b")).unwrap();
    symlink("/etc", temp.path().join("etc")).unwrap();
    symlink("a", temp.path().join("l")).unwrap();
    assert_eq!(dir.open_at("a/b").unwrap().path(), temp.path().join("a/b"));
    for bad in ["etc", "l", "l/b", "..", "a/../..", "/etc"] {
        assert!(dir.open_at(bad).is_err(), "{bad}");
    }
}

#[test]
fn mkdir_and_ensure_dir_set_the_mode_whatever_the_umask() {
    let (temp, dir) = scratch();
    dir.mkdir("sticky", 0o1777).unwrap();
    dir.ensure_dir("kept", 0o711).unwrap();
    dir.ensure_dir("kept", 0o700).unwrap();
    assert!(dir.mkdir("kept", 0o700).unwrap_err().is_already_exists());
    let mode = |n: &str| fs::metadata(temp.path().join(n)).unwrap().mode() & 0o7777;
    assert_eq!((mode("sticky"), mode("kept")), (0o1777, 0o711));
    let deep = Dir::create_all(temp.path().join("x/y/z"), 0o700).unwrap();
    assert_eq!(deep.path(), temp.path().join("x/y/z"));
}

#[test]
fn temporaries_are_hidden_and_swept_when_old() {
    let (temp, dir) = scratch();
    fs::write(temp.path().join(".tmp-1-0"), b"half").unwrap();
    fs::write(temp.path().join("whole"), b"").unwrap();
    assert_eq!(names(&dir), ["whole"]);
    assert_eq!(dir.sweep_temporaries(Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!(dir.sweep_temporaries(Duration::ZERO).unwrap(), 1);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn unnamed_files_appear_when_published() {
    use std::io::Write;
    let (_temp, dir) = scratch();
    let mut file = dir.unnamed_file(0o600).unwrap();
    file.write_all(b"x").unwrap();
    assert!(names(&dir).is_empty());
    dir.publish(&file, "seen").unwrap();
    assert_eq!(dir.read("seen", 10).unwrap(), b"x");
    assert!(dir.publish(&file, "seen").unwrap_err().is_already_exists());
}

#[test]
fn remove_tree_takes_links_as_themselves_and_any_depth() {
    let (temp, dir) = scratch();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("canary"), b"alive").unwrap();
    let tree = dir.mkdir("tree", 0o755).unwrap();
    symlink(outside.path(), temp.path().join("tree/out")).unwrap();
    fs::create_dir(temp.path().join("tree/sealed")).unwrap();
    fs::set_permissions(
        temp.path().join("tree/sealed"),
        fs::Permissions::from_mode(0o000),
    )
    .unwrap();
    let mut level = tree;
    for n in 0..400 {
        level
            .replace("file", b"x", 0o600, Durability::Volatile)
            .unwrap();
        level = level
            .mkdir(OsStr::new(&format!("d{}", n % 7)), 0o700)
            .unwrap();
    }
    drop(level);
    dir.remove_tree("tree").unwrap();
    dir.remove_tree("tree").unwrap();
    assert!(!temp.path().join("tree").exists());
    symlink(outside.path(), temp.path().join("link")).unwrap();
    dir.remove_tree("link").unwrap();
    assert_eq!(fs::read(outside.path().join("canary")).unwrap(), b"alive");
}

#[test]
fn two_may_remove_the_same_tree() {
    let root = tempfile::tempdir().unwrap();
    let dir = Dir::open(root.path()).unwrap();
    for _ in 0..100 {
        for folder in 0..20 {
            let path = root.path().join(format!("tree/{folder}/a/b/c"));
            fs::create_dir_all(&path).unwrap();
            fs::File::create(path.join("file")).unwrap();
        }
        thread::scope(|scope| {
            let remove = || dir.remove_tree("tree").unwrap();
            // A panic of either is the scope's.
            scope.spawn(remove);
            scope.spawn(remove);
        });
        assert!(!root.path().join("tree").exists());
    }
}

#[test]
fn remove_tree_never_leaves_by_a_link_that_is_swapped_in() {
    let outside = tempfile::tempdir().unwrap();
    for n in 0..20 {
        fs::write(outside.path().join(format!("canary{n}")), b"alive").unwrap();
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        let (temp, dir) = scratch();
        let (a, b) = (temp.path().join("tree/a"), temp.path().join("b"));
        for n in 0..5 {
            fs::create_dir_all(a.join(format!("s{n}"))).unwrap();
            fs::write(a.join(format!("canary{n}")), b"").unwrap();
        }
        symlink(outside.path(), &b).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = rustix::fs::renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
                    thread::sleep(Duration::from_micros(5));
                }
            });
            // Either outcome is right; what counts is outside.
            let _ = dir.remove_tree("tree");
            done.store(true, Ordering::Relaxed);
        });
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 20);
}

#[test]
fn privileged_remove_tree_stops_at_a_mount_and_reports_it() {
    let (temp, dir) = scratch();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("canary"), b"alive").unwrap();
    let point = temp.path().join("tree/sub/mnt");
    fs::create_dir_all(&point).unwrap();
    fs::write(temp.path().join("tree/file"), b"").unwrap();
    if let Err(error) = rustix::mount::mount_bind(outside.path(), &point) {
        eprintln!("SKIP: bind mounts are not permitted here: {error}");
        return;
    }
    let error = dir.remove_tree("tree").unwrap_err();
    rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(error.first.path.ends_with("tree/sub/mnt"), "{error:?}");
    assert!(outside.path().join("canary").exists());
    assert!(
        !temp.path().join("tree/file").exists(),
        "it goes on after a failure"
    );
    dir.remove_tree("tree").unwrap();
}
