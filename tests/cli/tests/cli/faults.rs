//! What others do to a container behind the engine's back, and what a command comes to then.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests write to control files, and damage records"
)]

use std::fs::{create_dir, read_dir, read_to_string, write};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use lamina_cli_tests::transcript;
use lamina_testkit::{Disk, Host};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::restart::{clear, monitor_of, wait_for_status};

fn run(host: &Host, name: &str) {
    host.ok(&["run", "-d", "--name", name, "minimal", "sleep", "1000"]);
}

/// The cgroups of a container, one for each hierarchy.
fn cgroups(host: &Host, name: &str) -> Vec<PathBuf> {
    let id = host.ok(&["inspect", "-f", "{{.Id}}", name]);
    let group = format!("{}/lamina-{id}", host.cgroup_parent());
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = read_dir(top).unwrap().map(|entry| entry.unwrap().path());
    let places = hierarchies
        .chain([top.to_owned()])
        .map(|dir| dir.join(&group));
    places.filter(|dir| dir.is_dir()).collect()
}

/// Stops a container's processes without a word to lamina.
fn freeze(host: &Host, name: &str) {
    let groups = cgroups(host, name);
    let files = [("freezer.state", "FROZEN"), ("cgroup.freeze", "1")];
    let all = groups
        .iter()
        .flat_map(|dir| files.map(|(file, word)| (dir.join(file), word)));
    let mut frozen = 0;
    for (file, word) in all.filter(|(file, _)| file.exists()) {
        write(file, word).unwrap();
        frozen += 1;
    }
    assert!(frozen > 0, "{groups:?}");
}

/// A process of nobody's, killed when it is dropped.
struct Stranger(Child);

