//! `exec`: more processes of a container that runs.

use std::fs::{read_dir, read_to_string};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::Host;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

/// A host with a container that waits.
fn host_with(flags: &[&str]) -> Host {
    let host = Host::new();
    let words = [
        &["run", "-d", "--name", "box"],
        flags,
        &["minimal", "sleep", "1000"],
    ];
    host.ok(&words.concat());
    host
}

fn spawn(host: &Host, words: &[&str]) -> Child {
    let piped = Stdio::piped;
    let mut command = host.command(words);
    command.stdin(piped()).stdout(piped()).stderr(piped());
    command.spawn().unwrap()
}

/// Returns the bundle of the only container.
fn bundle(host: &Host) -> PathBuf {
    let mut bundles = read_dir(host.run_root().join("containers")).unwrap();
    bundles.next().unwrap().unwrap().path()
}

/// Removes every container; nothing of them may be left.
fn clear(host: &Host) {
    host.remove_containers();
    host.sweep();
}

/// Returns the ids of what was executed in the container and runs.
fn running(host: &Host) -> Vec<Value> {
    let inspect: Value = serde_json::from_str(&host.ok(&["inspect", "box"])).unwrap();
    inspect[0]["ExecIDs"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn privileged_exec_says_what_dockers_says() {
    let host = host_with(&["-e", "OF=box", "-w", "/tmp"]);
    assert_snapshot!(transcript(&host, &["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 7"]), @"
    out
    ! err
    [exit 7]
    ");
    let script = "pwd; id -u; id -g; echo $OF $MORE $HOSTNAME";
    assert_snapshot!(transcript(&host, &["exec", "-e", "MORE=x", "box", "sh", "-c", script]), @"
    /tmp
    0
    0
    box x [SHORT ID]
    [exit 0]
    ");
    let words = [
        "exec", "-u", "33:44", "-w", "/etc", "box", "sh", "-c", script,
    ];
    assert_snapshot!(transcript(&host, &words), @"
    /etc
    33
    44
    box [SHORT ID]
    [exit 0]
    ");
    assert_snapshot!(transcript(&host, &["exec", "box", "nope"]), @r#"
    ! error: exec: "nope": executable file not found in $PATH
    [exit 127]
    "#);
    assert_snapshot!(transcript(&host, &["exec", "box", "/etc"]), @r#"
    ! error: exec: "/etc": is a directory
    [exit 126]
    "#);
    assert_snapshot!(transcript(&host, &["exec", "-w", "/nope", "box", "true"]), @"
    ! error: enter the working directory /nope: no such file or directory
    [exit 127]
    ");
    assert_snapshot!(transcript(&host, &["exec", "-u", "nobody-known", "box", "true"]), @"
    ! error: unable to find user nobody-known: no matching entries in passwd file
    [exit 126]
    ");
    clear(&host);
}

#[test]
fn privileged_exec_wants_a_container_that_runs() {
    let host = host_with(&[]);
    assert_snapshot!(transcript(&host, &["exec", "none", "true"]), @"
    ! error: no such container: none
    ! hint: lamina ps -a shows all containers
    [exit 1]
    ");
    host.ok(&["pause", "box"]);
    assert_snapshot!(transcript(&host, &["exec", "box", "true"]), @"
    ! error: container [ID] is paused, unpause the container before exec
    ! hint: lamina unpause box
    [exit 1]
    ");
    host.ok(&["unpause", "box"]);
    host.ok(&["stop", "-t", "0", "box"]);
    assert_snapshot!(transcript(&host, &["exec", "box", "true"]), @"
    ! error: container [ID] is not running
    ! hint: lamina start box
    [exit 1]
    ");
    assert_snapshot!(transcript(&host, &["attach", "box"]), @"
    ! error: cannot attach to container [ID]: it is not running
    ! hint: lamina start box
    [exit 1]
    ");
    clear(&host);
}

#[test]
fn privileged_exec_is_inside_and_confined_as_the_container() {
    let host = host_with(&["--pids-limit", "50", "--cap-drop", "CHOWN"]);
    let facts = "for n in mnt uts ipc net cgroup pid; do readlink /proc/self/ns/$n; done; \
                 grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/self/status; cat /proc/self/cgroup";
    let of = |command: &[&str]| host.ok(&[command, &["sh", "-c", facts]].concat());
    let within = of(&["exec", "box"]);
    let namespaces = host.ok(&[
        "exec",
        "box",
        "sh",
        "-c",
        "for n in mnt uts ipc net cgroup pid; do readlink /proc/1/ns/$n; done",
    ]);
    assert_eq!(
        within.lines().take(6).collect::<Vec<_>>(),
        namespaces.lines().collect::<Vec<_>>()
    );
    // What a run with the same flags has.
    let run = of(&[
        "run",
        "--rm",
        "--pids-limit",
        "50",
        "--cap-drop",
        "CHOWN",
        "minimal",
    ]);
    let skip = |text: &str| text.lines().skip(6).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(skip(&within), skip(&run));
    // No descriptor but the standard ones, and the one of the listing itself.
    let fds = host.ok(&["exec", "box", "ls", "/proc/self/fd"]);
    assert_eq!(
        fds.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
    let privileged = host.ok(&[
        "exec",
        "--privileged",
        "box",
        "sh",
        "-c",
        "grep -E '^(CapEff|Seccomp:)' /proc/self/status; mount -t tmpfs none /mnt && echo mounted",
    ]);
    assert!(
        privileged.contains("Seccomp:\t0") && privileged.ends_with("mounted"),
        "{privileged}"
    );
    // The container's limit holds for it.
    let forks = "i=0; while [ $i -lt 80 ]; do sleep 5 & i=$((i+1)); done";
    let outcome = host.lamina(&["exec", "box", "sh", "-c", forks]);
    assert_ne!(outcome.code, 0, "{outcome:?}");
    clear(&host);
}

#[test]
fn privileged_exec_takes_input_and_goes_on_alone() {
    let host = host_with(&[]);
    let mut child = spawn(
        &host,
        &[
            "exec",
            "-i",
            "box",
            "sh",
            "-c",
            "read a; echo got $a; cat; exit 3",
        ],
    );
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"one\ntwo\n")
        .unwrap();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(
        (text.as_str(), child.wait().unwrap().code()),
        ("got one\ntwo\n", Some(3))
    );

    assert_eq!(
        host.ok(&[
            "exec",
            "-d",
            "box",
            "sh",
            "-c",
            "echo $$ > /tmp/d; exec sleep 1000"
        ]),
        ""
    );
    wait_until("the detached program writes", || {
        !host
            .lamina(&["exec", "box", "cat", "/tmp/d"])
            .stdout
            .is_empty()
    });
    assert_eq!(running(&host).len(), 1);
    host.ok(&["exec", "box", "sh", "-c", "kill $(cat /tmp/d)"]);
    wait_until("the end of the detached program", || {
        running(&host).is_empty()
    });
    // Nothing of the others is left.
    assert_eq!(read_dir(bundle(&host).join("exec")).unwrap().count(), 1);
    clear(&host);
}

#[test]
fn privileged_a_stopped_client_of_exec_holds_up_nothing() {
    let host = host_with(&[]);
    let mut child = spawn(
        &host,
        &[
            "exec",
            "box",
            "sh",
            "-c",
            "echo on; while :; do echo y; done",
        ],
    );
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "on\n");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    let begun = Instant::now();
    host.ok(&["stop", "-t", "1", "box"]);
    assert!(begun.elapsed() < PATIENCE);
    kill_process(pid, Signal::CONT).unwrap();
    drop(output);
    child.wait().unwrap();
    wait_until("the supervisor ends", || supervisors(&host) == 0);
    clear(&host);
}

/// Returns how many processes supervise something on this host.
fn supervisors(host: &Host) -> usize {
    let run = host.run_root().to_string_lossy().into_owned();
    let processes = read_dir("/proc").unwrap().flatten();
    let words = processes.filter_map(|p| read_to_string(p.path().join("cmdline")).ok());
    words
        .filter(|words| words.contains("__monitor") && words.contains(&run))
        .count()
}

#[test]
fn privileged_a_killed_client_or_supervisor_of_exec_leaves_nothing() {
    let host = host_with(&[]);
    let programs = || host.ok(&["top", "box", "-o", "args"]);
    // The client: the program goes on, as in Docker, and ends with its container.
    let mut child = spawn(
        &host,
        &["exec", "box", "sh", "-c", "echo on; exec sleep 999"],
    );
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut String::new())
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the program goes on", || programs().contains("\nsleep 999"));
    // The supervisor: its client has another, and the container does not notice.
    let mut child = spawn(
        &host,
        &["exec", "box", "sh", "-c", "echo on; exec sleep 998"],
    );
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut String::new())
        .unwrap();
    let words: Value = serde_json::from_str(&host.ok(&["inspect", "box"])).unwrap();
    let ids = words[0]["ExecIDs"].as_array().unwrap();
    assert_eq!(ids.len(), 2);
    for id in ids {
        let state = bundle(&host)
            .join("exec")
            .join(id.as_str().unwrap())
            .join("state.json");
        let state: Value = serde_json::from_str(&read_to_string(state).unwrap()).unwrap();
        let pid = Pid::from_raw(i32::try_from(state["monitor_pid"].as_i64().unwrap()).unwrap());
        kill_process(pid.unwrap(), Signal::KILL).unwrap();
    }
    assert!(programs().contains("\nsleep 1000"), "{}", programs());
    // What both have begun goes with the container, and whoever waited is told.
    host.ok(&["stop", "-t", "0", "box"]);
    assert_ne!(child.wait().unwrap().code(), Some(0));
    clear(&host);
}

#[test]
fn privileged_only_the_last_detached_executions_are_remembered() {
    let host = host_with(&[]);
    let records = bundle(&host).join("exec");
    for _ in 0..20 {
        host.ok(&["exec", "-d", "box", "true"]);
    }
    // Each one lets go of what had ended before it: the last makes it sixteen, and itself.
    wait_until("all have ended", || running(&host).is_empty());
    host.ok(&["exec", "box", "true"]);
    wait_until("the others are let go of", || {
        read_dir(&records).unwrap().count() <= 17
    });
    assert!(read_dir(&records).unwrap().count() >= 16);
    clear(&host);
}
