//! Gathering from this machine, and from made-up hosts of other kinds.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::gather::Gathered;
use super::tree::Node;
use super::{CreateMinimalError, HostPaths, gather};
use crate::elf::Headers;

fn nodes(gathered: &Gathered) -> Vec<(PathBuf, Node)> {
    let entries = gathered.tree.entries();
    entries.map(|(p, n)| (p.to_owned(), n.clone())).collect()
}

/// A host with nothing but what is put into it.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn program(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(path).unwrap();
        file.write_all(bytes).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o755))
            .unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn gather(&self, adds: &[&str]) -> Result<Gathered, CreateMinimalError> {
        let adds: Vec<PathBuf> = adds.iter().map(PathBuf::from).collect();
        let host = HostPaths {
            root: self.0.path().to_owned(),
            ..HostPaths::default()
        };
        gather(&host, &adds)
    }
}

#[test]
fn this_machines_programs_have_every_library_they_need() {
    let gathered = gather(&HostPaths::default(), &[]).unwrap();
    for path in [
        "/bin/sh",
        "/etc/passwd",
        "/etc/nsswitch.conf",
        "/tmp",
        "/proc",
    ] {
        assert!(gathered.tree.has(Path::new(path)), "{path}");
    }
    let nodes = nodes(&gathered);
    let names: Vec<&str> = nodes
        .iter()
        .filter_map(|(p, _)| p.file_name()?.to_str())
        .collect();
    let mut programs = 0;
    for (path, node) in &nodes {
        let Node::Copy { from, .. } = node else {
            continue;
        };
        let Some(headers) = Headers::read(&File::open(from).unwrap()) else {
            continue;
        };
        programs += 1;
        for library in &headers.needed {
            assert!(
                names.contains(&library.as_str()),
                "{} needs {library}",
                path.display()
            );
        }
        if let Some(interpreter) = &headers.interpreter {
            assert!(gathered.tree.has(Path::new(interpreter)), "{interpreter}");
        }
    }
    assert!(programs > 10, "only {programs} ELF files");
    let tmp = nodes
        .iter()
        .find(|(path, _)| path == Path::new("/tmp"))
        .unwrap();
    assert_eq!(tmp.1, Node::Directory { mode: 0o1777 });
}

#[test]
fn a_busybox_alone_is_enough() {
    let host = Host::new();
    host.program(
        "bin/busybox",
        b"\x7fELF but static\0[\0[[\0cat\0ls\0ps\0sh\0vi\0\0junk\0mv\0",
    );
    let gathered = host.gather(&[]).unwrap();
    for there in ["/bin/sh", "/bin/ls", "/bin/vi"] {
        assert!(gathered.tree.has(Path::new(there)), "{there}");
    }
    assert!(!gathered.tree.has(Path::new("/bin/mv")), "mv is no applet");
}

#[test]
fn a_merged_usr_and_alternatives_are_kept_as_they_are() {
    let host = Host::new();
    host.link("bin", "usr/bin");
    host.link("sbin", "usr/sbin");
    host.program("usr/bin/dash", b"shell");
    host.link("usr/bin/sh", "dash");
    host.program("usr/bin/mawk", b"awk");
    host.link("usr/bin/awk", "/etc/alternatives/awk");
    host.link("etc/alternatives/awk", "/usr/bin/mawk");
    host.link("usr/bin/loop", "loop");
    let gathered = host.gather(&[]).unwrap();
    let nodes = nodes(&gathered);
    let get = |path: &str| {
        nodes
            .iter()
            .find(|(p, _)| p == Path::new(path))
            .map(|(_, n)| n)
    };
    assert_eq!(
        get("/bin"),
        Some(&Node::Link {
            target: "usr/bin".into()
        })
    );
    assert_eq!(
        get("/usr/bin/sh"),
        Some(&Node::Link {
            target: "dash".into()
        })
    );
    assert!(matches!(
        get("/usr/bin/mawk"),
        Some(Node::Copy { mode: 0o755, .. })
    ));
    assert!(gathered.tree.has(Path::new("/bin/awk")));
    // The dangling /sbin became the directory it promised, or stays a link to one.
    assert!(gathered.tree.has(Path::new("/usr/sbin")));
}

#[test]
fn scripts_bring_their_shell_and_nothing_larger() {
    let host = Host::new();
    host.program("bin/bash", b"shell");
    host.program("bin/sh", b"shell");
    host.program("bin/which", b"#!/bin/sh\nexit\n");
    host.program("usr/bin/perl", b"large");
    host.program("bin/watch", b"#!/usr/bin/perl\n");
    let gathered = host.gather(&[]).unwrap();
    assert!(gathered.tree.has(Path::new("/bin/which")));
    assert!(!gathered.tree.has(Path::new("/bin/watch")));
    assert!(!gathered.tree.has(Path::new("/usr/bin/perl")));
    let asked = host.gather(&["/bin/watch"]).unwrap();
    assert!(asked.tree.has(Path::new("/usr/bin/perl")));
}

#[test]
fn added_directories_come_whole_and_missing_things_are_errors() {
    let host = Host::new();
    host.program("bin/sh", b"shell");
    host.program("opt/app/run", b"#!/bin/sh\n");
    host.link("opt/app/data", "/nowhere");
    host.program("usr/bin/tool", b"tool");
    let gathered = host.gather(&["/opt/app", "tool"]).unwrap();
    let nodes = nodes(&gathered);
    assert!(nodes.iter().any(|(p, _)| p == Path::new("/opt/app/data")));
    assert!(nodes.iter().any(|(p, _)| p == Path::new("/usr/bin/tool")));
    assert!(matches!(
        host.gather(&["/no"]),
        Err(CreateMinimalError::Host { .. })
    ));
    assert!(matches!(
        host.gather(&["no"]),
        Err(CreateMinimalError::NoProgram(_))
    ));
    let bare = Host::new();
    bare.program("bin/ls", b"ls");
    assert!(matches!(bare.gather(&[]), Err(CreateMinimalError::NoShell)));
}
