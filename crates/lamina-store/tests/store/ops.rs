//! Operations whose owner dies.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use lamina_store::{Area, Line};
use lamina_types::{ContainerId, ErrorKind};
use rustix::process::{Pid, test_kill_process};

use crate::children::{command, start, wait_for};
use crate::{Host, names, skip, write_file};

const ID: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

fn is_alive(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    // A zombie counts as gone: its parent was killed too, and init may be slow to reap.
    test_kill_process(pid).is_ok()
        && !fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
            .is_ok_and(|stat| stat.contains(") Z "))
}

fn assert_clean(root: &Path) {
    for gone in [
        format!("snap/{ID}"),
        format!("containers/{ID}"),
        "containers/names/web".to_owned(),
        format!("run/containers/{ID}"),
    ] {
        assert!(
            root.join(&gone).symlink_metadata().is_err(),
            "{gone} is left"
        );
    }
    assert_eq!(fs::read_dir(root.join("ops")).unwrap().count(), 0);
}

#[test]
fn a_live_operation_is_left_alone_and_a_killed_one_is_undone() {
    let host = Host::new();
    host.open();
    let mut child = start("children::child_half_a_container", host.root());
    let sleeper = wait_for(&mut child, "ready ");
    let store = host.open();
    assert_eq!(store.recovery().undone, 0);
    assert!(
        host.root()
            .join("containers/names/web")
            .symlink_metadata()
            .is_ok()
    );
    assert!(is_alive(&sleeper));

    child.kill().unwrap();
    child.wait().unwrap();
    let store = host.open();
    assert!(store.recovery().errors.is_empty(), "{:?}", store.recovery());
    assert_eq!(store.recovery().undone, 1);
    assert!(!is_alive(&sleeper));
    assert_clean(host.root());
    assert_eq!(host.open().recovery().undone, 0);
}

/// Kills the process that undoes at its first, second, … changing system call until it gets
/// through, then lets another finish.
#[test]
fn an_undo_that_is_killed_is_continued() {
    if Command::new("strace").arg("-V").output().is_err() {
        skip("strace is not installed");
        return;
    }
    for when in 1..40 {
        let host = Host::new();
        host.open();
        let mut child = start("children::child_half_a_container", host.root());
        let sleeper = wait_for(&mut child, "ready ");
        child.kill().unwrap();
        child.wait().unwrap();
        let open = command("children::child_open", host.root());
        let inject = format!("inject=unlinkat,renameat,pidfd_send_signal:signal=KILL:when={when}");
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
            .arg(open.get_program())
            .args(open.get_args())
            .current_dir(host.root())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let store = host.open();
        assert!(store.recovery().errors.is_empty(), "{:?}", store.recovery());
        assert!(!is_alive(&sleeper), "killed at {when}");
        assert_clean(host.root());
        store.empty_trash().unwrap();
        assert!(names(&store, Area::Trash).is_empty());
        if status.success() {
            assert!(when > 5, "strace did not kill anything");
            return;
        }
    }
    panic!("the undo has more than 40 changing system calls");
}

#[test]
fn a_pid_that_was_used_again_is_not_killed() {
    let host = Host::new();
    let store = host.open();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = other.id().cast_signed();
    let process = |start_time: u64, boot: &str| Line::Process {
        pid,
        start_time,
        boot_id: boot.to_owned(),
    };
    let stat = fs::read_to_string(format!("/proc/{}/stat", other.id())).unwrap();
    let start_time: u64 = stat
        .split_ascii_whitespace()
        .nth(21)
        .unwrap()
        .parse()
        .unwrap();
    let lines = [
        process(start_time + 1, store.boot().as_str()),
        process(start_time, "another boot"),
    ];
    let op = store.ops().begin("start", &lines).unwrap();
    assert!(op.undo().is_empty());
    assert!(
        other.try_wait().unwrap().is_none(),
        "it was another process"
    );
    let line = process(start_time, store.boot().as_str());
    drop(store.ops().begin("start", &[line]).unwrap());
    assert!(!other.wait().unwrap().success());
}

#[test]
fn a_name_that_was_taken_again_stays() {
    let host = Host::new();
    let store = host.open();
    let id: ContainerId = ID.parse().unwrap();
    let line = Line::Name {
        name: "web".parse().unwrap(),
        container: id,
    };
    let op = store.ops().begin("create", &[line]).unwrap();
    let link = host.root().join("containers/names/web");
    symlink(format!("../{}", "d".repeat(64)), &link).unwrap();
    assert!(op.undo().is_empty());
    assert!(link.symlink_metadata().is_ok());
}