impl Stranger {
    fn new() -> Self {
        Self(Command::new("sleep").arg("100").spawn().unwrap())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn privileged_what_somebody_else_has_frozen_ends_all_the_same() {
    let host = Host::new();
    run(&host, "one");
    freeze(&host, "one");
    // It takes the kernel a moment; what follows further down does not wait for that.
    wait_for_status(&host, "one", "paused");
    assert_eq!(host.ok(&["ps", "--format", "{{.State}}"]), "paused");
    assert_eq!(
        transcript(&host, &["exec", "one", "true"]),
        "! error: container [ID] is paused, unpause the container before exec\n\
         ! hint: lamina unpause one\n[exit 1]\n"
    );
    // What only looks does not wait.
    host.ok(&["logs", "one"]);
    host.ok(&["top", "one"]);
    host.ok(&["cp", "one:/etc/hosts", "hosts"]);
    host.ok(&["commit", "one", "frozen"]);
    host.ok(&["unpause", "one"]);
    host.ok(&["exec", "one", "true"]);
    for words in [&["stop", "-t", "0", "one"][..], &["kill", "one"]] {
        freeze(&host, "one");
        host.ok(words);
        let code = host.ok(&["wait", "one"]);
        assert_eq!(code, "137", "{words:?}");
        host.ok(&["start", "one"]);
    }
    freeze(&host, "one");
    host.ok(&["restart", "-t", "0", "one"]);
    host.ok(&["exec", "one", "true"]);
    freeze(&host, "one");
    host.ok(&["rm", "-f", "--now", "one"]);
    host.sweep();
}

#[test]
fn privileged_cgroups_that_others_use_go_with_the_container() {
    let host = Host::new();
    run(&host, "one");
    run(&host, "two");
    let groups = cgroups(&host, "one");
    for dir in &groups {
        create_dir(dir.join("left")).unwrap();
        create_dir(dir.join("left/deep")).unwrap();
    }
    // One in the container's own group, one below it; cgroup2 may refuse the first.
    let is_freezer = |dir: &&PathBuf| dir.starts_with("/sys/fs/cgroup/freezer");
    let group = groups.iter().find(is_freezer).unwrap_or(&groups[0]);
    let mut strangers = Vec::new();
    for place in [".", "left/deep"] {
        let stranger = Stranger::new();
        let procs = group.join(place).join("cgroup.procs");
        if write(procs, stranger.0.id().to_string()).is_ok() {
            strangers.push(stranger);
        }
    }
    assert!(!strangers.is_empty());
    host.ok(&["stop", "-t", "0", "one"]);
    host.ok(&["exec", "two", "true"]);
    // The monitor tries for two seconds; whoever comes next goes on.
    host.ok(&["rm", "--now", "one"]);
    assert!(groups.iter().all(|group| !group.exists()));
    for mut stranger in strangers {
        stranger.0.wait().unwrap();
    }
    clear(&host);
}

#[test]
fn privileged_a_process_that_has_taken_a_pid_is_left_alone() {
    let host = Host::new();
    let mut stranger = Stranger::new();
    for (member, value) in [("start_time", Value::from(1)), ("boot_id", "other".into())] {
        run(&host, "one");
        let id = host.ok(&["inspect", "-f", "{{.Id}}", "one"]);
        let file = host.root().join("containers").join(id).join("state.json");
        let init = host.ok(&["inspect", "-f", "{{.State.Pid}}", "one"]);
        let init = rustix::process::Pid::from_raw(init.parse().unwrap()).unwrap();
        // Nobody sees the end, as when the machine goes down.
        kill_process(monitor_of(&host, "one"), Signal::KILL).unwrap();
        kill_process(init, Signal::KILL).unwrap();
        let mut state: Value = serde_json::from_str(&read_to_string(&file).unwrap()).unwrap();
        state["pid"] = stranger.0.id().into();
        state[member] = value;
        write(&file, state.to_string()).unwrap();
        wait_for_status(&host, "one", "exited");
        assert_eq!(host.ok(&["ps", "-q"]), "", "{member}");
        assert_eq!(
            transcript(&host, &["kill", "one"]),
            "! error: container [ID] is not running\n[exit 1]\n"
        );
        assert_eq!(host.lamina(&["exec", "one", "true"]).code, 1);
        assert_eq!(host.ok(&["stop", "-t", "0", "one"]), "one");
        // Not a code that was made up.
        assert_eq!(host.ok(&["wait", "one"]), "255");
        assert!(stranger.is_alive(), "{member}");
        host.ok(&["start", "one"]);
        host.ok(&["rm", "-f", "--now", "one"]);
        assert!(stranger.is_alive(), "{member}");
    }
    host.sweep();
}

#[test]
fn privileged_a_process_that_the_kernel_keeps_holds_nobody_else_up() {
    let host = Host::new();
    let place = host.folder().join("disk");
    let disk = match Disk::new(host.folder().join("image"), place.clone(), "ext4") {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let bind = format!("{}:/disk", place.display());
    let script = "echo up; while :; do echo x > /disk/f; done";
    let create = ["run", "-d", "--name", "one", "-v", &bind, "minimal", "sh"];
    host.ok(&[&create[..], &["-c", script]].concat());
    run(&host, "two");
    let frozen = match disk.freeze() {
        Ok(frozen) => frozen,
        Err(reason) => {
            clear(&host);
            return skip(&reason);
        }
    };
    let waits = || host.ok(&["top", "one", "-eo", "stat"]).contains('D');
    while !waits() {
        thread::yield_now();
    }
    let ending = |words: &[&str]| host.command(words).spawn().unwrap();
    let mut stop = ending(&["stop", "-t", "0", "one"]);
    let mut remove = ending(&["rm", "-f", "--now", "one"]);
    // It is killed, and it is there: that is told, and nobody waits who has no need to.
    let killed = |dir: &PathBuf| {
        let pid = read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        let status = format!("/proc/{}/status", pid.lines().next().unwrap_or("0"));
        let status = read_to_string(status).unwrap_or_default();
        let pending = status
            .lines()
            .find_map(|line| line.strip_prefix("ShdPnd:\t"));
        pending.is_some_and(|mask| mask.ends_with("100"))
    };
    while !cgroups(&host, "one").iter().any(killed) {
        thread::yield_now();
    }
    assert_eq!(
        host.ok(&["inspect", "-f", "{{.State.Status}}", "one"]),
        "running"
    );
    assert!(host.ok(&["logs", "one"]).starts_with("up"));
    host.ok(&["exec", "two", "true"]);
    host.ok(&["rm", "-f", "--now", "two"]);
    host.ok(&["run", "--rm", "minimal", "true"]);
    drop(frozen);
    stop.wait().unwrap();
    if !remove.wait().unwrap().success() {
        // It has waited for as long as it waits.
        host.ok(&["rm", "-f", "--now", "one"]);
    }
    assert_eq!(host.ok(&["ps", "-a", "-q"]), "");
    drop(disk);
    host.sweep();
}

fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}
