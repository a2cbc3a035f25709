//! Containers whose monitor was killed: they go on, and the next command brings supervision back.

use std::fs::{File, read, read_dir, read_to_string};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use lamina_cli_tests::past_events;
use lamina_testkit::Host;
use rustix::process::{Pid, Signal, kill_process};
use rustix::system::uname;
use serde_json::{Value, json};

use crate::restart::{clear, monitor_of, status, wait_for_status};
use crate::wait_for;

/// Kills the monitor of a container, and waits until it is dead.
fn orphan(host: &Host, name: &str) -> Pid {
    let monitor = monitor_of(host, name);
    kill_process(monitor, Signal::KILL).unwrap();
    wait_for("the end of the monitor", || {
        (!is_alive(monitor)).then_some(())
    });
    monitor
}

fn is_alive(pid: Pid) -> bool {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Returns how many monitors a container has.
fn monitors(host: &Host, name: &str) -> usize {
    let id = host.ok(&["inspect", "-f", "{{.Id}}", name]);
    let bundle = host.run_root().join("containers").join(id);
    let is_one = |words: &[u8]| {
        let mut words = words.split(|byte| *byte == 0).skip(1);
        let bundle = bundle.to_str().unwrap().as_bytes();
        words.next() == Some(b"__monitor") && words.next() == Some(bundle)
    };
    let processes = read_dir("/proc").unwrap().flatten();
    let words = processes.filter_map(|process| read(process.path().join("cmdline")).ok());
    words.filter(|words| is_one(words)).count()
}

/// Tells whether `code` may be said of a process whose monitor was killed and whose own code is
/// `own`: that, or 255 where the kernel told nobody. From 6.15 on it tells whoever asks, before only
/// the parent, or the one who looks before the parent does.
fn is_true(code: &str, own: i32) -> bool {
    let release = uname();
    let release = release.release().to_str().unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse());
    let may_be_lost = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (6_u32, 15_u32),
        _ => false,
    };
    code == own.to_string() || (may_be_lost && code == "255")
}

/// Returns the code a container ended with; everybody says the same.
fn code_after(host: &Host, name: &str, own: i32) -> String {
    let code = host.ok(&["wait", name]);
    assert!(is_true(&code, own), "{name}: {code}");
    let format = "{{.State.Status}} {{.State.ExitCode}} {{not .State.Error}}";
    assert_eq!(
        host.ok(&["inspect", "-f", format, name]),
        format!("exited {code} {}", code == own.to_string())
    );
    code
}

/// Returns the exit codes of all runs that ended, as they were told.
fn codes(host: &Host) -> String {
    let format = "{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.name}}";
    let died = ["-f", "event=die", "-f", "type=container"];
    past_events(host, &[&died[..], &["--format", format]].concat())
}

/// Counts lines as fast as files are asked for, and ends well when it is told to.
const COUNT: &str = "trap 'exit 7' TERM; i=0; while :; do i=$((i+1)); echo line $i; \
                     while ! [ -e /go ]; do sleep 0.01; done; rm /go; done";

