//! `capture`: a layer's tar out of an upper that the kernel's overlayfs wrote, applied again.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(clippy::print_stderr, reason = "says why a test is skipped")]

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use lamina_fs::{Dir, Root};
use lamina_layer::{Limits, TakeContent, apply, capture};

const LOWER: &str = "mkdir -p etc var/log usr/doc/a usr/other/a; echo 1 > etc/passwd; echo 1 > etc/gone; \
     echo 1 > var/log/x; echo 1 > var/log/y; echo 1 > usr/doc/a/b; echo 1 > usr/other/a/hidden; echo 1 > meta";

const SCRIPT: &str = "echo 2 >> etc/passwd; rm etc/gone; rm -rf var/log; mkdir var/log; echo x > var/log/x; \
     chmod 600 meta; echo l > one; ln one two; ln -s /etc/passwd link; mkfifo pipe; mknod null c 1 3; \
     truncate -s 1M sparse; printf end >> sparse; rm -rf usr/other; mv usr/doc usr/other; \
     echo new > usr/other/n; rm usr/other/a/b; setfattr -n user.mine -v 1 one || true; chown 5:6 two";

/// Runs `script` in an overlay in a mount namespace of its own, and `after` there beside it.
fn overlay(temp: &Path, options: &str, after: &str) -> bool {
    let whole = format!(
        "set -e; cd '{}'; mkdir -p lower upper work merged top; (cd lower; {LOWER})\n\
         mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work{options} merged\n\
         (cd merged; {SCRIPT}); cp -a merged was\n{after}",
        temp.display()
    );
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", &whole])
        .output();
    ran.is_ok_and(|out| {
        if !out.status.success() {
            eprintln!("SKIP: {}", String::from_utf8_lossy(&out.stderr));
        }
        out.status.success()
    })
}

fn captured(temp: &Path, take: Option<TakeContent<Vec<u8>>>) -> (Vec<u8>, u64) {
    let upper = Dir::open(temp.join("upper")).unwrap();
    let below = Root::open_path(temp.join("lower")).unwrap();
    // A copy of the merged tree: this process is not in the namespace of the mount.
    let merged = Root::open_path(temp.join("was")).unwrap();
    capture(upper.as_fd(), &below, &merged, Vec::new(), take).unwrap()
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut reader = lamina_layer::TarReader::new(tar, Limits::default());
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

fn round_trip(options: &str) {
    let temp = tempfile::tempdir().unwrap();
    let temp = temp.path();
    if !overlay(temp, options, "") {
        return;
    }
    let (tar, entries) = captured(temp, None);
    // What the upper has itself is what the container sees.
    let taken = captured(
        temp,
        Some(|out, _, file, _| io::copy(&mut &*file, out).map(|_| true)),
    );
    assert_eq!(taken.0, tar, "the same changes give the same bytes");
    let names = names(&tar);
    assert_eq!(names.len() as u64, entries);
    let want = [
        "etc/",
        "etc/.wh.gone",
        "etc/passwd",
        "link",
        "meta",
        "null",
        "one",
        "pipe",
        "sparse",
        "two",
        "usr/",
        "usr/.wh.doc",
        "usr/other/",
        "usr/other/a/",
        "usr/other/a/.wh.hidden",
        "usr/other/n",
        "var/",
        "var/log/",
        "var/log/x",
        "var/log/.wh.y",
    ];
    assert_eq!(names, want);
    assert!(tar.len() < 100_000, "holes are not written: {}", tar.len());

    fs::create_dir(temp.join("layer")).unwrap();
    let layer = Dir::open(temp.join("layer")).unwrap();
    apply(&tar[..], layer.as_fd(), &Limits::default()).unwrap();
    let compare = format!(
        "set -e; cd '{}'; mkdir -p both; mount -t overlay overlay -o lowerdir=layer:lower both\n\
         cp -a both again; cd both; find . ! -type d -printf '%p %y %m %U %G %T@ %l\\n' | sort > ../a\n\
         cd ../was; find . ! -type d -printf '%p %y %m %U %G %T@ %l\\n' | sort > ../b; cd ..\n\
         diff a b >&2; diff -r --no-dereference -x null -x pipe was again >&2",
        temp.display()
    );
    let compared = Command::new("unshare")
        .args(["-m", "sh", "-c", &compare])
        .output();
    let output = compared.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let inode = |name: &str| fs::symlink_metadata(temp.join("layer").join(name)).unwrap();
    assert_eq!(inode("one").ino(), inode("two").ino());
    assert!(inode("sparse").blocks() * 512 < 100_000);
}

#[test]
fn privileged_an_upper_becomes_a_layer_that_gives_the_same_tree() {
    round_trip("");
}

#[test]
fn privileged_moved_directories_and_metadata_copies_are_whole_in_the_layer() {
    round_trip(",metacopy=on,redirect_dir=on");
}

#[test]
fn privileged_nothing_changed_gives_no_entries() {
    let temp = tempfile::tempdir().unwrap();
    for name in ["upper", "lower", "was"] {
        fs::create_dir(temp.path().join(name)).unwrap();
    }
    assert_eq!(captured(temp.path(), None).1, 0);
}
