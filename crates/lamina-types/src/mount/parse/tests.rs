//! The tables of `-v`, `--mount` and `--tmpfs`.

use std::path::PathBuf;

use super::*;

fn cwd() -> &'static Path {
    Path::new("/home/me/src")
}

fn volume(text: &str) -> Result<MountSpec, MountError> {
    MountSpec::parse_volume(text, cwd())
}

fn mount(text: &str) -> Result<MountSpec, MountError> {
    MountSpec::parse_mount(text, cwd())
}

fn bind(source: &str, target: &str) -> MountSpec {
    MountSpec {
        kind: MountKind::Bind {
            source: PathBuf::from(source),
            propagation: Propagation::Rprivate,
            non_recursive: false,
            relabel: Relabel::None,
        },
        target: PathBuf::from(target),
        read_only: false,
        recursive_read_only: false,
    }
}

fn read_only(spec: MountSpec) -> MountSpec {
    MountSpec {
        read_only: true,
        recursive_read_only: matches!(spec.kind, MountKind::Bind { .. }),
        ..spec
    }
}

fn named(name: Option<&str>, target: &str) -> MountSpec {
    MountSpec {
        kind: MountKind::volume(name.map(str::to_owned), false),
        ..bind("/", target)
    }
}

#[test]
fn volumes_are_read_as_docker_does() {
    for (text, expected) in [
        ("/a:/b", bind("/a", "/b")),
        ("/a/../c/:/b/./x/", bind("/c", "/b/x")),
        (".:/b", bind("/home/me/src", "/b")),
        ("./x:/b", bind("/home/me/src/x", "/b")),
        ("../x:/b", bind("/home/me/x", "/b")),
        ("/a:/b:ro", read_only(bind("/a", "/b"))),
        ("/a:/b:rro", read_only(bind("/a", "/b"))),
        ("/a:/b:rw,cached", bind("/a", "/b")),
        ("data:/b", named(Some("data"), "/b")),
        ("data:/b:ro", read_only(named(Some("data"), "/b"))),
        ("/b", named(None, "/b")),
    ] {
        assert_eq!(
            volume(text).unwrap_or_else(|e| panic!("{text}: {e}")),
            expected,
            "{text}"
        );
    }
}

#[test]
fn volume_options_reach_the_kind_they_are_for() {
    let spec = volume("/a:/b:ro,Z,rslave").unwrap();
    let MountKind::Bind {
        propagation,
        relabel,
        ..
    } = spec.kind
    else {
        panic!("{spec:?}")
    };
    assert_eq!(
        (propagation, relabel),
        (Propagation::Rslave, Relabel::Private)
    );
    let spec = volume("data:/b:nocopy").unwrap();
    assert!(matches!(spec.kind, MountKind::Volume { no_copy: true, .. }));
}

#[test]
fn refuses_bad_volumes() {
    for bad in [
        "",
        ":",
        "::",
        "a",
        "a:",
        ":/b",
        "/a:b",
        "/a:/",
        "/a:/b:",
        "/a:/b:ro:x",
        "/a:/b:ro,rw",
        "/a:/b:ro,ro",
        "/a:/b:z,Z",
        "/a:/b:rshared,rslave",
        "/a:/b:nocopy",
        "data:/b:rshared",
        "/a:/b:bogus",
        "x:/b",
        "a b:/b",
        "d/ata:/b",
        "~/x:/b",
        "-x:/b",
        "/a:/b\0c",
        "/a:ro",
        "/a:/b/..",
        "/a:/b:,",
        "/a:/b:ro,",
    ] {
        assert!(volume(bad).is_err(), "{bad:?} must be refused");
    }
}

#[test]
fn mounts_are_read_as_docker_does() {
    for (text, expected) in [
        ("type=bind,src=/a,dst=/b", bind("/a", "/b")),
        ("type=bind,source=.,target=/b", bind("/home/me/src", "/b")),
        (
            "type=bind,source=/a,destination=/b,ro",
            read_only(bind("/a", "/b")),
        ),
        ("type=bind,src=/a,dst=/b,readonly=false", bind("/a", "/b")),
        ("TYPE=bind,\"src=/a,b\",dst=/b", bind("/a,b", "/b")),
        ("type=volume,src=data,dst=/b", named(Some("data"), "/b")),
        ("dst=/b", named(None, "/b")),
    ] {
        assert_eq!(
            mount(text).unwrap_or_else(|e| panic!("{text}: {e}")),
            expected,
            "{text}"
        );
    }
    let spec = mount("type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1770").unwrap();
    let MountKind::Tmpfs { size, mode, .. } = spec.kind else {
        panic!("{spec:?}")
    };
    assert_eq!((size, mode), (Some(64 << 20), Some(0o1770)));
}

#[test]
fn volumes_with_options() {
    let text = "type=volume,src=db,dst=/d,volume-subpath=./a/b,volume-label=x=1,volume-label=y,\
                volume-opt=type=tmpfs,\"volume-opt=o=size=1m,uid=7\",volume-driver=local";
    let MountKind::Volume {
        subpath,
        labels,
        options,
        ..
    } = mount(text).unwrap().kind
    else {
        panic!("no volume")
    };
    assert_eq!(subpath, Some("a/b".into()));
    assert_eq!((labels["x"].as_str(), labels["y"].as_str()), ("1", ""));
    assert_eq!(options["o"], "size=1m,uid=7");
}

