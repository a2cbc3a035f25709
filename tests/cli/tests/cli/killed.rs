//! Killed and interrupted commands: the next one finds nothing in its way and cleans up.

use std::fs::{read_dir, read_to_string};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use lamina_testkit::Host;
use lamina_testkit::registry::{Fault, MemoryImage, Registry, Reply};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait_for;

const FOREVER: [&str; 3] = ["minimal", "sleep", "1000"];

fn start(host: &Host, words: &[&str]) -> Child {
    let mut command = host.command(words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn send(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap();
}

/// Kills processes at once and waits until the last is dead; they may wait to be reaped.
fn kill_all(pids: &[Pid]) {
    for pid in pids {
        send(*pid, Signal::KILL);
    }
    for pid in pids {
        wait_for("the end of a killed process", || {
            let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
}

/// Returns monitor and init of the only container, once its program runs.
fn monitor_and_init(host: &Host) -> (Pid, Pid) {
    wait_for("a running container", || {
        let containers = read_dir(host.root().join("containers")).ok()?.flatten();
        let mut states =
            containers.filter_map(|c| read_to_string(c.path().join("state.json")).ok());
        let state: Value = serde_json::from_str(&states.next()?).unwrap();
        let pid = |name: &str| Pid::from_raw(i32::try_from(state[name].as_i64()?).ok()?);
        (state["status"] == "running").then_some((pid("monitor_pid")?, pid("pid")?))
    })
}

/// Another command is given; then nothing may be in the trash or half-made.
fn assert_tidy(host: &Host) {
    host.ok(&["ps", "-a"]);
    for folder in ["ops", "trash"] {
        let left = read_dir(host.root().join(folder)).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn privileged_everything_of_a_foreground_run_killed_at_once() {
    let host = Host::new();
    for remove in [true, false] {
        let mut words = vec!["run"];
        words.extend(remove.then_some("--rm"));
        words.extend(FOREVER);
        let mut cli = start(&host, &words);
        let (monitor, init) = monitor_and_init(&host);
        kill_all(&[Pid::from_child(&cli), monitor, init]);
        cli.wait().unwrap();
        let left = host.ok(&["ps", "-a", "-q", "--no-trunc"]);
        assert_eq!(left.is_empty(), remove, "{left}");
        if !remove {
            let status = host.ok(&["inspect", "-f", "{{.State.Status}}", &left]);
            assert_eq!(status, "exited");
            host.ok(&["rm", &left]);
        }
        host.sweep();
        assert_tidy(&host);
    }
}

#[test]
fn privileged_everything_of_a_detached_run_killed_at_once() {
    let host = Host::new();
    let id = host.ok(&[&["run", "-d"][..], &FOREVER].concat());
    let (monitor, init) = monitor_and_init(&host);
    kill_all(&[monitor, init]);
    host.ok(&["ps", "-a"]);
    // What is left of the run is gone, the container is not, and can be started again.
    let bundles = read_dir(host.run_root().join("containers")).unwrap();
    assert_eq!(bundles.count(), 0);
    host.ok(&["start", &id]);
    host.ok(&["rm", "-f", &id]);
    host.sweep();
    assert_tidy(&host);
}

#[test]
fn privileged_a_container_whose_monitor_was_killed_can_be_removed() {
    let host = Host::new();
    let id = host.ok(&[&["run", "-d"][..], &FOREVER].concat());
    let (monitor, _) = monitor_and_init(&host);
    kill_all(&[monitor]);
    assert_eq!(host.ok(&["ps", "-q", "--no-trunc"]), id);
    host.ok(&["rm", "-f", &id]);
    host.sweep();
    assert_tidy(&host);
}

#[test]
fn privileged_a_killed_command_is_cleaned_up_while_its_monitor_still_works() {
    let host = Host::new();
    host.ok(&["run", "--rm", "minimal", "true"]);
    for delay in 0..40 {
        let mut cli = start(&host, &["run", "--rm", "minimal", "true"]);
        sleep(Duration::from_millis(delay));
        // It may have ended already.
        let _ = kill_process(Pid::from_child(&cli), Signal::KILL);
        host.ok(&["ps", "-a"]);
        cli.wait().unwrap();
    }
    // The last monitors may take a moment; whatever they left, the next command removes.
    wait_for("the end of all monitors", || {
        host.ok(&["ps", "-a"]);
        host.left_behind().is_empty().then_some(())
    });
    assert_tidy(&host);
}

#[test]
fn privileged_a_create_is_there_or_it_is_not() {
    let host = Host::new();
    host.ok(&["run", "--rm", "minimal", "true"]);
    for signal in [Signal::KILL, Signal::INT] {
        for delay in 0..25 {
            let mut cli = start(&host, &["create", "--name", "one", "minimal", "true"]);
            sleep(Duration::from_millis(delay));
            // It may have ended already.
            let _ = kill_process(Pid::from_child(&cli), signal);
            cli.wait().unwrap();
            if !host.ok(&["ps", "-a", "-q"]).is_empty() {
                host.ok(&["rm", "one"]);
            }
            assert_eq!(host.left_behind(), [""; 0]);
            assert_tidy(&host);
        }
    }
}

#[test]
fn privileged_an_interrupted_pull_leaves_nothing_in_the_way() {
    let host = Host::new();
    let registry = Registry::start();
    let image = MemoryImage::of_tars(vec![vec![0; 4 << 20]]);
    registry.serve_image("slow", "latest", &image);
    let body = image.layers[0].1.clone();
    let layer = lamina_testkit::registry::sha256(&body).to_string();
    registry.script(move |request| {
        let is_first_layer = request.path.ends_with(&layer) && request.nth == 0;
        let stall = Fault::StallAfter(1 << 20, Duration::from_secs(600));
        is_first_layer.then(|| Reply {
            fault: stall,
            ..Reply::ok(body.clone())
        })
    });
    let name = format!("{}/slow", registry.domain());
    let words = ["pull", "--tls-verify=false", &name];
    let mut cli = start(&host, &words);
    wait_for("the request for the layer", || {
        (registry.count("/blobs/") > 1).then_some(())
    });
    send(Pid::from_child(&cli), Signal::INT);
    assert!(!cli.wait().unwrap().success());
    assert_eq!(host.ok(&["images", "-q"]), "");
    host.sweep();
    assert_tidy(&host);
    host.ok(&words);
    assert_tidy(&host);
}
