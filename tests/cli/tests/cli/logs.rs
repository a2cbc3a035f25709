//! `--log-driver`, `--log-opt`, and `logs` of what they keep.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

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
