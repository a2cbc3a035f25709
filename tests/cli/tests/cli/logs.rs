//! `--log-driver`, `--log-opt`, and `logs` of what they keep.

use std::fs::{read_dir, read_to_string};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use insta::assert_snapshot;
use lamina_cli_tests::{past_events, transcript};
use lamina_testkit::{Host, Outcome};

use crate::restart::monitor_of;
use crate::{wait_for, wait_until};

#[test]
fn privileged_output_goes_where_it_was_asked_to_go() {
    let host = Host::new();
    let socket = host.folder().join("syslog");
    let daemon = UnixDatagram::bind(&socket).unwrap();
    daemon
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let address = format!("syslog-address=unixgram://{}", socket.display());
    let script = "echo out; echo err >&2";
    let flags = [
        "run",
        "--name",
        "box",
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "--log-opt",
        "tag={{.Name}}",
        "minimal",
        "sh",
        "-c",
        script,
    ];
    assert_snapshot!(transcript(&host, &flags), @"
    out
    ! err
    [exit 0]
    ");
    let mut buffer = [0; 4096];
    let mut lines: Vec<String> = (0..2)
        .map(|_| {
            let length = daemon.recv(&mut buffer).unwrap();
            let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
            line.chars().filter(|c| !c.is_ascii_digit()).collect()
        })
        .collect();
    lines.sort();
    assert_eq!(lines, ["<>box[]: err", "<>box[]: out"]);
    assert_snapshot!(transcript(&host, &["logs", "box"]), @"
    ! error: configured logging driver does not support reading
    [exit 1]
    ");
    let format = "{{.HostConfig.LogConfig.Type}} {{json .State.Running}}";
    assert_snapshot!(transcript(&host, &["inspect", "-f", format, "box"]), @"
    syslog false
    [exit 0]
    ");
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_output_passes_through_to_the_callers_own() {
    let host = Host::new();
    let file = |name: &str| std::fs::File::create(host.folder().join(name)).unwrap();
    let text = |name: &str| std::fs::read_to_string(host.folder().join(name)).unwrap();
    let run = |flags: &[&str], script: &str| {
        let driver = ["run", "--log-driver", "passthrough"];
        let words = [&driver, flags, &["minimal", "sh", "-c", script]].concat();
        host.command(&words)
    };
    // No pipe and no copy: what the program has open is the caller's file.
    let script = "stat -Lc %i /proc/1/fd/1 /proc/1/fd/2; echo err >&2; exit 3";
    let mut foreground = run(&["--rm"], script);
    foreground.stdout(file("out")).stderr(file("err"));
    assert_eq!(foreground.status().unwrap().code(), Some(3));
    let inode = |name: &str| {
        let file = std::fs::metadata(host.folder().join(name)).unwrap();
        file.ino()
    };
    assert_eq!(text("out"), format!("{}\n{}\n", inode("out"), inode("err")));
    assert_eq!(text("err"), "err\n");
    // Over restarts, after the command is gone; the next start has its own.
    let mut detached = run(
        &["-d", "--name", "box", "--restart", "on-failure:2"],
        "echo run; exit 1",
    );
    let status = detached.stdout(file("runs")).stderr(file("err")).status();
    assert!(status.unwrap().success());
    let state = [
        "inspect",
        "-f",
        "{{.State.Status}} {{.RestartCount}}",
        "box",
    ];
    wait_for("the last run", || {
        (host.ok(&state) == "exited 2").then_some(())
    });
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "box"]);
    let mut lines: Vec<String> = text("runs").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, [&*id, "run", "run", "run"]);
    assert_snapshot!(transcript(&host, &["logs", "box"]), @"
    ! error: configured logging driver does not support reading
    [exit 1]
    ");
    host.ok(&["update", "--restart", "no", "box"]);
    let started = host.command(&["start", "-a", "box"]).output().unwrap();
    assert_eq!(
        (started.status.code(), &started.stdout[..]),
        (Some(1), &b"run\n"[..])
    );
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_log_drivers_that_cannot_be_had_are_refused() {
    let host = Host::new();
    let run = |flags: &[&str]| {
        let words = [&["run", "--rm"], flags, &["minimal", "true"]].concat();
        transcript(&host, &words)
    };
    assert_snapshot!(run(&["--log-driver", "nope"]), @r#"
    ! error: error looking up logging plugin nope: plugin "nope" not found
    [exit 125]
    "#);
    let passthrough = ["--log-driver", "passthrough"];
    assert_snapshot!(run(&[&passthrough[..], &["-t"]].concat()), @"
    ! error: the '--log-driver passthrough' option cannot be used on a TTY
    [exit 125]
    ");
    assert_snapshot!(run(&[&passthrough[..], &["--log-opt", "a=b"]].concat()), @"
    ! error: invalid logging opts for driver passthrough
    [exit 125]
    ");
    assert_snapshot!(run(&["--log-opt", "max-size=x"]), @"
    ! error: failed to initialize logging driver: invalid size: 'x'
    [exit 125]
    ");
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_logs_are_searched_by_line() {
    let host = Host::new();
    let script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; printf last";
    let flags = [
        "run",
        "-d",
        "--name",
        "box",
        "--log-opt",
        "max-size=5k",
        "--log-opt",
        "max-file=9",
        "minimal",
        "sh",
        "-c",
        script,
    ];
    host.ok(&flags);
    host.ok(&["wait", "box"]);
    assert_snapshot!(transcript(&host, &["logs", "--grep", "line 29", "box"]), @"
    line 29
    line 290
    line 291
    line 292
    line 293
    line 294
    line 295
    line 296
    line 297
    line 298
    line 299
    [exit 0]
    ");
    assert_snapshot!(transcript(&host, &["logs", "--grep", "as", "-n", "1", "box"]), @"last[exit 0]");
    assert_snapshot!(transcript(&host, &["logs", "--grep", "nothing", "box"]), @"[exit 0]");
    host.remove_containers();
    host.sweep();
}

/// Writes numbers as fast as a shell can.
const NUMBERS: &str = "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo $i; done";

/// Returns the first and the last of numbers that follow each other.
fn numbers(printed: &str) -> (u32, u32) {
    let mut numbers = printed.lines().map(|line| line.parse::<u32>().unwrap());
    let first = numbers.next().unwrap();
    let last = numbers.fold(first, |last, number| {
        assert_eq!(number, last + 1);
        number
    });
    (first, last)
}

/// Returns the names of the files of a container's log.
fn files(host: &Host, name: &str) -> Vec<String> {
    let log = host.ok(&["inspect", "-f", "{{.LogPath}}", name]);
    let files = std::fs::read_dir(Path::new(&log).parent().unwrap()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn privileged_no_line_is_lost_to_rotation() {
    let host = Host::new();
    let run = [
        "run",
        "-d",
        "--label",
        "tier=a b",
        "--log-opt",
        "labels=tier,none",
        "-e",
        "A=1",
        "--log-opt",
        "env=A",
        "--log-opt",
        "max-size=200k",
    ];
    let staying = format!("{NUMBERS}; while ! [ -e /go ]; do sleep 0.05; done");
    for (name, files, script) in [
        ("all", "max-file=100", NUMBERS),
        ("some", "max-file=3", &staying),
    ] {
        let named = [
            "--name",
            name,
            "--log-opt",
            files,
            "minimal",
            "sh",
            "-c",
            script,
        ];
        host.ok(&[&run[..], &named].concat());
    }
    assert_eq!(numbers(&host.ok(&["logs", "-f", "all"])), (1, 40000));
    assert_eq!(numbers(&host.ok(&["logs", "all"])), (1, 40000));
    assert_eq!(
        numbers(&host.ok(&["logs", "-n", "15000", "all"])),
        (25001, 40000)
    );
    assert_eq!(
        host.ok(&["logs", "--details", "-n", "1", "all"]),
        "A=1,tier=a+b 40000"
    );
    // Whole, while it is packed and after that.
    let is_packed = |name: &String| name == "json.log" || name.ends_with(".log.gz");
    wait_for("packed files", || {
        let printed = host.ok(&["logs", "some"]);
        let is_whole = printed.ends_with("\n40000");
        let (first, _) = is_whole.then(|| numbers(&printed))?;
        let found = files(&host, "some");
        (first > 20000 && found.len() == 3 && found.iter().all(is_packed)).then_some(())
    });
    host.ok(&["exec", "some", "touch", "/go"]);
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_the_driver_local_keeps_the_programs_own_bytes() {
    let host = Host::new();
    // Of two streams the order is anybody's, but this comes with the first numbers at the latest.
    let script = format!("echo err >&2; {NUMBERS}; printf 'b\\377c'");
    let flags = [
        "run",
        "-d",
        "--name",
        "box",
        "--log-driver",
        "local",
        "--log-opt",
        "max-size=100k",
        "--log-opt",
        "max-file=40",
        "minimal",
        "sh",
        "-c",
        &script,
    ];
    host.ok(&flags);
    let read = |flags: &[&str]| {
        let words = [&["logs"], flags, &["box"]].concat();
        host.command(&words).output().unwrap().stdout
    };
    let whole = read(&["-f"]);
    let lines = whole.strip_suffix(b"b\xffc").unwrap();
    assert_eq!(numbers(std::str::from_utf8(lines).unwrap()), (1, 40000));
    host.ok(&["wait", "box"]);
    assert_eq!(read(&[]), whole);
    assert_eq!(read(&["-n", "2", "--since", "10m"]), b"40000\nb\xffc");
    assert_eq!(read(&["--until", "10m"]), b"");
    assert_eq!(read(&["--grep", "39999"]), b"39999\n");
    assert_eq!(read(&["--grep", "c"]), b"b\xffc");
    let told = read(&["-t", "--details", "-n", "1"]);
    assert!(told.ends_with(b"Z  b\xffc"));
    let format = "{{.HostConfig.LogConfig.Type}} {{json .LogPath}}";
    assert_eq!(host.ok(&["inspect", "-f", format, "box"]), "local \"\"");
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "box"]);
    let folder = host.root().join("containers").join(id).join("log");
    let names = || {
        std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap())
    };
    assert!(names().count() > 5);
    assert!(names().all(|file| file.metadata().unwrap().len() <= 100_000));
    assert!(host.ok(&["info"]).contains(" local "));
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_output_that_the_disk_refuses_is_told_of() {
    let host = Host::new();
    let script = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo $i; done; exit 5";
    let id = host.ok(&["create", "--name", "one", "minimal", "sh", "-c", script]);
    let log = host.root().join("containers").join(id).join("log");
    std::fs::create_dir(&log).unwrap();
    // A disk that is full before long.
    let mounted = Outcome::of(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&log),
    );
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    // The program goes on, and whoever is attached misses nothing.
    let started = host.lamina(&["start", "-a", "one"]);
    assert_eq!((started.code, numbers(&started.stdout)), (5, (1, 4000)));
    let logs = host.lamina(&["logs", "one"]);
    // What is there is whole; short lines may have fitted where long ones did not.
    let lines = logs.stdout.lines().map(|line| line.parse().unwrap());
    let lines: Vec<u32> = lines.collect();
    assert!(lines.is_sorted() && lines[0] == 1 && lines.len() < 4000);
    let lost = host.ok(&["inspect", "-f", "{{.State.LogBytesLost}}", "one"]);
    assert!(lost.parse::<u64>().unwrap() > 100_000, "{lost}");
    let told = format!("{lost} bytes of output are not in the log");
    assert!(logs.stderr.contains(&told), "{}", logs.stderr);
    let events = past_events(&host, &["-f", "event=log_lost"]);
    assert!(events.contains(" log_lost "));
    // Its monitor is about to leave.
    wait_for("the end of its monitor", || {
        let unmounted = Outcome::of(Command::new("umount").arg(&log));
        (unmounted.code == 0).then_some(())
    });
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_a_line_without_an_end_fills_no_memory() {
    const LENGTH: usize = 24 << 20;
    let host = Host::new();
    let script = format!("head -c {LENGTH} /dev/zero | tr '\\0' x; echo; sleep 1000");
    let run = ["run", "-d", "--name", "box"];
    let options = ["--log-opt", "max-size=4m", "--log-opt", "max-file=20"];
    host.ok(&[&run[..], &options, &["minimal", "sh", "-c", &script]].concat());
    let mut line = String::new();
    wait_until("all of it is in the log", || {
        line = host.lamina(&["logs", "box"]).stdout.trim_end().to_owned();
        line.len() == LENGTH
    });
    assert!(line.bytes().all(|byte| byte == b'x'));
    // It went on in further files, in the middle of the line.
    let path = host.ok(&["inspect", "-f", "{{.LogPath}}", "box"]);
    let folder = read_dir(Path::new(&path).parent().unwrap()).unwrap();
    let files = folder.flatten().map(|entry| entry.file_name());
    let files = files.filter(|name| name.to_string_lossy().starts_with("json."));
    assert!(files.count() >= 5, "{path}");
    let monitor = monitor_of(&host, "box");
    let rollup = read_to_string(format!("/proc/{monitor}/smaps_rollup")).unwrap();
    // What it has written; how much of the program it shares with others is not its doing.
    let dirty = rollup
        .lines()
        .find(|line| line.starts_with("Private_Dirty"));
    let kib = dirty.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    assert!(kib.unwrap() < 2048, "{rollup}");
    host.remove_containers();
    host.sweep();
}
