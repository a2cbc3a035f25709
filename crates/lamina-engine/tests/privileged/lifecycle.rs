//! One container each, made, run, looked at, removed.

use std::thread::sleep;
use std::time::Duration;

use lamina_engine::{
    ContainerStatus, CreateError, LogsOptions, RemoveError, RemoveOptions, RunError, StartOptions,
};
use lamina_image::Silent;
use lamina_monitor::record::read_state;
use lamina_types::ContainerId;
use lamina_types::explain::Explainer;
use lamina_types::mount::{MountKind, MountSpec, Propagation, Relabel};

use crate::place::{Place, request};

type Test = (&'static str, fn());

pub(crate) const TESTS: &[Test] = &[
    (
        "a_run_ends_with_the_programs_code_and_nothing_left",
        exit_code,
    ),
    ("the_process_is_who_and_where_it_should_be", process),
    (
        "programs_that_cannot_be_executed_have_their_codes",
        not_executable,
    ),
    ("a_container_is_kept_inspected_and_started_again", kept),
    ("a_name_is_taken_once", names),
    (
        "a_running_container_is_stopped_and_removed",
        stop_and_remove,
    ),
    (
        "a_detached_container_that_goes_cleans_up_after_itself",
        detached,
    ),
    ("binds_volumes_and_limits_arrive", mounts),
    (
        "a_killed_monitor_leaves_what_the_next_command_removes",
        killed_monitor,
    ),
];

fn exit_code() {
    let place = Place::new();
    let ran = place.sh("echo out; echo err >&2; exit 3", |_| ());
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (3, "out\n", "err\n")
    );
    // The second command keeps a shell from becoming its last one: process 1 cannot kill itself.
    let ran = place.sh("sh -c 'kill -9 $$'; exit $?", |_| ());
    assert_eq!(ran.code, 137);
    place.assert_clean();
}

fn process() {
    let place = Place::new();
    let script = "id -u; id -g; id -G; hostname; pwd; echo $HOME $A; cat /etc/hostname; \
                  grep -E 'Cap(Inh|Eff|Bnd|Amb)|Seccomp:' /proc/self/status; echo $$";
    let ran = place.sh(script, |r| {
        r.process.user = Some("1000:50".parse().unwrap());
        r.process.group_add = vec!["7".to_owned()];
        r.process.workdir = Some("/tmp".into());
        r.process.env = vec!["A=b".to_owned()];
        r.isolation.hostname = Some("web".to_owned());
    });
    let squeezed = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        squeezed,
        "1000 50 50 7 web /tmp / b web CapInh: 0000000000000000 CapEff: 0000000000000000 \
         CapBnd: 00000000a80425fb CapAmb: 0000000000000000 Seccomp: 2 1",
        "{ran:?}"
    );
    place.assert_clean();
}

fn not_executable() {
    let place = Place::new();
    for (words, code) in [(["/no/such"], 127), (["/etc/passwd"], 126)] {
        let error = place.run(&words, |_| ()).unwrap_err();
        assert_eq!(error.exit_code(), code, "{error:?}");
    }
    place.assert_clean();
    // Without --rm the container stays as it was made.
    let kept = place.run(&["/no/such"], |r| r.remove = false).unwrap_err();
    assert_eq!(kept.exit_code(), 127);
    let list = place.engine.list(true).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].state.status, ContainerStatus::Created);
    place
        .engine
        .remove(&list[0].id, RemoveOptions::default())
        .unwrap();
    place.assert_clean();
}

fn kept() {
    let place = Place::new();
    let engine = &place.engine;
    let ran = place.sh(
        "echo first; touch /new; rm -f /etc/os-release; exit 4",
        |r| {
            r.remove = false;
            r.name = Some("keeper".parse().unwrap());
        },
    );
    let id = engine.find("keeper").unwrap();
    assert_eq!(id, ran.id);
    assert_eq!(engine.find(&id.as_str()[..5]).unwrap(), id);
    let list = engine.list(true).unwrap();
    assert!(
        list[0].status.starts_with("Exited (4) "),
        "{}",
        list[0].status
    );
    assert!(engine.list(false).unwrap().is_empty());
    let inspect = serde_json::to_value(engine.inspect(&id).unwrap()).unwrap();
    assert_eq!(inspect["Name"], "/keeper");
    assert_eq!(inspect["State"]["ExitCode"], 4);
    assert_eq!(inspect["Path"], "sh");
    assert!(inspect["GraphDriver"]["Data"]["UpperDir"].is_string());
    let changes = engine.diff(&id).unwrap();
    let changes: Vec<String> = changes
        .iter()
        .map(|c| c.path.display().to_string())
        .collect();
    assert!(changes.iter().any(|c| c.ends_with("new")), "{changes:?}");
    assert!(
        changes.iter().any(|c| c.ends_with("etc/os-release")),
        "{changes:?}"
    );

    let (options, mut explain) = (StartOptions::default(), Explainer::off());
    let mut again = engine.start(&id, &options, &mut explain).unwrap();
    assert_eq!(again.session.wait().unwrap().code, 4);
    engine.cleanup(&id).unwrap();
    let logs = engine.logs(&id, LogsOptions::default()).unwrap();
    let lines: Vec<String> = logs.map(|entry| entry.unwrap().text()).collect();
    assert_eq!(lines, ["first\n", "first\n"]);
    assert_eq!(engine.image_users(&list[0].image_id).unwrap().len(), 1);
    engine.remove(&id, RemoveOptions::default()).unwrap();
    place.assert_clean();
}

