//! `cp` of what is no file of the image, and against a container that works against it.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests prepare files of their own"
)]

use std::fs;
use std::process::Command;
use std::thread;

use lamina_cli_tests::transcript;
use lamina_testkit::evil_tar::RawTar;
use lamina_testkit::{Host, Outcome};

use crate::restart::clear;

/// How often each direction is tried against a container that swaps.
const TRIES: usize = 120;

/// Runs a pipeline in which `lamina` is this one; returns what it printed and how it ended.
fn shell(host: &Host, script: &str) -> Outcome {
    let mut command = Command::new("sh");
    host.environment(&mut command);
    let command = command.args(["-c", script]);
    Outcome::of(command.current_dir(host.folder()))
}

fn printed(host: &Host, script: &str) -> String {
    shell(host, script).stdout
}

/// A container with a volume, a read-only directory, a file of the host's and one of a volume's.
fn with_mounts(host: &Host) {
    let path = |name: &str| host.folder().join(name);
    fs::write(path("new"), "new\n").unwrap();
    fs::write(path("bound"), "bound\n").unwrap();
    fs::create_dir(path("sealed")).unwrap();
    fs::write(path("sealed/f"), "sealed\n").unwrap();
    host.ok(&["volume", "create", "rows"]);
    fs::write(host.root().join("volumes/rows/_data/part"), "part\n").unwrap();
    let folder = host.folder().display();
    let (bound, sealed) = (
        format!("{folder}/bound:/etc/bound"),
        format!("{folder}/sealed:/sealed:ro"),
    );
    let part = "type=volume,src=rows,dst=/part,volume-subpath=part";
    let create = ["create", "--name", "one", "-v", &bound, "-v", &sealed];
    let rest = [
        "-v",
        "rows:/rows",
        "--mount",
        part,
        "minimal",
        "sleep",
        "1000",
    ];
    host.ok(&[&create[..], &rest].concat());
}

#[test]
fn privileged_what_is_mounted_is_copied_whether_the_container_runs_or_not() {
    let host = Host::new();
    with_mounts(&host);
    for running in [false, true] {
        if running {
            host.ok(&["start", "one"]);
        }
        let cat = |path: &str| printed(&host, &format!("lamina cp one:{path} - | tar -xO"));
        assert_eq!(cat("/etc/bound"), "bound\n");
        assert_eq!(cat("/part"), "part\n");
        assert_eq!(cat("/sealed/f"), "sealed\n");
        assert!(cat("/etc/hosts").contains("127.0.0.1\tlocalhost"));
        // What is above a volume leads into it.
        if !running {
            let list = printed(&host, "lamina cp one:/. - | tar -t");
            for name in ["rows/part", "part", "sealed/f", "etc/bound"] {
                assert!(list.lines().any(|line| line == name), "{name}: {list}");
            }
        }
        let into = "tar -cf - --transform 's,^,rows/deep/,' new | lamina cp - one:/";
        assert_eq!(shell(&host, into).code, 0);
        let data = host.root().join("volumes/rows/_data/deep/new");
        assert_eq!(fs::read_to_string(&data).unwrap(), "new\n");
        fs::remove_file(data).unwrap();
        // Docker's words; what is mounted stays so.
        for (path, said) in [
            ("/etc/bound", "unlinkat /etc/bound: device or resource busy"),
            ("/etc/hosts", "unlinkat /etc/hosts: device or resource busy"),
            ("/part", "unlinkat /part: device or resource busy"),
            ("/sealed", "mounted volume is marked read-only"),
            ("/sealed/f", "mounted volume is marked read-only"),
        ] {
            let outcome = transcript(&host, &["cp", "new", &format!("one:{path}")]);
            assert_eq!(outcome, format!("! error: {said}\n[exit 1]\n"));
        }
        assert_eq!(cat("/etc/bound"), "bound\n");
    }
    let look = [
        "exec",
        "one",
        "sh",
        "-c",
        "cat /etc/bound /part; wc -l < /etc/hosts",
    ];
    assert_eq!(host.ok(&look), "bound\npart\n3");
    is_sealed(&host);
    host.ok(&["volume", "rm", "--now", "rows"]);
    host.sweep();
}

/// The same with a root filesystem that is read-only.
fn is_sealed(host: &Host) {
    host.ok(&["rm", "-f", "--now", "one"]);
    host.ok(&[
        "create",
        "--name",
        "one",
        "--read-only",
        "-v",
        "rows:/rows",
        "minimal",
        "sleep",
        "9",
    ]);
    for running in [false, true] {
        if running {
            host.ok(&["start", "one"]);
        }
        host.ok(&["cp", "new", "one:/rows"]);
        assert_eq!(
            transcript(host, &["cp", "new", "one:/srv"]),
            "! error: container rootfs is marked read-only\n[exit 1]\n"
        );
    }
    host.ok(&["rm", "-f", "--now", "one"]);
}

