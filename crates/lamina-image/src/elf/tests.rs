//! The headers of this machine's own programs, and configuration files in a made-up root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Headers;
use super::search::{SearchPath, is_built_in};

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

#[test]
fn this_test_needs_libc_or_nothing() {
    let own = File::open("/proc/self/exe").unwrap();
    let headers = Headers::read(&own).unwrap();
    assert_eq!(headers.kind.is_64(), cfg!(target_pointer_width = "64"));
    assert!(headers.interpreter.is_some() == headers.needed.iter().any(|n| n.contains("libc")));
}

#[test]
fn what_is_no_elf_has_no_headers() {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("text", b"#!/bin/sh\n"),
        ("cut", b"\x7fELF\x02\x01\x01"),
        (
            "junk",
            &[b"\x7fELF\x02\x01\x01".as_slice(), &[0xff; 100]].concat(),
        ),
    ] {
        let path = directory.path().join(name);
        File::create(&path).unwrap().write_all(bytes).unwrap();
        assert_eq!(Headers::read(&File::open(&path).unwrap()), None, "{name}");
    }
}

#[test]
fn ld_so_conf_is_read_with_its_includes() {
    let root = tempfile::tempdir().unwrap();
    put(
        root.path(),
        "etc/ld.so.conf",
        "# c\ninclude ld.so.conf.d/*.conf\n/opt/z/lib/ # x\n",
    );
    put(root.path(), "etc/ld.so.conf.d/b.conf", "/opt/b\n");
    put(
        root.path(),
        "etc/ld.so.conf.d/a.conf",
        "/opt/a\ninclude /etc/ld.so.conf\n",
    );
    put(root.path(), "etc/ld.so.conf.d/c.txt", "/opt/no\n");
    fs::create_dir_all(root.path().join("usr/lib/x86_64-linux-gnu")).unwrap();
    let path = SearchPath::of(root.path(), Some("/lib64/ld-linux-x86-64.so.2"), true);
    let expected = [
        "/opt/a",
        "/opt/b",
        "/opt/z/lib",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
    ];
    // An include that leads back to its own file ends at the depth limit and adds nothing new.
    let mut found = path.directories.clone();
    found.sort();
    let mut expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(path.configured, 3);
}

#[test]
fn musl_has_its_own_path_file() {
    let root = tempfile::tempdir().unwrap();
    let linker = Some("/lib/ld-musl-x86_64.so.1");
    let without = SearchPath::of(root.path(), linker, true);
    assert_eq!(
        without.directories,
        ["/lib", "/usr/local/lib", "/usr/lib"].map(PathBuf::from)
    );
    put(
        root.path(),
        "etc/ld-musl-x86_64.path",
        "/lib:/opt/lib\n/usr/lib\n",
    );
    let with = SearchPath::of(root.path(), linker, true);
    assert_eq!(
        with.directories,
        ["/lib", "/opt/lib", "/usr/lib"].map(PathBuf::from)
    );
    assert_eq!(with.file.unwrap(), Path::new("/etc/ld-musl-x86_64.path"));
}

#[test]
fn built_in_directories_are_known() {
    for yes in [
        "/lib",
        "/usr/lib64",
        "/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ] {
        assert!(is_built_in(Path::new(yes)), "{yes}");
    }
    for no in [
        "/opt/lib",
        "/usr/lib/foo",
        "/usr/local/lib",
        "/lib/x86_64-linux-gnu/perl",
    ] {
        assert!(!is_built_in(Path::new(no)), "{no}");
    }
}