#[test]
fn recursion_of_binds() {
    for (extra, non_recursive, recursive_read_only) in [
        ("ro", false, true),
        ("ro,bind-recursive=readonly", false, true),
        ("ro,bind-recursive=writable", false, false),
        ("ro,bind-recursive=disabled", true, false),
        ("bind-nonrecursive", true, false),
        ("bind-recursive=enabled", false, false),
    ] {
        let spec = mount(&format!("type=bind,src=/a,dst=/b,{extra}")).unwrap();
        assert_eq!(spec.recursive_read_only, recursive_read_only, "{extra}");
        assert!(
            matches!(spec.kind, MountKind::Bind { non_recursive: is, .. } if is == non_recursive),
            "{extra}"
        );
    }
}

#[test]
fn refuses_bad_mounts() {
    for bad in [
        "",
        "type=bind",
        "type=bind,src=/a",
        "type=bind,dst=/b",
        "type=bind,src=a,dst=/b",
        "type=bogus,src=/a,dst=/b",
        "type=bind,src=/a,dst=b",
        "type=bind,src=/a,dst=/",
        "type=bind,src=/a,dst=/b,bogus=1",
        "type=bind,src=/a,dst=/b,ro=maybe",
        "type=bind,src=/a,dst=/b,bind-propagation=x",
        "type=bind,src=/a,dst=/b,bind-recursive=readonly",
        "type=bind,src=/a,dst=/b,tmpfs-size=1m",
        "type=bind,src=/a,dst=/b,volume-nocopy",
        "type=tmpfs,dst=/t,src=/a",
        "type=tmpfs,dst=/t,tmpfs-size=lots",
        "type=tmpfs,dst=/t,tmpfs-mode=9",
        "type=tmpfs,dst=/t,tmpfs-mode=77777",
        "type=volume,src=/a,dst=/b",
        "type=volume,src=ab,dst=/b,volume-subpath=/x",
        "type=volume,src=ab,dst=/b,volume-subpath=x/../../y",
        "type=volume,src=ab,dst=/b,volume-driver=nfs",
        "type=bind,src=/a,dst=/b,volume-subpath=x",
        "type=bind,src=/a,dst=/b,subpath=x",
        "type=tmpfs,dst=/b,subpath=x",
        "type=volume,src=ab,dst=/b,image-subpath=x",
        "type=image,dst=/b",
        "type=image,src=bb,dst=/b,volume-subpath=x",
        "type=image,src=bb,dst=/b,image-subpath=../x",
        "type=image,src=bb,dst=/b,image-subpath=/x",
        "type=image,src=bb,dst=/b,volume-nocopy",
        "type=image,src=bb,dst=/b,bind-propagation=shared",
        "type=image,src=bb,dst=/b,tmpfs-size=1m",
        "type=tmpfs,dst=/b,volume-label=x",
        "type=volume,dst=/b,bind-propagation=shared",
        "type=bind,src=\"/a,dst=/b",
        "type=bind,src=,dst=/b",
    ] {
        assert!(mount(bad).is_err(), "{bad:?} must be refused");
    }
}

#[test]
fn an_image_is_mounted_whole_or_in_part_and_never_writable() {
    for (text, subpath) in [
        ("type=image,source=bb:1,destination=/x", None),
        (
            "type=image,src=bb:1,dst=/x,readonly=false,image-subpath=bin/sh",
            Some("bin/sh"),
        ),
        ("type=image,src=bb:1,target=/x,subpath=./bin", Some("bin")),
    ] {
        let expected = MountSpec {
            kind: MountKind::Image {
                source: "bb:1".to_owned(),
                subpath: subpath.map(PathBuf::from),
            },
            target: PathBuf::from("/x"),
            read_only: true,
            recursive_read_only: false,
        };
        assert_eq!(mount(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn tmpfs_options() {
    let spec = MountSpec::parse_tmpfs("/run:rw,noexec,nosuid,size=65536k,mode=1777").unwrap();
    assert_eq!(
        spec.kind,
        MountKind::Tmpfs {
            size: Some(64 << 20),
            mode: Some(0o1777),
            options: vec!["noexec".to_owned(), "nosuid".to_owned()],
        }
    );
    assert!(MountSpec::parse_tmpfs("/run:ro").unwrap().read_only);
    assert!(MountSpec::parse_tmpfs("/run:size=50%,uid=1000").is_ok());
    for bad in [
        "",
        "run",
        "/",
        "/run:bogus",
        "/run:size=x",
        "/run:mode=8",
        "/run:uid=-1",
        "/run:size=0x1",
        "/run:huge=always",
        "/run:mpol=x",
    ] {
        assert!(
            MountSpec::parse_tmpfs(bad).is_err(),
            "{bad:?} must be refused"
        );
    }
}

proptest::proptest! {
    #[test]
    fn no_input_panics(text in "(type=(bind|tmpfs),)?.{0,60}") {
        let _ = (volume(&text), mount(&text), MountSpec::parse_tmpfs(&text));
    }

    #[test]
    fn targets_are_absolute_and_clean(text in "[a/.:]{1,24}") {
        if let Ok(spec) = volume(&text) {
            proptest::prop_assert!(spec.target.is_absolute());
            proptest::prop_assert_eq!(clean(&spec.target), spec.target);
        }
    }
}
