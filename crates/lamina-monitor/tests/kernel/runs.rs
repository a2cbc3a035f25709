//! Exit codes, records, signals, what the program inherits.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::time::Duration;

use lamina_monitor::{Liveness, Rest, SessionError, Status, connect, read_exit, read_state};
use lamina_types::{ErrorKind, Signal};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::fixture::{Container, Test, eventually};

pub(crate) const TESTS: &[Test] = &[
    ("privileged_exit_codes_are_the_programs_own", exit_codes),
    (
        "privileged_a_program_that_cannot_run_is_126_or_127",
        not_executable,
    ),
    ("privileged_a_broken_bundle_is_an_error", broken_bundle),
    ("privileged_signals_reach_the_program", signals),
    ("privileged_a_killed_program_is_128_plus_signal", killed),
    ("privileged_the_program_inherits_nothing", inherits_nothing),
    (
        "privileged_a_detached_container_is_cleaned_up_by_its_monitor",
        detached,
    ),
    ("privileged_a_container_has_one_monitor", one_monitor),
    ("privileged_records_follow_the_life", records),
    (
        "privileged_what_a_client_leaves_is_unlinked_and_its_operation_last",
        disposed,
    ),
    (
        "privileged_what_cannot_be_unlinked_keeps_the_operation",
        not_disposed,
    ),
];

fn exit_codes() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255)] {
        let container = Container::of(script);
        let (exit, _) = container.run();
        assert_eq!(
            (exit.code, exit.signal, exit.oom_killed),
            (code, None, false)
        );
        assert!(exit.started_at.unwrap() <= exit.finished_at);
        let recorded = read_exit(&container.state_dir()).unwrap().unwrap();
        assert_eq!(recorded, exit);
        assert!(matches!(container.liveness(), Liveness::Exited(e) if e == exit));
        assert!(
            !container.is_cleaned(Duration::from_millis(30)),
            "the client cleans up"
        );
    }
}

fn not_executable() {
    for (program, code) in [("/no-such-program", 127), ("/tmp", 126)] {
        let container = Container::executing(&[program]);
        let mut session = container.spawn();
        session.created().unwrap();
        let error = session.start().unwrap_err();
        let SessionError::Failed(failure) = error else {
            panic!("{error:?}");
        };
        assert_eq!(failure.code, code, "{failure}");
        let exit = read_exit(&container.state_dir()).unwrap().unwrap();
        assert_eq!((exit.code, exit.started_at), (code, None));
        assert_eq!(exit.error.as_deref(), Some(failure.message.as_str()));
    }
}

fn broken_bundle() {
    let mut container = Container::of("exit 0");
    container.config.version = 99;
    let error = container.spawn().created().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let mut container = Container::of("exit 0");
    container.spec = json!({"ociVersion": 7});
    let error = container.spawn().created().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    assert!(matches!(container.liveness(), Liveness::Never));
}

fn signals() {
    let script = "trap 'echo got; exit 42' TERM; echo ready; while :; do sleep 0.01; done";
    let container = Container::of(script);
    let mut session = container.spawn();
    session.start().unwrap();
    assert!(eventually(Duration::from_secs(5), || container
        .log()
        .contains("ready")));
    let mut other = connect(&container.bundle()).unwrap();
    other.signal(Signal(15)).unwrap();
    let exit = session.wait().unwrap();
    assert_eq!((exit.code, exit.signal), (42, None));
    assert_eq!(other.wait().unwrap(), exit, "a watcher hears the same");
    assert_eq!(container.log(), "ready\ngot\n");
}

fn killed() {
    let container = Container::of("sleep 100");
    let mut session = container.spawn();
    session.start().unwrap();
    session.signal(Signal(9)).unwrap();
    let exit = session.wait().unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
}