#[test]
fn privileged_the_next_command_brings_supervision_back() {
    let host = Host::new();
    let words = ["run", "-d", "--name", "one", "minimal", "sh", "-c", COUNT];
    host.ok(&words);
    host.ok(&["rename", "one", "two"]);
    let killed = orphan(&host, "two");
    // The truth is told, and nothing done about it.
    assert_eq!(status(&host, "two"), "running");
    assert!(
        host.ok(&["ps", "--format", "{{.Status}}"])
            .starts_with("Up")
    );
    assert_eq!(
        (monitors(&host, "two"), monitor_of(&host, "two")),
        (0, killed)
    );
    // Many commands at once, one monitor.
    let commands = [
        &["logs", "two"][..],
        &["top", "two"],
        &["exec", "two", "true"],
    ];
    let words = (0..36).map(|n| commands[n % 3]);
    let spawned = words.map(|words| {
        let mut command = host.command(words);
        command.stdout(Stdio::null()).spawn().unwrap()
    });
    for mut child in spawned.collect::<Vec<_>>() {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(monitors(&host, "two"), 1);
    assert_ne!(monitor_of(&host, "two"), killed);
    // Output is logged again.
    host.ok(&["exec", "two", "sh", "-c", ": >/go"]);
    wait_for("the second line", || {
        (host.ok(&["logs", "two"]) == "line 1\nline 2").then_some(())
    });
    // How it ends is its own word, though this monitor is not its parent.
    host.ok(&["stop", "two"]);
    let code = code_after(&host, "two", 7);
    assert_eq!(codes(&host), format!("{code} two"));
    clear(&host);
}

#[test]
fn privileged_what_is_adopted_ends_as_any_other() {
    let host = Host::new();
    let script = "while ! [ -e /go ]; do sleep 0.01; done; rm /go; exit 4";
    let run = ["run", "-d", "--restart", "on-failure:1", "--name", "one"];
    host.ok(&[&run[..], &["minimal", "sh", "-c", script]].concat());
    for runs in 1..=2 {
        let killed = orphan(&host, "one");
        // It may be ended by what it does.
        host.lamina(&["exec", "one", "sh", "-c", ": >/go"]);
        if runs == 1 {
            // The policy holds, and counts on.
            wait_for("the second run", || {
                let restarts = host.ok(&["inspect", "-f", "{{.RestartCount}}", "one"]);
                let is_again = restarts == "1" && status(&host, "one") == "running";
                (is_again && monitor_of(&host, "one") != killed).then_some(())
            });
        }
    }
    let one = code_after(&host, "one", 4);
    // One that goes with its run, and one with a terminal, which its monitor took along.
    for (flags, name) in [(&["--rm"][..], "two"), (&["-t"], "three")] {
        let run = [
            &["run", "-d", "--name", name],
            flags,
            &["minimal", "sleep", "1000"],
        ];
        host.ok(&run.concat());
        orphan(&host, name);
        host.ok(&["exec", name, "true"]);
        assert_eq!(monitors(&host, name), 1);
        host.ok(&["stop", "-t", "0", name]);
    }
    wait_for("the removal", || {
        (host.ok(&["ps", "-a", "--format", "{{.Names}}"]) == "three\none").then_some(())
    });
    let three = code_after(&host, "three", 137);
    let codes = codes(&host);
    let codes: Vec<_> = codes
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let names: Vec<&str> = codes.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["one", "one", "two", "three"]);
    assert!(
        is_true(codes[0].0, 4) && is_true(codes[2].0, 137),
        "{codes:?}"
    );
    assert_eq!((codes[1].0, codes[3].0), (&*one, &*three));
    // Killed while nobody watches: that is not known, unless whoever should reap it has not, and
    // does not stand in the way.
    host.ok(&["start", "three"]);
    orphan(&host, "three");
    let pid: i32 = host
        .ok(&["inspect", "-f", "{{.State.Pid}}", "three"])
        .parse()
        .unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    wait_for_status(&host, "three", "exited");
    let code = host.ok(&["wait", "three"]);
    assert!(["255", "137"].contains(&&*code), "{code}");
    host.ok(&["start", "three"]);
    clear(&host);
}

#[test]
fn privileged_a_foreground_run_outlives_its_monitor() {
    let host = Host::new();
    let script = "while ! [ -e /go ]; do sleep 0.01; done; exit 4";
    let words = [
        "run", "--rm", "--name", "one", "minimal", "sh", "-c", script,
    ];
    let mut run = host.command(&words);
    let run = run.stdout(Stdio::null()).spawn().unwrap();
    wait_for("the container", || {
        let inspect = host.lamina(&["inspect", "-f", "{{.State.Status}}", "one"]);
        (inspect.stdout == "running\n").then_some(())
    });
    orphan(&host, "one");
    // It brings another one, whose first client it is: the others have only looked.
    wait_for("another monitor", || {
        (monitors(&host, "one") == 1).then_some(())
    });
    // What does it may be ended by it.
    host.lamina(&["exec", "one", "touch", "/go"]);
    let ended = run.wait_with_output().unwrap();
    // What nobody saw is its own failure.
    let code = match ended.status.code().unwrap() {
        125 => 255,
        code => code,
    };
    assert!(is_true(&code.to_string(), 4), "{code}");
    wait_for("the removal", || {
        host.ok(&["ps", "-aq"]).is_empty().then_some(())
    });
    clear(&host);
}