fn names() {
    let place = Place::new();
    let named = |place: &Place| {
        let mut request = request(&["true"]);
        request.remove = false;
        request.name = Some("only".parse().unwrap());
        place
            .engine
            .create(&request, &Silent, &mut Explainer::off())
    };
    let id = named(&place).unwrap();
    let taken = named(&place).unwrap_err();
    assert!(matches!(taken, CreateError::NameTaken { holder, .. } if holder == id.as_str()));
    assert_eq!(place.engine.list(true).unwrap()[0].status, "Created");
    place.engine.remove(&id, RemoveOptions::default()).unwrap();
    place.assert_clean();
}

fn stop_and_remove() {
    let place = Place::new();
    let engine = &place.engine;
    let forever = [
        "sh",
        "-c",
        "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done",
    ];
    let id = place.detached(&forever, |r| r.remove = false);
    assert_eq!(engine.list(false).unwrap()[0].id, id);
    wait_for_output(&place, &id);
    let refused = engine.remove(&id, RemoveOptions::default()).unwrap_err();
    assert!(
        matches!(refused, RemoveError::Running { .. }),
        "{refused:?}"
    );
    engine.stop(&id, Some(Duration::from_secs(10))).unwrap();
    let list = engine.list(true).unwrap();
    assert!(
        list[0].status.starts_with("Exited (5) "),
        "{}",
        list[0].status
    );
    engine.remove(&id, RemoveOptions::default()).unwrap();

    let stubborn = [
        "sh",
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    ];
    let id = place.detached(&stubborn, |r| r.remove = false);
    wait_for_output(&place, &id);
    engine.stop(&id, Some(Duration::from_millis(100))).unwrap();
    assert!(
        engine.list(true).unwrap()[0]
            .status
            .starts_with("Exited (137) ")
    );
    let force = RemoveOptions {
        force: true,
        ..RemoveOptions::default()
    };
    engine.remove(&id, force).unwrap();
    let id = place.detached(&["sleep", "1000"], |r| r.remove = false);
    engine.remove(&id, force).unwrap();
    place.assert_clean();
}

/// Waits until the program has written something, which it does once it is ready.
fn wait_for_output(place: &Place, id: &ContainerId) {
    for _ in 0..500 {
        let mut logs = place.engine.logs(id, LogsOptions::default()).unwrap();
        if logs.next().is_some() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("no output");
}

fn detached() {
    let place = Place::new();
    place.detached(&["true"], |_| ());
    place.assert_clean();
}

fn mounts() {
    let place = Place::new();
    let source = place.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let mount = |kind, target: &str, read_only| MountSpec {
        kind,
        target: target.into(),
        read_only,
        recursive_read_only: false,
    };
    let bind = MountKind::Bind {
        source: source.clone(),
        propagation: Propagation::default(),
        non_recursive: false,
        relabel: Relabel::None,
    };
    let volume = MountKind::volume(None, false);
    let tmpfs = MountKind::Tmpfs {
        size: Some(1 << 20),
        mode: None,
        options: Vec::new(),
    };
    let script = "touch /rw/made; touch /ro/x 2>/dev/null || echo refused; ls /etc/passwd; \
                  df -P /scratch >/dev/null && echo tmpfs; touch /x 2>/dev/null || echo rootfs";
    let ran = place.sh(script, |r| {
        r.mounts = vec![
            mount(bind.clone(), "/rw", false),
            mount(bind, "/ro", true),
            mount(volume, "/etc", false),
            mount(tmpfs, "/scratch", false),
        ];
        r.read_only = true;
        r.resources.memory = Some(64 << 20);
        r.resources.pids_limit = Some(32);
    });
    assert_eq!(
        ran.stdout, "refused\n/etc/passwd\ntmpfs\nrootfs\n",
        "{ran:?}"
    );
    assert!(source.join("made").exists());
    place.assert_clean();
    let missing = MountKind::Bind {
        source: place.path().join("missing"),
        propagation: Propagation::default(),
        non_recursive: false,
        relabel: Relabel::None,
    };
    let error = place.run(&["true"], |r| r.mounts = vec![mount(missing, "/m", false)]);
    assert!(matches!(
        error,
        Err(RunError::Create(CreateError::BindSource(_)))
    ));
    place.assert_clean();
}

fn killed_monitor() {
    let place = Place::new();
    let id = place.detached(&["sleep", "1000"], |_| ());
    let dir = place.path().join("root/containers").join(id.as_str());
    let state = read_state(&lamina_fs::Dir::open(dir).unwrap())
        .unwrap()
        .unwrap();
    let kill = |pid: u32| {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    kill(state.monitor_pid);
    sleep(Duration::from_millis(50));
    // The container goes on.
    assert_eq!(
        place.engine.list(true).unwrap()[0].state.status,
        ContainerStatus::Running
    );
    kill(state.init.pid);
    sleep(Duration::from_millis(50));
    assert!(place.engine.list(true).unwrap().is_empty());
    place.assert_clean();
}
