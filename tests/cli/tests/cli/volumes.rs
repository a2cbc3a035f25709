//! Volumes: made, shared, copied, kept from whoever would remove them, removed, brought back.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare files of their own"
)]

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt, chown, symlink};
use std::path::PathBuf;

use insta::assert_snapshot;
use lamina_cli_tests::{past_events, transcript};
use lamina_testkit::evil_tar::RawTar;
use lamina_testkit::{Host, Outcome, tree};
use serde_json::Value;

pub(crate) fn data(host: &Host, name: &str) -> PathBuf {
    host.root().join("volumes").join(name).join("_data")
}

#[test]
#[expect(clippy::too_many_lines, reason = "one store, looked at step by step")]
fn privileged_volumes_are_made_listed_and_removed() {
    let host = Host::new();
    let said = |words: &[&str]| transcript(&host, words);
    assert_snapshot!(said(&["volume", "ls"]), @r"
    DRIVER    VOLUME NAME
    [exit 0]
    ");
    let words = [
        "volume", "create", "--label", "tier=db", "-d", "local", "rows",
    ];
    assert_snapshot!(said(&words), @r"
    rows
    [exit 0]
    ");
    // As Docker: one that is there stays as it is.
    assert_eq!(
        host.ok(&["volume", "create", "--label", "x=y", "rows"]),
        "rows"
    );
    let nameless = host.ok(&["volume", "create"]);
    assert_eq!(nameless.len(), 64);
    assert_snapshot!(said(&["volume", "ls", "-f", "name=row", "-f", "label=tier"]), @r"
    DRIVER    VOLUME NAME
    local     rows
    [exit 0]
    ");
    assert_snapshot!(said(&["volume", "create", "a/b"]), @r#"
    ! error: create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path
    [exit 1]
    "#);
    let inspected: Value = serde_json::from_str(&host.ok(&["volume", "inspect", "rows"])).unwrap();
    let mut keys: Vec<&String> = inspected[0].as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "CreatedAt",
            "Driver",
            "Labels",
            "Mountpoint",
            "Name",
            "Options",
            "Scope"
        ]
    );
    assert_eq!(inspected[0]["Labels"]["tier"], "db");
    assert_eq!(
        host.ok(&["inspect", "--type", "volume", "-f", "{{.Name}}", "rows"]),
        "rows"
    );
    assert_snapshot!(said(&["volume", "inspect", "-f", "{{.Scope}}", "rows", "nope"]), @r"
    local
    ! error: get nope: no such volume
    ! hint: lamina volume ls shows all volumes
    [exit 1]
    ");

    host.ok(&[
        "create",
        "--name",
        "one",
        "-v",
        "rows:/data",
        "minimal",
        "true",
    ]);
    assert_snapshot!(said(&["volume", "rm", "rows"]), @r"
    ! error: remove rows: volume is in use - [[ID]]
    ! hint: lamina ps -a --filter volume=NAME shows the containers that use it
    [exit 1]
    ");
    assert_eq!(
        host.ok(&[
            "ps",
            "-a",
            "-f",
            "volume=rows",
            "--format",
            "{{.Names}}|{{.Mounts}}"
        ]),
        "one|rows"
    );
    assert_eq!(host.ok(&["ps", "-a", "-q", "-f", "volume=other"]), "");
    let dangling = |word: &str| host.ok(&["volume", "ls", "-q", "-f", word]);
    assert_eq!(
        (dangling("dangling=false"), dangling("dangling=1")),
        ("rows".to_owned(), nameless.clone())
    );
    let row = "{{.Name}}|{{.Links}}";
    let rows = host.ok(&["volume", "ls", "--size", "--format", row, "-f", "name=rows"]);
    assert_eq!(rows, "rows|1");
    assert_snapshot!(said(&["volume", "rename", "rows", "other"]), @r"
    ! error: rename rows: volume is in use - [[ID]]
    ! hint: lamina ps -a --filter volume=NAME shows the containers that use it
    [exit 1]
    ");
    // Only anonymous ones, and never one that is used.
    let pruned = host.ok(&["volume", "prune", "-f"]);
    assert!(
        pruned.starts_with(&format!("Deleted Volumes:\n{nameless}\n\nTotal")),
        "{pruned}"
    );
    assert!(
        !host
            .ok(&["volume", "prune", "-a", "-f"])
            .contains("Deleted")
    );
    host.ok(&["rm", "--now", "one"]);
    host.ok(&["volume", "create", "kept"]);
    assert!(!host.ok(&["volume", "prune", "-f"]).contains("Deleted"));
    let planned = ["volume", "prune", "-a", "--plan", "--format", "{{.Name}}"];
    assert_eq!(host.ok(&planned), "kept\nrows");
    host.ok(&["volume", "prune", "-a", "-f", "--filter", "label!=tier"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "rows");
    assert_snapshot!(said(&["undo"]), @r"
    Restored: volume kept
    [exit 0]
    ");
    assert_snapshot!(said(&["volume", "rm", "rows", "nope", "kept"]), @r"
    rows
    kept
    ! error: get nope: no such volume
    ! hint: lamina volume ls shows all volumes
    [exit 1]
    ");
    assert_snapshot!(said(&["volume", "rm", "-f", "nope"]), @r"
    nope
    [exit 0]
    ");
    host.ok(&["undo"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "kept\nrows");
    let shown = "{{.Action}} {{.Actor.ID}}";
    let told = past_events(&host, &["--filter", "volume=rows", "--format", shown]);
    assert_eq!(told, "create rows\ndestroy rows");
    host.ok(&["volume", "rm", "--now", "rows", "kept"]);
    assert!(!data(&host, "rows").exists());
    host.sweep();
}

#[test]
#[expect(clippy::too_many_lines, reason = "one store, looked at step by step")]
fn privileged_a_volume_is_cloned_renamed_exported_and_imported() {
    let host = Host::new();
    host.ok(&["volume", "create", "--label", "a=b", "one"]);
    let one = data(&host, "one");
    fs::create_dir(one.join("dir")).unwrap();
    for number in 0..100 {
        fs::write(one.join(format!("dir/{number}")), vec![b'x'; number * 50]).unwrap();
    }
    fs::hard_link(one.join("dir/7"), one.join("same")).unwrap();
    symlink("/etc/passwd", one.join("link")).unwrap();
    let sparse = fs::File::create(one.join("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    sparse.write_all_at(b"data", 4 << 20).unwrap();
    chown(one.join("dir/3"), Some(7), Some(8)).unwrap();
    fs::set_permissions(one.join("dir/3"), PermissionsExt::from_mode(0o4750)).unwrap();
    chown(&one, Some(5), Some(6)).unwrap();
    fs::set_permissions(&one, PermissionsExt::from_mode(0o2771)).unwrap();
    let before = tree::read(&one);
    let same = |name: &str| {
        let now = tree::read(&data(&host, name));
        let differences = tree::differences(&before, &now, 5, |_| false);
        assert!(differences.is_empty(), "{name}: {differences:?}");
        let meta = |file: &str| fs::symlink_metadata(data(&host, name).join(file)).unwrap();
        assert_eq!(meta("same").ino(), meta("dir/7").ino());
        assert!(meta("sparse").blocks() * 512 < 1 << 20);
        let root = meta("");
        assert_eq!(
            (root.uid(), root.gid(), root.mode() & 0o7777),
            (5, 6, 0o2771)
        );
    };
    assert_eq!(host.ok(&["volume", "clone", "one", "two"]), "two");
    same("two");
    assert_eq!(
        host.ok(&["volume", "inspect", "-f", "{{.Labels.a}}", "two"]),
        "b"
    );
    assert_eq!(
        transcript(&host, &["volume", "clone", "one", "two"]),
        "! error: volume two already exists\n[exit 1]\n"
    );
    assert_eq!(host.lamina(&["volume", "clone", "nope", "three"]).code, 1);

    host.ok(&["volume", "rename", "two", "moved"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "moved\none");
    assert_eq!(
        transcript(&host, &["volume", "rename", "moved", "one"]),
        "! error: volume one already exists\n[exit 1]\n"
    );
    same("moved");

    host.ok(&["volume", "export", "-o", "one.tar", "one"]);
    host.ok(&["volume", "import", "made", "one.tar"]);
    same("made");
    // Into one that is there: the same again, and what it had besides stays.
    fs::write(data(&host, "moved").join("more"), "x").unwrap();
    let mut command = host.command(&["volume", "import", "moved"]);
    let tar = fs::File::open(host.folder().join("one.tar")).unwrap();
    let outcome = Outcome::of(command.stdin(tar));
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(data(&host, "moved").join("more").exists());
    fs::remove_file(data(&host, "moved").join("more")).unwrap();
    // Nothing of a tar that is cut off, or leads out.
    let tar = fs::read(host.folder().join("one.tar")).unwrap();
    fs::write(host.folder().join("cut.tar"), &tar[..tar.len() / 2]).unwrap();
    let outside = host.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    let evil = RawTar::default();
    let evil = evil.file("../../../../escaped", b"x").end();
    fs::write(host.folder().join("evil.tar"), evil).unwrap();
    for name in ["cut.tar", "evil.tar", "absent.tar"] {
        assert_eq!(
            host.lamina(&["volume", "import", "bad", name]).code,
            1,
            "{name}"
        );
        assert!(!data(&host, "bad").exists(), "{name}");
    }
    assert!(!host.root().join("escaped").exists());
    host.ok(&["volume", "rm", "--now", "one", "moved", "made"]);
    host.sweep();
}

#[test]
#[expect(clippy::too_many_lines, reason = "one store, looked at step by step")]
fn privileged_volumes_are_shared_and_filled() {
    let host = Host::new();
    let script = "mkdir -p /srv/sub; echo image > /srv/f; chmod 750 /srv; echo sub > /srv/sub/g";
    host.ok(&["run", "--name", "make", "minimal", "sh", "-c", script]);
    host.ok(&["commit", "make", "filled"]);
    host.ok(&["rm", "--now", "make"]);
    // A volume that was made before is filled as long as it is empty.
    host.ok(&["volume", "create", "db"]);
    let cat = |words: &[&str]| {
        let base = ["run", "--rm"];
        host.ok(&[&base[..], words].concat())
    };
    assert_eq!(cat(&["-v", "db:/srv:nocopy", "filled", "ls", "/srv"]), "");
    assert_eq!(cat(&["-v", "db:/srv", "filled", "cat", "/srv/f"]), "image");
    let root = fs::metadata(data(&host, "db")).unwrap();
    assert_eq!(root.mode() & 0o7777, 0o750);
    let write = "echo mine > /srv/f; rm -r /srv/sub; ls /srv";
    assert_eq!(cat(&["-v", "db:/srv", "filled", "sh", "-c", write]), "f");
    assert_eq!(
        cat(&["-v", "db:/srv", "filled", "sh", "-c", "ls /srv; cat /srv/f"]),
        "f\nmine"
    );
    let mount = "type=volume,src=new,dst=/x,volume-label=a=b,readonly";
    let refused = "touch /x/y 2>/dev/null || echo refused";
    assert_eq!(
        cat(&["--mount", mount, "minimal", "sh", "-c", refused]),
        "refused"
    );
    assert_eq!(
        host.ok(&["volume", "inspect", "-f", "{{.Labels.a}}", "new"]),
        "b"
    );

    // A part of a volume; a link in it leads nowhere else.
    fs::create_dir(data(&host, "new").join("part")).unwrap();
    fs::write(data(&host, "new").join("part/p"), "part").unwrap();
    symlink("/etc", data(&host, "new").join("out")).unwrap();
    let part = "type=volume,src=new,dst=/x,volume-subpath=part";
    assert_eq!(cat(&["--mount", part, "minimal", "cat", "/x/p"]), "part");
    let out = "type=volume,src=new,dst=/x,volume-subpath=out";
    let outcome = host.lamina(&["run", "--rm", "--mount", out, "minimal", "ls", "/x"]);
    assert_ne!(outcome.code, 0, "{outcome:?}");
    host.ok(&[
        "create", "--name", "part", "--mount", part, "minimal", "true",
    ]);
    host.ok(&["cp", "part:/x/p", "copied"]);
    assert_eq!(
        fs::read_to_string(host.folder().join("copied")).unwrap(),
        "part"
    );

    // --volumes-from: the anonymous ones too, which go with the last of their users.
    fs::write(host.folder().join("file"), "bound").unwrap();
    let bind = format!("{}:/bound", host.folder().join("file").display());
    host.ok(&[
        "create",
        "--name",
        "first",
        "-v",
        "/anon",
        "-v",
        "db:/db",
        "-v",
        &bind,
        "minimal",
        "sh",
        "-c",
        "echo anonymous > /anon/f",
    ]);
    host.ok(&["start", "-a", "first"]);
    let look = "cat /anon/f /db/f /bound; touch /db/x 2>/dev/null || echo refused";
    let seen = host.ok(&[
        "run",
        "--name",
        "second",
        "--volumes-from",
        "first:ro",
        "minimal",
        "sh",
        "-c",
        look,
    ]);
    assert_eq!(seen, "anonymous\nmine\nboundrefused");
    assert_eq!(
        host.ok(&[
            "inspect",
            "-f",
            "{{json .HostConfig.VolumesFrom}}",
            "second"
        ]),
        "[\"first:ro\"]"
    );
    let outcome = host.lamina(&["run", "--volumes-from", "nobody", "minimal", "true"]);
    assert_eq!(outcome.code, 125, "{outcome:?}");
    host.ok(&["rm", "-v", "--now", "first"]);
    assert_eq!(
        host.ok(&["start", "-a", "second"]),
        "anonymous\nmine\nboundrefused"
    );
    host.ok(&["rm", "-v", "--now", "second", "part"]);
    assert_eq!(host.ok(&["volume", "ls", "-q"]), "db\nnew");

    // Options: mounted by the container, never on the host.
    let bound = host.folder().join("bound");
    fs::create_dir(&bound).unwrap();
    let device = format!("device={}", bound.display());
    host.ok(&[
        "volume",
        "create",
        "-o",
        "type=none",
        "-o",
        "o=bind",
        "-o",
        &device,
        "dev",
    ]);
    host.ok(&[
        "run",
        "--rm",
        "-v",
        "dev:/d",
        "minimal",
        "sh",
        "-c",
        "echo there > /d/f",
    ]);
    assert_eq!(fs::read_to_string(bound.join("f")).unwrap(), "there\n");
    host.ok(&[
        "volume",
        "create",
        "-o",
        "type=tmpfs",
        "-o",
        "device=tmpfs",
        "-o",
        "o=size=1m,mode=1770",
        "mem",
    ]);
    let kind = "stat -f -c %T /d; stat -c %a /d";
    assert_eq!(
        cat(&["-v", "mem:/d", "minimal", "sh", "-c", kind]),
        "tmpfs\n1770"
    );
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(
        !mounts.contains(&host.folder().display().to_string()),
        "{mounts}"
    );
    host.ok(&["volume", "rm", "--now", "db", "new", "dev", "mem"]);
    host.remove_containers();
    host.sweep();
}
