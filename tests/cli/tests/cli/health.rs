//! Health checks: done by the monitor's clock, told of, acted on, and gone with the container.

use std::fs::{read, read_dir};

use insta::assert_snapshot;
use lamina_cli_tests::{past_events, transcript};
use lamina_testkit::Host;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait_until;

fn clear(host: &Host) {
    host.remove_containers();
    host.sweep();
}

fn shown(host: &Host, name: &str, field: &str) -> String {
    host.ok(&["inspect", "-f", &format!("{{{{{field}}}}}"), name])
}

fn wait_for(host: &Host, name: &str, field: &str, wanted: &str) {
    wait_until(&format!("{name}: {field} is not {wanted}"), || {
        shown(host, name, field) == wanted
    });
}

/// Starts a container with a health check that is due all the time.
fn run(host: &Host, name: &str, check: &str, more: &[&str], program: &str) {
    let words = ["run", "-d", "--name", name, "--health-cmd", check];
    let often = ["--health-interval", "10ms"];
    let program = ["minimal", "sh", "-c", program];
    host.ok(&[&words[..], &often, more, &program].concat());
}

fn kill_monitor(host: &Host, name: &str) {
    let id = shown(host, name, ".Id");
    let state = host.root().join("containers").join(id).join("state.json");
    let state: Value = serde_json::from_slice(&read(state).unwrap()).unwrap();
    let pid = i32::try_from(state["monitor_pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// A program that stays, and that SIGTERM does not end.
const STAY: &str = "while :; do sleep 1000; done";

/// The last result of a container's checks.
fn last(host: &Host, name: &str) -> Value {
    let health = shown(host, name, "json .State.Health");
    let mut health: Value = serde_json::from_str(&health).unwrap();
    health["Log"].as_array_mut().unwrap().pop().unwrap()
}

#[test]
fn privileged_what_checks_come_to_is_told() {
    let host = Host::new();
    let check = "echo looked; [ -e /well ]";
    run(&host, "one", check, &["--health-retries", "2"], STAY);
    wait_for(&host, "one", ".State.Health.Status", "unhealthy");
    let listed = [
        "ps",
        "--filter",
        "health=unhealthy",
        "--format",
        "{{.Status}}",
    ];
    assert!(
        host.ok(&listed).ends_with(" (unhealthy)"),
        "{}",
        host.ok(&listed)
    );
    let result = last(&host, "one");
    assert_eq!(
        (&result["ExitCode"], &result["Output"]),
        (&1.into(), &"looked\n".into())
    );
    assert_snapshot!(transcript(&host, &["healthcheck", "run", "one"]), @r"
    unhealthy
    [exit 1]
    ");
    host.ok(&["exec", "one", "sh", "-c", ": >/well"]);
    assert_eq!(host.ok(&["wait", "--condition", "healthy", "one"]), "-1");
    host.ok(&["healthcheck", "run", "one"]);
    let format = ["ps", "--filter", "health=healthy", "--format", "{{.Names}}"];
    assert_eq!(host.ok(&format), "one");
    // Another monitor goes on with it.
    kill_monitor(&host, "one");
    wait_until("nobody goes on with it", || {
        // Whoever touches it brings that about, once the former is gone.
        host.ok(&["exec", "one", "rm", "-f", "/well"]);
        shown(&host, "one", ".State.Health.Status") == "unhealthy"
    });
    host.ok(&["exec", "one", "sh", "-c", ": >/well"]);
    host.ok(&["wait", "--condition", "healthy", "one"]);
    // Nobody checks what is paused, and what does not run.
    host.ok(&["pause", "one"]);
    assert_eq!(shown(&host, "one", ".State.Health.Status"), "unhealthy");
    host.ok(&["unpause", "one"]);
    wait_for(&host, "one", ".State.Health.Status", "healthy");
    host.ok(&["stop", "-t", "0", "one"]);
    assert_eq!(shown(&host, "one", ".State.Health.Status"), "unhealthy");
    assert_eq!(last(&host, "one")["ExitCode"], 0);
    let told = past_events(&host, &["--format", "{{.Action}}"]);
    let health = told
        .lines()
        .filter(|line| line.starts_with("health_status"));
    let health: Vec<_> = health.collect();
    let turns = ["health_status: unhealthy", "health_status: healthy"];
    assert_eq!(health, [turns, turns].concat());
    let execution = format!("exec_create: /bin/sh -c {check}");
    assert!(told.contains(&execution), "{told}");
    check_late(&host);
    clear(&host);
}

/// A check that is late has failed.
fn check_late(host: &Host) {
    let late = ["--health-timeout", "50ms", "--health-retries", "1"];
    run(host, "two", "sleep 1000", &late, STAY);
    wait_for(host, "two", ".State.Health.Status", "unhealthy");
    let result = last(host, "two");
    assert_eq!(result["ExitCode"], -1);
    let output = result["Output"].as_str().unwrap();
    assert_eq!(output, "Health check exceeded timeout (50ms)");
}

#[test]
fn privileged_what_becomes_unhealthy_is_acted_on() {
    let host = Host::new();
    let act = |action| {
        let flags = ["--health-on-failure", action, "--health-retries", "1"];
        [&flags[..], &["--stop-timeout", "0"]].concat()
    };
    // Unhealthy in its first run only.
    let count = format!("read n </n 2>/dev/null; echo $((n+1)) >/n; {STAY}");
    let check = "read n </n && [ $n -gt 1 ]";
    run(&host, "again", check, &act("restart"), &count);
    host.ok(&["wait", "--condition", "healthy", "again"]);
    assert_ne!(shown(&host, "again", ".RestartCount"), "0");
    assert_eq!(
        shown(&host, "again", ".HostConfig.RestartPolicy.Name"),
        "no"
    );
    // Stopped by its monitor, whatever its policy.
    let always = [&act("stop")[..], &["--restart", "always"]].concat();
    run(&host, "stopped", "false", &always, STAY);
    wait_for(&host, "stopped", ".State.Status", "exited");
    assert_eq!(
        shown(&host, "stopped", ".RestartCount}} {{.State.ExitCode"),
        "0 137"
    );
    run(&host, "killed", "false", &act("kill"), STAY);
    assert_eq!(host.ok(&["wait", "killed"]), "137");
    // What is started again by hand is checked again.
    host.ok(&["start", "killed"]);
    assert_eq!(host.ok(&["wait", "killed"]), "137");
    clear(&host);
}

/// Whether a process has the id of a container among its arguments: its monitor, a check.
fn is_spoken_of(id: &str) -> bool {
    let processes = read_dir("/proc").unwrap().flatten();
    let mut lines = processes.map(|process| read(process.path().join("cmdline")));
    lines.any(|line| line.is_ok_and(|line| String::from_utf8_lossy(&line).contains(id)))
}

#[test]
fn privileged_a_check_that_hangs_holds_nothing_up() {
    let host = Host::new();
    let hang = "trap '' TERM; while :; do sleep 1000; done";
    for end in [&["stop", "-t", "0", "one"][..], &["rm", "-f", "one"]] {
        run(&host, "one", hang, &[], STAY);
        let id = shown(&host, "one", ".Id");
        wait_until("no check", || {
            shown(&host, "one", "json .ExecIDs") != "null"
        });
        host.ok(end);
        let bundle = host.run_root().join("containers").join(&id);
        wait_until("something is left", || {
            !is_spoken_of(&id) && !bundle.exists()
        });
        host.lamina(&["rm", "-f", "one"]);
    }
    clear(&host);
}

#[test]
fn flags_that_make_no_sense_are_refused_in_dockers_words() {
    let host = Host::new();
    let create = |flags: &[&str]| {
        let words = [&["create"], flags, &["minimal"]].concat();
        transcript(&host, &words)
    };
    assert_snapshot!(create(&["--no-healthcheck", "--health-cmd", "x"]), @r"
    ! error: --no-healthcheck conflicts with --health-* options
    [exit 125]
    ");
    assert_snapshot!(create(&["--health-interval", "-1s"]), @r"
    ! error: --health-interval cannot be negative
    [exit 125]
    ");
    assert_snapshot!(create(&["--health-timeout", "1us"]), @r"
    ! error: Timeout in Healthcheck cannot be less than 1ms
    [exit 125]
    ");
    assert_snapshot!(create(&["--health-retries", "-1"]), @r"
    ! error: --health-retries cannot be negative
    [exit 125]
    ");
    assert_snapshot!(create(&["--rm", "--health-on-failure", "restart"]), @r"
    ! error: conflicting options: cannot specify both --health-on-failure=restart and --rm
    [exit 125]
    ");
}
