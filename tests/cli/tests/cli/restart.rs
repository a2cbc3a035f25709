//! Restart policies: what ends is started again, until somebody stops it.

use std::fs::{File, copy, read_to_string, remove_file};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use lamina_cli_tests::transcript;
use lamina_testkit::{Host, binary};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait_until;

/// The status of a container as `inspect` tells it.
pub(crate) fn status(host: &Host, name: &str) -> String {
    host.ok(&["inspect", "-f", "{{.State.Status}}", name])
}

pub(crate) fn wait_for_status(host: &Host, name: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while status(host, name) != wanted {
        assert!(
            Instant::now() < deadline,
            "{name} is {}",
            status(host, name)
        );
        sleep(Duration::from_millis(5));
    }
}

pub(crate) fn monitor_of(host: &Host, name: &str) -> Pid {
    let id = host.ok(&["inspect", "-f", "{{.Id}}", name]);
    let state = host.root().join("containers").join(id).join("state.json");
    let state: Value = serde_json::from_str(&read_to_string(state).unwrap()).unwrap();
    let pid = state["monitor_pid"].as_i64().unwrap();
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

pub(crate) fn clear(host: &Host) {
    host.remove_containers();
    host.sweep();
}

/// A program that counts its runs in its own filesystem.
const COUNT: &str = "read n </n 2>/dev/null; n=$((n+1)); echo $n >/n; echo run $n; ";

#[test]
fn privileged_a_failing_program_is_restarted_so_many_times() {
    let host = Host::new();
    let script = format!("{COUNT} exit 4");
    let words = ["--restart", "on-failure:2", "minimal", "sh", "-c", &script];
    let run = host.lamina(&[&["run", "--name", "one"], &words[..]].concat());
    // The command is there for the first run.
    assert_eq!((run.code, run.stdout.as_str()), (4, "run 1\n"));
    // Follows over all runs, and ends with the last.
    assert_eq!(host.ok(&["logs", "-f", "one"]), "run 1\nrun 2\nrun 3");
    wait_for_status(&host, "one", "exited");
    let format = "{{.RestartCount}} {{.State.ExitCode}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(host.ok(&["inspect", "-f", format, "one"]), "2 4 on-failure");
    assert_eq!(host.ok(&["wait", "one"]), "4");
    // Somebody starts it: it counts from the beginning.
    host.ok(&["start", "one"]);
    assert!(
        host.ok(&["logs", "-f", "one"])
            .ends_with("run 3\nrun 4\nrun 5\nrun 6")
    );
    // A program that never ran is not tried again, and one that is fine is left alone.
    let bad = host.lamina(&[
        "run",
        "-d",
        "--name",
        "bad",
        "--restart",
        "always",
        "minimal",
        "/no",
    ]);
    assert_eq!(bad.code, 127);
    assert_eq!(status(&host, "bad"), "created");
    host.ok(&[
        "run",
        "--name",
        "fine",
        "--restart",
        "on-failure",
        "minimal",
        "true",
    ]);
    assert_eq!(status(&host, "fine"), "exited");
    clear(&host);
}

/// What commands say of a container that waits to be restarted.
fn assert_it_is_said(host: &Host) {
    let failed = |host: &Host, words: &[&str]| {
        let failed = host.lamina(words);
        assert_eq!(failed.code, 1, "{words:?}: {}", failed.stderr);
        failed.stderr
    };
    let listed = host.ok(&[
        "ps",
        "--filter",
        "status=restarting",
        "--format",
        "{{.Status}}",
    ]);
    assert!(listed.starts_with("Restarting (3) "), "{listed}");
    for words in [
        &["exec", "one", "true"][..],
        &["pause", "one"],
        &["top", "one"],
        &["attach", "one"],
        &["rm", "one"],
    ] {
        assert!(failed(host, words).contains("restarting"), "{words:?}");
    }
    let state: Value =
        serde_json::from_str(&host.ok(&["inspect", "-f", "{{json .State}}", "one"])).unwrap();
    let shown = ["Running", "Restarting", "Pid", "ExitCode"].map(|key| state[key].clone());
    assert_eq!(
        Value::from(shown.to_vec()),
        serde_json::json!([true, true, 0, 3])
    );
}

#[test]
fn privileged_what_somebody_stops_is_not_restarted() {
    let host = Host::new();
    let words = ["--restart", "always", "minimal", "sh", "-c", "exit 3"];
    let run = host.lamina(&[&["run", "--name", "one"], &words[..]].concat());
    assert_eq!(run.code, 3);
    // A monitor that is stopped while it waits leaves the time to look at it.
    let monitor = monitor_of(&host, "one");
    loop {
        wait_for_status(&host, "one", "restarting");
        kill_process(monitor, Signal::STOP).unwrap();
        if status(&host, "one") == "restarting" {
            break;
        }
        kill_process(monitor, Signal::CONT).unwrap();
    }
    assert_it_is_said(&host);
    kill_process(monitor, Signal::CONT).unwrap();
    host.ok(&["stop", "one"]);
    assert_eq!(status(&host, "one"), "exited");
    // By hand it runs again, and its policy holds again.
    host.ok(&["start", "one"]);
    wait_for_status(&host, "one", "restarting");
    host.ok(&["kill", "one"]);
    assert_eq!(status(&host, "one"), "exited");
    host.ok(&["start", "one"]);
    // Another policy is found when the run ends.
    host.ok(&["update", "--restart", "no", "one"]);
    wait_for_status(&host, "one", "exited");
    // One that runs and is killed is not restarted either; one that kills itself is.
    let words = ["--restart", "unless-stopped", "minimal", "sh", "-c"];
    let two = [
        &["run", "-d", "--name", "two"],
        &words[..],
        &["while :; do sleep 1; done"],
    ];
    host.ok(&two.concat());
    host.ok(&["kill", "two"]);
    assert_eq!(status(&host, "two"), "exited");
    assert_eq!(host.ok(&["wait", "two"]), "137");
    clear(&host);
}

#[test]
fn privileged_a_client_stays_over_a_restart() {
    let host = Host::new();
    let script =
        format!("{COUNT} [ $n = 1 ] || exit 0; while ! [ -e /go ]; do echo .; done; exit 1");
    let words = ["--restart", "on-failure", "minimal", "sh", "-c", &script];
    host.ok(&[&["run", "-d", "--name", "one"], &words[..]].concat());
    let mut attach = host.command(&["attach", "one"]);
    let mut attached = attach.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(attached.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    // The container may end before this has.
    host.lamina(&["exec", "one", "sh", "-c", ": >/go"]);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("run 2\n"), "{rest}");
    assert_eq!(attached.wait().unwrap().code(), Some(0));
    clear(&host);
}

#[test]
fn privileged_a_monitor_killed_while_it_waits_leaves_the_truth() {
    let host = Host::new();
    let words = ["--restart", "always", "minimal", "sh", "-c", "exit 3"];
    host.lamina(&[&["run", "--name", "one"], &words[..]].concat());
    // At any moment of waiting and starting.
    for _ in 0..3 {
        let monitor = monitor_of(&host, "one");
        let _ = kill_process(monitor, Signal::KILL);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !matches!(status(&host, "one").as_str(), "exited" | "dead" | "created") {
            assert!(Instant::now() < deadline, "{}", status(&host, "one"));
            // A start that was on its way has another monitor's, or an orphan is ending.
            sleep(Duration::from_millis(5));
        }
        host.ok(&["start", "one"]);
    }
    host.ok(&["rm", "-f", "one"]);
    clear(&host);
}

/// Ends everything of a container as a power cut does: its records tell of another boot.
fn cut_power(host: &Host, name: &str) {
    let id = host.ok(&["inspect", "-f", "{{.Id}}", name]);
    let path = host.root().join("containers").join(id).join("state.json");
    let mut state: Value = serde_json::from_str(&read_to_string(&path).unwrap()).unwrap();
    for pid in ["monitor_pid", "pid"] {
        let pid = i32::try_from(state[pid].as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    state["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    let mut file = File::create(&path).unwrap();
    file.write_all(state.to_string().as_bytes()).unwrap();
}

#[test]
fn privileged_a_boot_starts_what_its_policy_says() {
    let host = Host::new();
    for (name, policy) in [
        ("aa", "always"),
        ("bb", "always"),
        ("cc", "unless-stopped"),
        ("dd", "unless-stopped"),
        ("ee", "on-failure"),
        ("ff", "no"),
    ] {
        let flags = ["run", "-d", "--name", name, "--restart", policy];
        host.ok(&[&flags[..], &["minimal", "sleep", "1000"]].concat());
    }
    host.ok(&[
        "create",
        "--name",
        "new",
        "--restart",
        "always",
        "minimal",
        "true",
    ]);
    host.ok(&["kill", "bb", "dd"]);
    for name in ["aa", "cc", "ee", "ff"] {
        cut_power(&host, name);
        wait_for_status(&host, name, "exited");
        // What is not known is not invented: it is Docker's code for that.
        let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}";
        let state = host.ok(&["inspect", "-f", format, name]);
        assert!(
            state.starts_with("exited 255 the exit status is not known"),
            "{state}"
        );
    }
    assert_eq!(host.ok(&["start", "--all-restart"]), "aa\nbb\ncc\nee");
    let running = host.ok(&["ps", "--format", "{{.Names}}"]);
    assert_eq!(running, "ee\ncc\nbb\naa");
    assert_eq!(host.ok(&["start", "--all-restart"]), "");
    clear(&host);
}

#[test]
fn bad_policies_are_refused_in_dockers_words() {
    let host = Host::new();
    assert_snapshot!(transcript(&host, &["create", "--restart", "always:3", "minimal"]), @r"
    ! error: maximum retry count cannot be used with restart policy 'always'
    [exit 125]
    ");
    assert_snapshot!(transcript(&host, &["run", "--rm", "--restart", "always", "minimal"]), @r"
    ! error: conflicting options: cannot specify both --restart and --rm
    [exit 125]
    ");
}

#[test]
fn privileged_a_container_outlives_the_program_that_started_it() {
    let host = Host::new();
    // Somebody installs another version while it runs, and that one is broken.
    let installed = host.folder().join("lamina");
    copy(binary(), &installed).unwrap();
    let script = "while ! [ -e /go ]; do sleep 0.01; done; rm /go; echo over; exit 3";
    let mut run = Command::new(&installed);
    host.environment(&mut run);
    run.args(["run", "-d", "--name", "one", "--restart", "on-failure:1"]);
    run.args(["--health-cmd", "true", "--health-interval", "50ms"]);
    let run = run.args(["minimal", "sh", "-c", script]).output().unwrap();
    assert!(run.status.success(), "{run:?}");
    remove_file(&installed).unwrap();
    let mut broken = File::create(&installed).unwrap();
    broken.write_all(b"no program").unwrap();
    let is = |format: &str, wanted: &str| {
        wait_until(wanted, || {
            host.ok(&["inspect", "-f", format, "one"]) == wanted
        });
    };
    is("{{.State.Health.Status}}", "healthy");
    host.ok(&["exec", "one", "touch", "/go"]);
    is(
        "{{.RestartCount}} {{.State.Status}} {{.State.Health.Status}}",
        "1 running healthy",
    );
    host.ok(&["exec", "one", "touch", "/go"]);
    wait_for_status(&host, "one", "exited");
    assert_eq!(host.ok(&["logs", "one"]), "over\nover");
    assert_eq!(host.ok(&["wait", "one"]), "3");
    clear(&host);
}