const KINDS: &str = "mkfifo /pipe; printf named > '/a\nb'; mknod /null2 c 1 3; ln -s /pipe /to; \
                     truncate -s 3 /there; touch /done; sleep 1000";

#[test]
fn privileged_nothing_that_is_copied_is_waited_for() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "one", "minimal", "sh", "-c", KINDS]);
    while !host.ok(&["diff", "one"]).contains("A /done") {
        thread::yield_now();
    }
    let first = |path: &str| -> String {
        let list = printed(
            &host,
            &format!("lamina cp '{path}' - | tar -tv --quoting-style=escape"),
        );
        list.chars()
            .take(1)
            .chain(
                list.lines()
                    .next()
                    .unwrap_or_default()
                    .rsplit(' ')
                    .next()
                    .unwrap_or_default()
                    .chars(),
            )
            .collect()
    };
    assert_eq!(first("one:/pipe"), "ppipe");
    assert_eq!(first("one:/dev/zero"), "czero");
    assert_eq!(first("one:/a\nb"), "-a\\nb");
    assert_eq!(first("one:/proc/version"), "-version");
    // A FIFO and a device become what they were, on either side.
    for name in ["pipe", "null2"] {
        host.ok(&["cp", &format!("one:/{name}"), name]);
        host.ok(&["cp", name, &format!("one:/tmp/{name}")]);
    }
    host.ok(&["cp", "one:/a\nb", "."]);
    host.ok(&["cp", "a\nb", "one:/tmp"]);
    let look = "stat -c %F /tmp/pipe /tmp/null2 '/tmp/a\nb'; ls /there/x; cat '/tmp/a\nb'";
    let seen = host.lamina(&["exec", "one", "sh", "-c", look]).stdout;
    assert_eq!(seen, "fifo\ncharacter special file\nregular file\nnamed");
    assert_eq!(
        transcript(&host, &["cp", "one:/there/x", "."]),
        "! error: could not find the file /there/x in container one\n[exit 1]\n"
    );
    is_confined(&host);
    clear(&host);
}

/// Tars that would lead out, or through what they have just made.
fn is_confined(host: &Host) {
    let outside = host.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "host\n").unwrap();
    let there = outside.display().to_string();
    let send = |tar: Vec<u8>| {
        fs::write(host.folder().join("evil.tar"), tar).unwrap();
        shell(host, "lamina cp - one:/tmp < evil.tar").code
    };
    let victim = format!("{there}/victim");
    assert_eq!(
        send(RawTar::default().file("../../../../../escaped", b"x").end()),
        1
    );
    // From the root of the container, as in Docker.
    assert_eq!(send(RawTar::default().file("/absolute", b"x").end()), 0);
    let link = RawTar::default().link(b'2', "way", there.as_bytes());
    send(link.file("way/victim", b"changed").end());
    for target in [victim.as_str(), "../../../../../etc/passwd"] {
        send(
            RawTar::default()
                .link(b'1', "hard", target.as_bytes())
                .end(),
        );
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "host\n");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    let look = [
        "exec",
        "one",
        "sh",
        "-c",
        "cat /tmp/absolute; ls /tmp/hard 2>/dev/null",
    ];
    assert_eq!(host.lamina(&look).stdout, "x");
}

/// A directory of the container becomes a link to one of the host, and a directory again.
const SWAP: &str = "mkdir /d; echo inside > /d/secret; ln -s $OUT /l; echo ready; \
                    while :; do mv /d /real; mv /l /d; mv /d /l; mv /real /d; done";

#[test]
fn privileged_a_link_that_is_swapped_in_leads_nowhere() {
    let host = Host::new();
    let outside = host.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "host").unwrap();
    fs::write(host.folder().join("mean"), "mean").unwrap();
    let out = format!("OUT={}", outside.display());
    host.ok(&[
        "run", "-d", "--name", "one", "-e", &out, "minimal", "sh", "-c", SWAP,
    ]);
    while host.ok(&["logs", "one"]) != "ready" {
        thread::yield_now();
    }
    let read = || {
        for _ in 0..TRIES / 2 {
            let tar = host.lamina(&["cp", "one:/d/secret", "-"]);
            assert!(!tar.stdout.contains("host"), "{tar:?}");
            let tar = host.lamina(&["cp", "-L", "one:/d", "-"]);
            assert!(!tar.stdout.contains("host"), "{tar:?}");
        }
    };
    let write = || {
        for _ in 0..TRIES / 2 {
            host.lamina(&["cp", "mean", "one:/d/secret"]);
            host.lamina(&["cp", "mean", "one:/d/"]);
        }
    };
    thread::scope(|scope| {
        scope.spawn(read);
        scope.spawn(write);
    });
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "host");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    clear(&host);
}
