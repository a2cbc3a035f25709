//! `events`: what happened, in Docker's words.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use lamina_cli_tests::{normalise, past_events, transcript};
use lamina_testkit::Host;

/// All events but those of other kinds of things, without times and ids of executions.
fn events(host: &Host, flags: &[&str]) -> String {
    let text = past_events(host, flags);
    let lines = text.lines().map(|line| {
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(time.as_bytes().get(10), Some(&b'T'), "{line}");
        let line = normalise(host, rest).replace(" [ID] ", " ");
        match line.split_once("execDuration=") {
            Some((before, after)) => {
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}execDuration=[N]{after}\n")
            }
            None => line + "\n",
        }
    });
    lines.collect()
}

/// Waits until something has been told of: the end of a run with `--rm` is, after it was said.
fn told(host: &Host, flags: &[&str], end: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !events(host, flags).trim_end().ends_with(end) {
        assert!(Instant::now() < deadline, "{}", events(host, flags));
        sleep(Duration::from_millis(10));
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one life, and one transcript of it")]
fn privileged_the_life_of_a_container_is_told_as_docker_tells_it() {
    let host = Host::new();
    let follower = [
        "events",
        "--since",
        "1",
        "--format",
        "{{.Action}}",
        "--filter",
        "type=container",
    ];
    host.ok(&[
        "create", "--name", "box", "--label", "a=b", "minimal", "sleep", "1000",
    ]);
    let mut follower = host
        .command(&follower)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    host.ok(&["start", "box"]);
    host.ok(&["exec", "box", "true"]);
    for words in [
        &["pause", "box"][..],
        &["unpause", "box"],
        &["rename", "box", "web"],
        &["update", "--cpu-shares", "512", "web"],
        &["restart", "-t", "0", "web"],
        &["kill", "-s", "USR1", "web"],
        &["commit", "-m", "why", "web", "made"],
        &["stop", "-t", "0", "web"],
        &["rm", "web"],
        &["rmi", "made"],
    ] {
        host.ok(words);
    }
    assert_snapshot!(events(&host, &["--filter", "type=container"]), @"
    container create (a=b, image=minimal, name=box)
    container start (a=b, image=minimal, name=box)
    container exec_create: true  (a=b, execID=[ID], image=minimal, name=box)
    container exec_start: true  (a=b, execID=[ID], image=minimal, name=box)
    container exec_die (a=b, execID=[ID], exitCode=0, image=minimal, name=box)
    container pause (a=b, image=minimal, name=box)
    container unpause (a=b, image=minimal, name=box)
    container rename (a=b, image=minimal, name=web, oldName=/box)
    container update (a=b, image=minimal, name=web)
    container kill (a=b, image=minimal, name=web, signal=15)
    container kill (a=b, image=minimal, name=web, signal=9)
    container die (a=b, execDuration=[N], exitCode=137, image=minimal, name=web, reason=signal, signal=9)
    container stop (a=b, image=minimal, name=web)
    container start (a=b, image=minimal, name=web)
    container restart (a=b, image=minimal, name=web)
    container kill (a=b, image=minimal, name=web, signal=10)
    container commit (a=b, comment=why, image=minimal, imageID=sha256:[ID], imageRef=made:latest, name=web)
    container kill (a=b, image=minimal, name=web, signal=15)
    container kill (a=b, image=minimal, name=web, signal=9)
    container die (a=b, execDuration=[N], exitCode=137, image=minimal, name=web, reason=signal, signal=9)
    container stop (a=b, image=minimal, name=web)
    container destroy (a=b, image=minimal, name=web)
    ");
    assert_snapshot!(events(&host, &["--filter", "image=made", "--filter", "type=image"]), @"
    image tag sha256:[ID] (name=made:latest)
    image untag sha256:[ID] (name=made:latest)
    ");
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let said: Vec<String> = lines.by_ref().take(8).map(Result::unwrap).collect();
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(said[..3], ["create", "start", "exec_create: true "]);
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_runs_are_told_of_with_the_reason_of_their_end() {
    let host = Host::new();
    host.lamina(&["run", "--name", "no", "minimal", "nope"]);
    host.lamina(&[
        "run", "--rm", "--name", "fg", "minimal", "sh", "-c", "exit 7",
    ]);
    let flags = ["--filter", "container=fg", "--filter", "container=no"];
    told(&host, &flags, "(image=minimal, name=fg)");
    assert_snapshot!(events(&host, &flags), @r#"
    container create (image=minimal, name=no)
    container attach (image=minimal, name=no)
    container die (error=exec: "nope": executable file not found in $PATH, exitCode=127, image=minimal, name=no, reason=failed start)
    container create (image=minimal, name=fg)
    container attach (image=minimal, name=fg)
    container start (image=minimal, name=fg)
    container die (execDuration=[N], exitCode=7, image=minimal, name=fg, reason=exited)
    container destroy (image=minimal, name=fg)
    "#);
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_events_of_a_store_without_any() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["events", "--since", "x"]), @r#"
    ! error: failed to parse value as time or duration: "x"
    ! hint: known are 2013-01-02T13:23:37Z, seconds since 1970, and 42m for before 42 minutes
    [exit 1]
    "#);
    assert_snapshot!(transcript(&host, &["events", "--filter", "bad=1"]), @r#"
    ! error: invalid filter "bad=1"
    ! hint: known are type=, event=, container=, image=, volume=, network=, label=, scope=
    [exit 1]
    "#);
    assert_snapshot!(transcript(&host, &["events", "--until", "0s"]), @"[exit 0]");
}
