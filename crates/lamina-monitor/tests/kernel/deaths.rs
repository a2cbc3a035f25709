//! `kill -9` of the client, of the monitor and of init, and what a container may reach of us.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lamina_monitor::{Ahead, Liveness, SessionError, connect, read_exit, read_state};
use lamina_sys::signals::{kill, pidfd_kill};
use lamina_types::Signal;
use lamina_types::explain::Explainer;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::Pid;
use std::os::fd::AsFd;

use crate::fixture::{Container, Test, eventually, spawn_from};

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const TESTS: &[Test] = &[
    (
        "privileged_a_killed_client_leaves_the_container_running",
        killed_client,
    ),
    (
        "privileged_a_client_killed_before_the_start_leaves_nothing",
        killed_before_start,
    ),
    (
        "privileged_a_killed_monitor_leaves_an_orphan",
        killed_monitor,
    ),
    (
        "privileged_a_monitor_killed_before_the_start_leaves_nothing",
        monitor_before_start,
    ),
    (
        "privileged_a_monitor_that_is_not_needed_after_all_ends",
        never_begun,
    ),
    (
        "privileged_a_failed_set_up_leaves_the_former_record",
        failed_set_up,
    ),
    (
        "privileged_the_binary_cannot_be_written_from_a_container",
        read_only_binary,
    ),
    (
        "privileged_an_init_killed_before_the_start_is_no_success",
        killed_init,
    ),
];

/// Starts a client in a process of its own and waits for its word.
fn client(container: &Container, word: &str) -> Child {
    container.write();
    let mut child = Command::new(env::current_exe().unwrap())
        .arg("__client")
        .arg(container.bundle())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let out = child.stdout.as_mut().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), word);
    child
}

fn kill_now(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn killed_client() {
    let container = Container::of("while :; do echo still; sleep 0.02; done");
    let mut child = client(&container, "started");
    kill_now(&mut child);
    let lines = container.log().len();
    assert!(
        eventually(PATIENCE, || container.log().len() > lines),
        "it goes on"
    );
    assert!(matches!(container.liveness(), Liveness::Supervised { .. }));
    assert!(!container.is_cleaned(Duration::ZERO));
    let mut other = connect(&container.bundle()).unwrap();
    other.signal(Signal(9)).unwrap();
    assert_eq!(other.wait().unwrap().code, 137);
    assert!(
        container.is_cleaned(PATIENCE),
        "the monitor does what the client would have"
    );
}

fn killed_before_start() {
    let container = Container::of("echo never");
    File::create(container.bundle().join("hold")).unwrap();
    let mut child = client(&container, "created");
    kill_now(&mut child);
    assert!(container.is_cleaned(PATIENCE));
    let exit = read_exit(&container.state_dir()).unwrap().unwrap();
    assert_eq!((exit.started_at, exit.signal), (None, Some(9)));
    assert!(exit.error.is_some());
    assert_eq!(container.log(), "");
}

fn monitor_of(container: &Container) -> Pid {
    let state = read_state(&container.state_dir()).unwrap().unwrap();
    Pid::from_raw(i32::try_from(state.monitor_pid).unwrap()).unwrap()
}

fn killed_monitor() {
    let container = Container::of("while :; do echo still; sleep 0.01; done");
    let mut session = container.spawn();
    session.start().unwrap();
    kill(monitor_of(&container), 9).unwrap();
    let error = session.wait().unwrap_err();
    assert!(matches!(error, SessionError::Gone), "{error:?}");
    let orphaned = || matches!(container.liveness(), Liveness::Orphaned { .. });
    assert!(eventually(PATIENCE, orphaned), "{:?}", container.liveness());
    // Its output goes into a pipe that is still open: it is not killed by writing.
    std::thread::sleep(Duration::from_millis(100));
    let Liveness::Orphaned { pidfd, .. } = container.liveness() else {
        panic!("it died of the monitor's death: {:?}", container.liveness());
    };
    pidfd_kill(pidfd.as_fd(), 9).unwrap();
    let lost = || matches!(container.liveness(), Liveness::Lost(_));
    assert!(eventually(PATIENCE, lost), "{:?}", container.liveness());
    assert!(
        read_exit(&container.state_dir()).unwrap().is_none(),
        "nothing is invented"
    );
}

/// Returns whether a process has this word among its arguments.
fn runs_with(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut arguments = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
    arguments.any(|words| {
        words
            .split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes())
    })
}

