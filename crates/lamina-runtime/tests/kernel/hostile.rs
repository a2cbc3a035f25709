//! Images that are up to something. A canary outside must stay as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use lamina_runtime::CreateError;

use crate::containers::Container;

/// A tree outside of any container, and what it looks like.
struct Canary(tempfile::TempDir);

impl Canary {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["secret", "ptmx", "console", "null", "mtab"] {
            fs::write(dir.path().join(name), "untouched").unwrap();
        }
        fs::create_dir(dir.path().join("dir")).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn look(&self) -> Vec<String> {
        let mut seen: Vec<String> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                let (mode, uid, ino) = (meta.mode(), meta.uid(), meta.ino());
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                format!(
                    "{:?} {mode:o} {uid} {ino} {} {text}",
                    entry.file_name(),
                    meta.mtime_nsec()
                )
            })
            .collect();
        seen.sort();
        seen
    }
}

pub(crate) fn privileged_links_in_the_image_lead_nowhere() {
    for name in ["dev", "etc", "w", "tmp"] {
        for with_dev in [true, false] {
            let canary = Canary::new();
            let before = canary.look();
            let mut container = Container::new("true");
            let path = container.path("lower").join(name);
            let _ = fs::remove_dir(&path);
            symlink(canary.path(), &path).unwrap();
            container.process().set_cwd("/w/x".into());
            container.mount("/tmp/a/b", "tmpfs", Path::new("tmpfs"), &[]);
            container.mount(
                "/etc/hosts",
                "bind",
                Path::new("/etc/hostname"),
                &["bind", "ro"],
            );
            if !with_dev {
                let mounts = container.spec.mounts_mut().as_mut().unwrap();
                mounts.retain(|mount| !mount.destination().starts_with("/dev"));
            }
            // Whether it starts is a matter of taste; that nothing outside changes is not.
            if let Ok((created, output)) = container.create() {
                let _ = container.start(&created);
                crate::containers::finish(created, output);
            }
            assert_eq!(
                canary.look(),
                before,
                "/{name} -> canary, own /dev: {with_dev}"
            );
        }
    }
}

pub(crate) fn privileged_linked_proc_and_sys_are_refused() {
    for (name, target) in [
        ("proc", "/etc"),
        ("proc", "etc"),
        ("sys", "/etc"),
        ("sys", "../../etc"),
    ] {
        let container = Container::new("true");
        let path = container.path("lower").join(name);
        fs::remove_dir(&path).unwrap();
        symlink(target, &path).unwrap();
        let error = container.create().map(|_| ()).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, CreateError::Init(_)), "{said}");
        assert!(
            said.contains("must be mounted on an ordinary directory"),
            "{said}"
        );
    }
}

pub(crate) fn privileged_working_directory_cannot_be_a_descriptor() {
    let root = fs::File::open("/").unwrap();
    for cwd in [
        "/proc/self/fd/3",
        "/proc/self/fd/7/../..",
        "/proc/1/cwd",
        "/link",
    ] {
        let mut container = Container::new("pwd; ls");
        symlink("/proc/self/fd/8", container.path("lower/link")).unwrap();
        container.process().set_cwd(cwd.into());
        match container.create() {
            Err(_) => {}
            Ok((created, output)) => {
                let started = container.start(&created);
                let out = crate::containers::finish(created, output);
                assert!(started.is_err(), "{cwd}: {}", out.text);
            }
        }
    }
    drop(root);
    // The control: an ordinary one, missing, through a link of the image's own.
    let mut container = Container::new("pwd");
    symlink("/etc", container.path("lower/conf")).unwrap();
    container.process().set_cwd("/conf/a/b".into());
    assert_eq!(container.run().text, "/etc/a/b\n");
}

pub(crate) fn privileged_a_device_in_the_way_is_refused() {
    let canary = Canary::new();
    let before = canary.look();
    let mut container = Container::new("true");
    fs::create_dir(container.path("lower/dev")).unwrap();
    symlink(canary.path().join("null"), container.path("lower/dev/null")).unwrap();
    let mounts = container.spec.mounts_mut().as_mut().unwrap();
    mounts.retain(|mount| !mount.destination().starts_with("/dev"));
    let error = container.create().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("/dev/null is in the way"), "{error}");
    assert_eq!(canary.look(), before);
}

pub(crate) fn privileged_a_linked_mount_target_stays_inside() {
    let canary = Canary::new();
    let mut container = Container::new("cat /real/file; ls /real");
    fs::create_dir(container.path("lower/real")).unwrap();
    symlink("/real", container.path("lower/volume")).unwrap();
    let source = container.path("source");
    fs::write(&source, "mounted\n").unwrap();
    container.mount("/volume/file", "bind", &source, &["bind"]);
    assert_eq!(container.run().text, "mounted\nfile\n");
    // A link out of the root means the same path inside of it.
    let mut container = Container::new("ls /made/by/us");
    symlink("../../../made/by", container.path("lower/volume")).unwrap();
    container.mount("/volume/us", "tmpfs", Path::new("tmpfs"), &[]);
    assert_eq!(container.run().code, 0);
    // A link into /proc would fake it.
    let mut container = Container::new("true");
    symlink("/proc/sys", container.path("lower/volume")).unwrap();
    container.mount("/volume/kernel", "bind", canary.path(), &["bind"]);
    let error = container.create().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("leads into /proc"), "{error}");
}
