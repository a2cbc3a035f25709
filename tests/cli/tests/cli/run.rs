//! Containers of the built-in image: exit codes, output, and that nothing is left.

use std::io::{Read, Write};
use std::process::Stdio;

use insta::assert_snapshot;
use lamina_cli_tests::{show, transcript};
use lamina_testkit::{Host, Outcome};

/// Runs `run --rm minimal …`.
fn run(host: &Host, words: &[&str]) -> Outcome {
    let mut line = vec!["run", "--rm"];
    line.extend(words);
    host.lamina(&line)
}

#[test]
fn privileged_exit_codes_are_the_programs() {
    let host = Host::new();
    for (words, code) in [
        (&["minimal", "true"][..], 0),
        (&["minimal", "sh", "-c", "exit 3"], 3),
        (&["minimal", "sh", "-c", "kill -9 $$; sleep 5"], 0),
        (&["minimal", "/etc/passwd"], 126),
        (&["minimal", "no-such-program"], 127),
        (&["--init", "minimal", "sh", "-c", "kill -9 $$"], 137),
        (&["--init", "minimal", "sh", "-c", "kill -15 $$"], 143),
    ] {
        let outcome = run(&host, words);
        // Process 1 ignores signals that it has no handler for, its own included.
        assert_eq!(outcome.code, code, "{words:?}: {outcome:?}");
    }
    host.sweep();
}

#[test]
fn privileged_a_program_that_cannot_be_started() {
    let host = Host::new();
    host.ok(&["run", "--rm", "minimal", "true"]);
    assert_snapshot!(show(&host, &run(&host, &["minimal", "no-such-program"])), @r#"
    ! error: exec: "no-such-program": executable file not found in $PATH
    [exit 127]
    "#);
    assert_snapshot!(show(&host, &run(&host, &["minimal", "/etc/passwd"])), @r#"
    ! error: exec: "/etc/passwd": permission denied
    [exit 126]
    "#);
    host.sweep();
}

#[test]
fn privileged_output_stays_apart_and_input_arrives() {
    let host = Host::new();
    let outcome = run(&host, &["minimal", "sh", "-c", "echo out; echo err >&2"]);
    let (out, err) = (outcome.stdout.as_str(), outcome.stderr.as_str());
    assert_eq!((out, err.lines().last()), ("out\n", Some("err")));
    let mut command = host.command(&["run", "--rm", "-i", "minimal", "cat"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let mut output = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut output)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(output, "hello\n");
    host.sweep();
}

#[test]
fn privileged_flags_reach_the_program() {
    let host = Host::new();
    for (flags, script, expected) in [
        (&["-e", "A=1"][..], "echo $A", "1"),
        (&["-w", "/tmp"], "pwd", "/tmp"),
        (&["-h", "box"], "hostname", "box"),
        (&["-u", "1000:1001"], "id -u; id -g", "1000\n1001"),
        (&["--entrypoint", "echo"], "x", "-c x"),
        (
            &["--read-only"],
            "touch /x 2>/dev/null || echo refused",
            "refused",
        ),
        (&["--tmpfs", "/t"], "touch /t/x && echo written", "written"),
        (
            &["--cap-drop", "ALL"],
            "grep CapEff /proc/self/status",
            "CapEff:\t0000000000000000",
        ),
    ] {
        let mut words = flags.to_vec();
        words.push("minimal");
        // An entrypoint takes the place of the shell.
        if !flags.contains(&"--entrypoint") {
            words.push("sh");
        }
        words.extend(["-c", script]);
        let outcome = run(&host, &words);
        assert_eq!(
            outcome.stdout.trim_end(),
            expected,
            "{flags:?}: {outcome:?}"
        );
    }
    host.sweep();
}

#[test]
fn privileged_a_directory_of_the_host() {
    let host = Host::new();
    let shared = host.folder().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let mount = format!("{}:/x", shared.display());
    let read_only = format!("{mount}:ro");
    let write = ["minimal", "sh", "-c", "echo hi > /x/file"];
    assert_eq!(
        run(&host, &[&["-v", &read_only][..], &write].concat()).code,
        2
    );
    assert_eq!(run(&host, &[&["-v", &mount][..], &write].concat()).code, 0);
    assert_eq!(
        std::fs::read_to_string(shared.join("file")).unwrap(),
        "hi\n"
    );
    // A relative source is below the working directory, which is the host's folder.
    assert_eq!(
        run(&host, &["-v", "./shared:/x", "minimal", "ls", "/x"]).stdout,
        "file\n"
    );
    assert_snapshot!(show(&host, &run(&host, &["-v", "./nope:/x", "minimal", "true"])), @r"
    ! error: bind source path does not exist: [HOST]/nope
    ! hint: mkdir -p [HOST]/nope
    [exit 125]
    ");
    host.sweep();
}

#[test]
fn privileged_an_unknown_image() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["run", "--rm", "--pull", "never", "nope", "true"]), @r"
    ! error: no such image: nope:latest
    ! hint: lamina images shows what is here; look for a typing mistake in the name
    [exit 125]
    ");
    host.sweep();
}

#[test]
fn privileged_detached_and_its_end() {
    let host = Host::new();
    let id = host.ok(&[
        "run",
        "-d",
        "--name",
        "bg",
        "minimal",
        "sh",
        "-c",
        "echo up; sleep 100",
    ]);
    assert_eq!(id.len(), 64);
    assert_eq!(host.ok(&["ps", "-q", "--no-trunc"]), id);
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.Status}}", "bg"]),
        "running"
    );
    assert_eq!(host.ok(&["stop", "-t", "0", "bg"]), "bg");
    assert_eq!(host.ok(&["wait", "bg"]), "137");
    assert_eq!(host.ok(&["logs", "bg"]), "up");
    assert_eq!(host.ok(&["rm", "bg"]), "bg");
    host.sweep();
}