fn never_begun() {
    let container = Container::of("true");
    let bundle = container.bundle();
    let ahead = Ahead {
        network: true,
        namespaces: true,
        ..Ahead::default()
    };
    let program = env::current_exe().unwrap();
    let spawned = lamina_monitor::spawn(&bundle, &program, &mut Explainer::off(), ahead).unwrap();
    let is_there = || runs_with(bundle.to_str().unwrap());
    assert!(eventually(Duration::from_secs(10), is_there));
    drop(spawned);
    assert!(eventually(PATIENCE, || !is_there()));
    assert!(read_state(&container.state_dir()).unwrap().is_none());
    assert!(!container.is_cleaned(Duration::ZERO), "nothing was begun");
}

fn failed_set_up() {
    let mut container = Container::of("true");
    let mut session = container.spawn();
    session.start().unwrap();
    let exit = session.wait().unwrap();
    drop(session);
    let before = read_state(&container.state_dir()).unwrap().unwrap();
    let mounts = container.spec["mounts"].as_array_mut().unwrap();
    mounts.push(serde_json::json!({
        "destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"],
    }));
    let mut session = container.spawn();
    let error = session.created().unwrap_err();
    assert!(matches!(error, SessionError::Failed(_)), "{error:?}");
    assert_eq!(read_state(&container.state_dir()).unwrap(), Some(before));
    let ended = || matches!(container.liveness(), Liveness::Exited(now) if now == exit);
    assert!(eventually(PATIENCE, ended), "{:?}", container.liveness());
}

fn monitor_before_start() {
    let container = Container::of("echo never");
    let mut session = container.spawn();
    session.created().unwrap();
    kill(monitor_of(&container), 9).unwrap();
    assert!(matches!(session.start(), Err(SessionError::Gone)));
    let lost = || matches!(container.liveness(), Liveness::Lost(_));
    assert!(eventually(PATIENCE, lost), "{:?}", container.liveness());
}

fn read_only_binary() {
    let container = Container::of("sleep 100");
    container.write();
    // A copy, so that no process but the monitor and init keeps it busy.
    let binary = container.bundle().join("program");
    // By another process: a descriptor open for writing here could be inherited by a child of
    // another test, and keep the file busy.
    let copied = Command::new("cp")
        .arg(env::current_exe().unwrap())
        .arg(&binary)
        .status();
    assert!(copied.unwrap().success());
    let mut session = spawn_from(&container.bundle(), &binary);
    let pid = session.created().unwrap().pid;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let path = format!("/proc/{pid}/exe");
    // What a container that catches init before its exec would keep.
    let kept = openat(CWD, path, flags, Mode::empty()).unwrap();
    let reopened = || {
        let path = format!("/proc/self/fd/{}", kept.as_raw_fd());
        openat(CWD, path, OFlags::WRONLY, Mode::empty()).map(drop)
    };
    assert!(matches!(reopened(), Err(Errno::TXTBSY | Errno::ROFS)));
    session.start().unwrap();
    let monitor = monitor_of(&container);
    session.signal(Signal(9)).unwrap();
    session.wait().unwrap();
    drop(session);
    assert!(eventually(PATIENCE, || kill(monitor, 0) == Err(Errno::SRCH)));
    assert_eq!(
        reopened(),
        Err(Errno::ROFS),
        "also when nothing runs from it any more"
    );
}

fn killed_init() {
    let container = Container::of("exit 0");
    let mut session = container.spawn();
    let pidfd = session.created().unwrap().pidfd.try_clone().unwrap();
    pidfd_kill(pidfd.as_fd(), 9).unwrap();
    let exit = session.wait().unwrap();
    assert_eq!(
        (exit.code, exit.signal, exit.started_at),
        (137, Some(9), None)
    );
}
