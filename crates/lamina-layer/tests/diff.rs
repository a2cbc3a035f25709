//! What `docker diff` says, from uppers that the kernel's overlayfs wrote.
#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]
#![expect(clippy::print_stderr, reason = "says why a test is skipped")]

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use lamina_fs::Dir;
use lamina_layer::{Change, Lower, diff};

/// A lower tree on disk, names and all.
struct Tree(PathBuf);

impl Lower for Tree {
    fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(self.0.join(path)).is_ok()
    }

    fn names(&self, path: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(self.0.join(path))
            .into_iter()
            .flatten()
            .flatten();
        entries.map(|entry| entry.file_name()).collect()
    }
}

fn lines(changes: &[Change]) -> Vec<String> {
    let line = |c: &Change| format!("{} /{}", c.kind.letter(), c.path.display());
    changes.iter().map(line).collect()
}

/// Runs a script inside an overlay over `lower` in a mount namespace of its own.
fn overlay(temp: &Path, options: &str, lower: &str, script: &str) -> bool {
    let whole = format!(
        "set -e; cd '{}'; mkdir -p lower upper work merged; (cd lower; {lower})\n\
         mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work{options} merged\n\
         cd merged; {script}",
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

fn changes(temp: &Path) -> Vec<Change> {
    let upper = Dir::open(temp.join("upper")).unwrap();
    diff(upper.as_fd(), Tree(temp.join("lower"))).unwrap()
}

const LOWER: &str = "mkdir -p etc var/log usr/doc/a; echo 1 > etc/passwd; echo 1 > etc/gone; echo 1 > var/log/x; \
     echo 1 > var/log/y; echo 1 > usr/doc/a/b; echo 1 > meta";

#[test]
fn privileged_changes_read_as_docker_prints_them() {
    let temp = tempfile::tempdir().unwrap();
    let script = "echo 2 >> etc/passwd; rm etc/gone; mkdir -p new/dir; echo x > new/dir/f; \
                  echo t > once; rm once; rm -rf var/log; mkdir var/log; echo x > var/log/x; \
                  mknod new/null c 1 3; : > new/.tmp-1-2";
    if !overlay(temp.path(), "", LOWER, script) {
        return;
    }
    let want = [
        "C /etc",
        "D /etc/gone",
        "C /etc/passwd",
        "A /new",
        "A /new/.tmp-1-2",
        "A /new/dir",
        "A /new/dir/f",
        "A /new/null",
        "C /var",
        "C /var/log",
        "C /var/log/x",
        "D /var/log/y",
    ];
    assert_eq!(lines(&changes(temp.path())), want);
    // Without the names below, what an opaque directory hides is not known; the rest is.
    let upper = Dir::open(temp.path().join("upper")).unwrap();
    let lower = temp.path().join("lower");
    let by_path = diff(upper.as_fd(), |path: &Path| lower.join(path).exists()).unwrap();
    assert_eq!(lines(&by_path), want[..want.len() - 1]);
}

#[test]
fn privileged_moved_directories_and_metadata_copies_name_their_source() {
    let temp = tempfile::tempdir().unwrap();
    let options = ",metacopy=on,redirect_dir=on";
    if !overlay(
        temp.path(),
        options,
        LOWER,
        "mv usr/doc usr/moved; chmod 600 meta",
    ) {
        return;
    }
    let changes = changes(temp.path());
    let want = [
        "C /meta",
        "C /usr",
        "D /usr/doc",
        "A /usr/moved",
        "A /usr/moved/a",
        "A /usr/moved/a/b",
    ];
    assert_eq!(lines(&changes), want);
    let below: Vec<_> = changes.iter().map(|c| c.content_below.clone()).collect();
    let path = |p: &str| Some(PathBuf::from(p));
    assert_eq!(
        below,
        [
            path("meta"),
            None,
            None,
            path("usr/doc"),
            path("usr/doc/a"),
            path("usr/doc/a/b")
        ]
    );
}

#[test]
fn privileged_a_hostile_upper_leads_nowhere() {
    let temp = tempfile::tempdir().unwrap();
    let script = "ln -s / root; mkdir d; ln -s /etc d/etc; mkdir -p spoof; \
                  setfattr -n user.overlay.opaque -v y spoof 2>/dev/null || true";
    if !overlay(temp.path(), "", LOWER, script) {
        return;
    }
    let want = ["A /d", "A /d/etc", "A /root", "A /spoof"];
    assert_eq!(lines(&changes(temp.path())), want);
}
