//! Looking at what runs: top, stats, port, wait.

use std::process::Stdio;

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;

fn running() -> Host {
    let host = Host::new();
    host.ok(&[
        "create",
        "--name",
        "one",
        "minimal",
        "sh",
        "-c",
        "sleep 1000; exit 7",
    ]);
    host.ok(&["start", "one"]);
    host
}

#[test]
fn privileged_processes_are_shown_without_a_ps_in_the_image() {
    let host = running();
    let mut top = host.ok(&["top", "one"]);
    // The shell may not have made its child yet, or that be still the shell.
    let is_sleep = |line: &str| line.split_whitespace().nth(7) == Some("sleep");
    while !top.lines().skip(2).any(is_sleep) {
        top = host.ok(&["top", "one"]);
    }
    let lines: Vec<Vec<&str>> = top
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    );
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", "one"]);
    assert_eq!((lines[1][0], lines[1][1]), ("root", pid.as_str()));
    assert_eq!((lines[2][2], lines[2][7]), (pid.as_str(), "sleep"));
    assert!(
        top.starts_with("UID                 PID                 PPID"),
        "{top}"
    );
    let columns = host.ok(&["top", "one", "-o", "pid,comm"]);
    let expected = format!("PID                 COMMAND\n{pid:<20}sh");
    assert!(columns.starts_with(&expected), "{columns}");
    assert_snapshot!(transcript(&host, &["top", "one", "-o", "pid,color"]), @r#"
    ! error: unknown user-defined format specifier "color"
    [exit 1]
    "#);
    host.ok(&["rm", "-f", "one"]);
    assert_snapshot!(transcript(&host, &["top", "one"]), @r"
    ! error: no such container: one
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    host.ok(&["create", "--name", "two", "minimal", "true"]);
    assert_snapshot!(transcript(&host, &["top", "two"]), @r"
    ! error: container [ID] is not running
    [exit 1]
    ");
    host.remove_containers();
}

#[test]
fn privileged_what_is_used_is_shown() {
    let host = running();
    host.ok(&["create", "--name", "idle", "minimal", "true"]);
    let table = host.ok(&["stats", "--no-stream"]);
    let mut lines = table.lines();
    let header = lines
        .next()
        .unwrap_or_default()
        .split("  ")
        .filter(|word| !word.is_empty());
    let header: Vec<&str> = header.map(str::trim).collect();
    let expected = "CONTAINER ID,NAME,CPU %,MEM USAGE / LIMIT,MEM %,NET I/O,BLOCK I/O,PIDS";
    assert_eq!(header.join(","), expected);
    assert_eq!(lines.count(), 1, "{table}");
    let row = "{{.Name}} {{.PIDs}} {{.NetIO}}";
    assert_eq!(
        host.ok(&["stats", "--no-stream", "--format", row, "idle"]),
        "idle 0 0B / 0B"
    );
    let json = host.ok(&["stats", "--no-stream", "-a", "--format", "json"]);
    assert_eq!(json.lines().count(), 2, "{json}");
    let one = json
        .lines()
        .find(|line| line.contains(r#""Name":"one""#))
        .unwrap();
    assert!(!one.contains(r#""MemUsage":"0B"#), "{one}");
    host.remove_containers();
}

#[test]
fn privileged_a_stream_ends_with_its_container() {
    let host = running();
    let mut command = host.command(&["stats", "one"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    host.ok(&["rm", "-f", "one"]);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("\u{1b}[HCONTAINER ID"), "{text:?}");
}

#[test]
fn privileged_nothing_is_published() {
    let host = running();
    assert_snapshot!(transcript(&host, &["port", "one"]), @"[exit 0]");
    assert_snapshot!(transcript(&host, &["port", "one", "80"]), @r"
    ! error: no public port '80/tcp' published for one
    [exit 1]
    ");
    host.ok(&["rm", "-f", "one"]);
}

#[test]
fn privileged_a_condition_is_waited_for() {
    let host = running();
    let wait = |condition: &str| {
        let mut command = host.command(&["wait", "--condition", condition, "one"]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let (next, removed) = (wait("next-exit"), wait("removed"));
    host.ok(&["kill", "-s", "KILL", "one"]);
    let said = |child: std::process::Child| {
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(host.ok(&["wait", "one"]), "137");
    // It may have begun to wait only after the end.
    host.ok(&["start", "one"]);
    host.ok(&["kill", "one"]);
    assert_eq!(said(next), "137\n");
    host.ok(&["rm", "one"]);
    assert_eq!(said(removed), "137\n");
    assert_snapshot!(transcript(&host, &["wait", "--condition", "nonsense", "one"]), @r"
    ! error: invalid value 'nonsense' for '--condition <CONDITION>' [possible values: not-running, next-exit, removed, healthy]
    [exit 125]
    ");
}