/// Kills the first process of a container, and waits until that is told.
fn end(host: &Host, name: &str) {
    let pid = host.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    wait_for_status(host, name, "exited");
}

#[test]
fn privileged_an_end_that_nobody_saw_is_told_and_followed() {
    let host = Host::new();
    let run = ["run", "-d", "--name"];
    let program = ["minimal", "sleep", "1000"];
    let policy = ["one", "--restart", "on-failure:9"];
    host.ok(&[&run[..], &policy, &program].concat());
    host.ok(&[&run[..], &["two"], &program].concat());
    for name in ["one", "two"] {
        orphan(&host, name);
        end(&host, name);
        host.ok(&["logs", name]);
    }
    // What nobody saw counts as a failure; the count goes on.
    let again = |restarts: &str| {
        let format = "{{.State.Status}} {{.RestartCount}}";
        let expected = format!("running {restarts}");
        wait_for("the next run", || {
            (host.ok(&["inspect", "-f", format, "one"]) == expected).then_some(())
        });
    };
    again("1");
    let format =
        "{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.reason}} {{.Actor.Attributes.name}}";
    let died = ["-f", "event=die", "--format", format];
    let told = wait_for("both ends", || {
        let told = past_events(&host, &died);
        (told.lines().count() == 2).then_some(told)
    });
    for line in told.lines() {
        // A zombie that nobody has reaped yet still tells.
        let is_true = line.starts_with("255 unknown ") || line.starts_with("137 signal ");
        assert!(is_true, "{line}");
    }
    wait_for_status(&host, "two", "exited");
    // A monitor that is killed while it waits for the next start leaves that to the next command.
    orphan(&host, "one");
    end(&host, "one");
    let id = host.ok(&["inspect", "-f", "{{.Id}}", "one"]);
    let dir = host.root().join("containers").join(id);
    let state: Value = serde_json::from_slice(&read(dir.join("state.json")).unwrap()).unwrap();
    let exit = json!({
        "version": 1, "code": 1, "signal": null, "oom_killed": false, "error": null,
        "started_at": state["started_at"], "finished_at": state["started_at"], "init": state,
        "restarts": 2, "next_start": state["started_at"],
    });
    File::create(dir.join("exit.json"))
        .unwrap()
        .write_all(exit.to_string().as_bytes())
        .unwrap();
    host.ok(&["logs", "one"]);
    again("2");
    // Whoever stops it has the last word, whoever watched.
    orphan(&host, "one");
    host.ok(&["stop", "-t", "0", "one"]);
    host.ok(&["logs", "one"]);
    assert_eq!(status(&host, "one"), "exited");
    clear(&host);
}

#[test]
fn privileged_clients_go_on_over_the_death_of_a_monitor() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "one", "minimal", "sh", "-c", COUNT]);
    let names = ["logs", "attach", "wait"];
    let path = |name: &str| host.folder().join(name);
    let printed = |name: &str| read_to_string(path(name)).unwrap();
    let clients = [
        &["logs", "-f", "one"][..],
        &["attach", "one"],
        &["wait", "one"],
    ];
    let spawned = clients.iter().zip(names).map(|(words, name)| {
        let mut command = host.command(words);
        command.stdout(File::create(path(name)).unwrap());
        command.spawn().unwrap()
    });
    let spawned: Vec<_> = spawned.collect();
    let attached = || past_events(&host, &["-f", "event=attach"]).lines().count();
    wait_for("the clients", || (attached() == 1).then_some(()));
    // They alone bring another one.
    for _ in 0..2 {
        let killed = orphan(&host, "one");
        wait_for("another monitor", || {
            (monitor_of(&host, "one") != killed).then_some(())
        });
    }
    // What is attached gets output from the moment it has found the new one.
    let before = printed("attach").len();
    wait_for("more lines", || {
        host.ok(&["exec", "one", "sh", "-c", ": >/go"]);
        (printed("attach").len() > before).then_some(())
    });
    host.ok(&["stop", "one"]);
    let codes: Vec<_> = spawned
        .into_iter()
        .map(|mut client| client.wait().unwrap().code().unwrap())
        .collect();
    assert_eq!((codes[0], codes[2]), (0, 0));
    assert!(is_true(&codes[1].to_string(), 7), "{codes:?}");
    assert_eq!(printed("wait").trim_end(), codes[1].to_string());
    let whole = host.ok(&["logs", "one"]) + "\n";
    assert_eq!(printed("logs"), whole);
    let last = printed("attach").lines().last().map(str::to_owned);
    assert_eq!(last.as_deref(), whole.lines().last());
    clear(&host);
}