fn inherits_nothing() {
    let script = "grep -E 'SigBlk|SigIgn' /proc/self/status; ls /proc/self/fd; echo err >&2";
    let (exit, text) = Container::of(script).run();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!((exit.code, words[0], words[2]), (0, "SigBlk:", "SigIgn:"));
    let set = |text| u64::from_str_radix(text, 16).unwrap();
    // 32 and 33 are glibc's own; how they are is our caller's doing.
    assert_eq!(
        (set(words[1]), set(words[3]) & !(0b11 << 31)),
        (0, 0),
        "{words:?}"
    );
    // 3 is the directory that is being listed.
    assert_eq!(words[4..], ["0", "1", "2", "3", "err"]);
}

fn detached() {
    let container = Container::of("echo out; exit 3");
    let mut session = container.spawn();
    session.start().unwrap();
    session.detach().unwrap();
    assert!(container.is_cleaned(Duration::from_secs(5)));
    let exit = read_exit(&container.state_dir()).unwrap().unwrap();
    assert_eq!((exit.code, container.log().as_str()), (3, "out\n"));
}

fn one_monitor() {
    let container = Container::of("sleep 100");
    let mut first = container.spawn();
    first.start().unwrap();
    let error = container.spawn().created().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    first.signal(Signal(9)).unwrap();
    assert_eq!(
        first.wait().unwrap().code,
        137,
        "the first goes on undisturbed"
    );
}

fn records() {
    let container = Container::of("sleep 100");
    let mut session = container.spawn();
    let pid = session.created().unwrap().pid;
    let state = read_state(&container.state_dir()).unwrap().unwrap();
    assert_eq!(
        (state.status, state.init.pid, state.started_at),
        (Status::Created, pid, None)
    );
    session.start().unwrap();
    let Liveness::Supervised { state, .. } = container.liveness() else {
        panic!("{:?}", container.liveness());
    };
    assert_eq!(state.status, Status::Running);
    session.signal(Signal(9)).unwrap();
    session.wait().unwrap();
    let state = read_state(&container.state_dir()).unwrap().unwrap();
    assert_eq!(state.status, Status::Exited);
    let gone = || connect(&container.bundle()).is_err();
    assert!(
        eventually(Duration::from_secs(2), gone),
        "nobody listens any more"
    );
}

/// A removed container's trees, and the locked entry of the operation that removes it.
fn left_behind(container: &Container) -> (Rest, File) {
    let trash = container.bundle().join("trash");
    fs::create_dir_all(trash.join("upper/deep")).unwrap();
    File::create(trash.join("upper/deep/file")).unwrap();
    let entry = container.bundle().join("operation");
    let lease = File::create(&entry).unwrap();
    flock(&lease, FlockOperation::NonBlockingLockExclusive).unwrap();
    let trees = vec![trash, container.bundle().join("gone-already")];
    (Rest { trees, entry }, lease)
}

fn is_free(entry: &std::path::Path) -> bool {
    let file = File::open(entry).unwrap();
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn disposed() {
    let mut container = Container::of("exit 3");
    container.config.remove = true;
    let mut session = container.spawn();
    session.start().unwrap();
    let (rest, lease) = left_behind(&container);
    assert!(
        !session.dispose(&rest, lease.as_fd()).unwrap(),
        "not before the end"
    );
    assert_eq!(session.wait().unwrap().code, 3);
    assert!(session.dispose(&rest, lease.as_fd()).unwrap());
    drop((lease, session));
    let patience = Duration::from_secs(10);
    assert!(eventually(patience, || !rest.entry.exists()));
    assert!(!rest.trees[0].exists(), "the entry goes last");
    assert!(!container.is_cleaned(Duration::from_millis(30)));
}

fn not_disposed() {
    let container = Container::of("exit 0");
    let mut session = container.spawn();
    session.start().unwrap();
    let (mut rest, lease) = left_behind(&container);
    // A process file system's files cannot be unlinked.
    rest.trees.insert(0, "/proc/self/status".into());
    session.wait().unwrap();
    assert!(session.dispose(&rest, lease.as_fd()).unwrap());
    drop((lease, session));
    let patience = Duration::from_secs(10);
    assert!(eventually(patience, || is_free(&rest.entry)));
    assert!(rest.entry.exists() && rest.trees[1].exists());
}