#[test]
fn a_published_container_outlives_its_run() {
    let host = Host::new();
    let store = host.open();
    let id: ContainerId = ID.parse().unwrap();
    let volume = "d".repeat(64);
    let run = host.root().join("run/containers").join(ID);
    let op = store.ops().begin("create", &[]).unwrap();
    op.lease(&[
        Line::RunDir(run.clone()),
        Line::Container(id.clone()),
        Line::Snapshot((&id).into()),
        Line::Volume(volume.clone()),
        Line::Name {
            name: "web".parse().unwrap(),
            container: id,
        },
    ])
    .unwrap();
    let name = host.root().join("containers/names/web");
    symlink(format!("../{ID}"), &name).unwrap();
    let stays = ["containers", "snap"].map(|area| host.root().join(area).join(ID));
    let stays = [&stays[..], &[host.root().join("volumes").join(volume)]].concat();
    for folder in stays.iter().chain([&run]) {
        fs::create_dir_all(folder).unwrap();
    }
    op.lease(&[Line::Published]).unwrap();
    assert!(op.undo().is_empty());
    assert!(!run.exists());
    for left in stays.iter().chain([&name]) {
        assert!(left.symlink_metadata().is_ok(), "{left:?}");
    }
}

#[test]
fn only_run_directories_and_control_groups_of_ours_are_removed() {
    let host = Host::new();
    let store = host.open();
    let precious = host.root().join("precious");
    fs::create_dir(&precious).unwrap();
    for line in [
        Line::RunDir(precious.clone()),
        Line::RunDir(host.root().join("run/../containers").join(ID)),
        Line::RunDir("containers".into()),
        Line::Cgroup(precious.clone()),
        Line::Cgroup(host.root().join("lamina-x")),
    ] {
        let op = store
            .ops()
            .begin("start", std::slice::from_ref(&line))
            .unwrap();
        let errors = op.undo();
        assert_eq!(errors.len(), 1, "{line:?}");
        assert_eq!(errors[0].kind(), ErrorKind::InvalidArgument, "{line:?}");
    }
    assert!(precious.exists());
}

#[test]
fn a_torn_or_strange_entry_stops_nothing() {
    let host = Host::new();
    host.open();
    let ops = host.root().join("ops");
    write_file(ops.join("1.empty"), "");
    write_file(ops.join("1.torn"), "{\"op\":\"pull\"}\n{\"blob\":\"sha256:");
    write_file(ops.join("1.strange"), [0, 1, 2, 10, 255]);
    fs::create_dir(ops.join("1.lost.d")).unwrap();
    let store = host.open();
    assert!(store.recovery().errors.is_empty(), "{:?}", store.recovery());
    assert!(names(&store, Area::Ops).is_empty());
}

#[test]
fn privileged_a_control_group_is_emptied_and_removed() {
    let parents = [
        "/sys/fs/cgroup/pids",
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup",
    ];
    let name = format!("lamina-test-{}", std::process::id());
    let made = parents
        .iter()
        .map(|parent| Path::new(parent).join(&name))
        .find(|group| fs::create_dir(group).is_ok() && group.join("cgroup.procs").exists());
    let Some(group) = made else {
        skip("no control group can be made here");
        return;
    };
    fs::create_dir(group.join("inner")).unwrap();
    let mut inside = Command::new("sleep").arg("1000").spawn().unwrap();
    write_file(group.join("inner/cgroup.procs"), inside.id().to_string());
    let host = Host::new();
    let store = host.open();
    let op = store
        .ops()
        .begin("start", &[Line::Cgroup(group.clone())])
        .unwrap();
    let errors = op.undo();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(!inside.wait().unwrap().success());
    assert!(!group.exists());
}

/// Prints what an operation costs; the bound is generous, the machine is shared.
#[test]
fn an_operation_costs_microseconds() {
    let host = Host::new();
    let store = host.open();
    let id: ContainerId = ID.parse().unwrap();
    let rounds = 200;
    let begun = Instant::now();
    for _ in 0..rounds {
        let op = store
            .ops()
            .begin(
                "create",
                &[Line::Snapshot((&id).into()), Line::Container(id.clone())],
            )
            .unwrap();
        let run = host.root().join("run/containers").join(ID);
        op.lease(&[Line::RunDir(run)]).unwrap();
        op.finish().unwrap();
    }
    let each = begun.elapsed() / rounds;
    let begun = Instant::now();
    for _ in 0..rounds {
        host.open();
    }
    let open = begun.elapsed() / rounds;
    println!("operation {each:?}, open {open:?}");
    assert!(each.as_millis() < 5 && open.as_millis() < 5);
}