#[test]
fn privileged_a_removed_container_leaves_nothing_when_detached() {
    let host = Host::new();
    host.ok(&["run", "-d", "--rm", "minimal", "sleep", "0.2"]);
    host.sweep();
}

#[test]
fn privileged_signals_reach_the_program() {
    let host = Host::new();
    host.ok(&["run", "--rm", "minimal", "true"]);
    let script = "trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = host.command(&["run", "--rm", "minimal", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "term\n");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    host.sweep();
}

#[test]
fn privileged_explain_tells_every_process() {
    let host = Host::new();
    let outcome = run(&host, &["--explain=json", "minimal", "true"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let lines = outcome.stderr.lines().filter(|line| line.starts_with('{'));
    let steps: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for process in ["lamina", "monitor", "init"] {
        assert!(
            steps.iter().any(|step| step["process"] == process),
            "{process}: {outcome:?}"
        );
    }
    assert!(
        steps
            .iter()
            .any(|step| step["command"].as_str().unwrap().contains("pivot_root"))
    );
    let text = run(&host, &["--explain", "minimal", "true"]).stderr;
    assert!(text.contains("$ ") && text.contains("in all"), "{text}");
    host.sweep();
}

#[test]
fn privileged_a_cidfile_is_written_once() {
    let host = Host::new();
    let words = ["run", "--cidfile", "id", "--name", "one", "minimal", "true"];
    host.ok(&words);
    let id = std::fs::read_to_string(host.folder().join("id")).unwrap();
    assert_eq!(host.ok(&["inspect", "-f", "{{.Id}}", "one"]), id);
    assert_snapshot!(transcript(&host, &words), @r"
    ! error: container ID file found, make sure the other container isn't running or delete [HOST]/id
    ! hint: rm [HOST]/id
    [exit 125]
    ");
    host.ok(&["rm", "one"]);
    host.sweep();
}