/// Returns the supervisor of the only execution of a container that has one, once that runs.
fn supervisor(host: &Host, name: &str) -> Pid {
    let id = host.ok(&["inspect", "-f", "{{.Id}}", name]);
    let executions = host.run_root().join("containers").join(id).join("exec");
    wait_for("the execution", || {
        read_dir("/proc").unwrap().flatten().find_map(|process| {
            let words = read_to_string(process.path().join("cmdline")).ok()?;
            let mut words = words.split('\0').skip(1);
            let dir = (words.next() == Some("__monitor")).then(|| words.next())??;
            let state = read(Path::new(dir).join("state.json")).ok();
            let state = state.filter(|_| dir.starts_with(executions.to_str().unwrap()))?;
            let state: Value = serde_json::from_slice(&state).ok()?;
            let pid = process.file_name().to_str()?.parse().ok()?;
            let is_its_own = state["monitor_pid"] == pid && state["status"] == "running";
            is_its_own.then(|| Pid::from_raw(pid).unwrap())
        })
    })
}

#[test]
fn privileged_an_execution_outlives_its_supervisor() {
    let host = Host::new();
    host.ok(&["run", "-d", "--name", "one", "minimal", "sh", "-c", COUNT]);
    let execute = |script: &str| {
        let mut command = host.command(&["exec", "one", "sh", "-c", script]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    // Its end is its own, though its supervisor is not its parent any more.
    let client = execute("while ! [ -e /on ]; do sleep 0.01; done; echo on; exit 5");
    let killed = supervisor(&host, "one");
    kill_process(killed, Signal::KILL).unwrap();
    wait_for("another supervisor", || {
        (supervisor(&host, "one") != killed).then_some(())
    });
    host.ok(&["cp", "/dev/null", "one:/on"]);
    let ended = client.wait_with_output().unwrap();
    assert!(is_true(&ended.status.code().unwrap().to_string(), 5));
    assert_eq!(ended.stdout, b"on\n");
    // One that nobody waits for is not known any more when it has ended, and holds nobody up.
    host.ok(&[
        "exec",
        "-d",
        "one",
        "sh",
        "-c",
        "while ! [ -e /off ]; do sleep 0.01; done",
    ]);
    let ids = ["inspect", "-f", "{{len .ExecIDs}}", "one"];
    kill_process(supervisor(&host, "one"), Signal::KILL).unwrap();
    assert_eq!(host.ok(&ids), "1");
    host.ok(&["cp", "/dev/null", "one:/off"]);
    wait_for("the end", || (host.ok(&ids) == "0").then_some(()));
    // With the container it ends, whoever watches; nobody has seen how, or it was killed.
    let client = execute("sleep 1000");
    kill_process(supervisor(&host, "one"), Signal::KILL).unwrap();
    host.ok(&["stop", "one"]);
    let ended = client.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    match ended.status.code() {
        Some(137) => assert_eq!(told, ""),
        code => {
            assert_eq!(code, Some(255));
            assert!(told.contains("the exit status of the process is not known"));
        }
    }
    clear(&host);
}
