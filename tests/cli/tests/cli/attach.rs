//! `attach`: more clients of a container that runs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use lamina_testkit::Host;

use crate::wait_until;

fn attach(host: &Host) -> Child {
    let mut command = host.command(&["attach", "echo"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn privileged_many_attach_to_a_container() {
    let host = Host::new();
    host.ok(&[
        "run",
        "-d",
        "-i",
        "--name",
        "echo",
        "minimal",
        "sh",
        "-c",
        "while read a; do echo =$a; done; exit 5",
    ]);
    let mut clients: Vec<Child> = (0..3).map(|_| attach(&host)).collect();
    let mut outputs: Vec<_> = clients
        .iter_mut()
        .map(|c| BufReader::new(c.stdout.take().unwrap()))
        .collect();
    // What was printed before is in the log, not here; each hears what comes once it is attached.
    let all_hear = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut input = clients[0].stdin.as_ref().unwrap();
        let all_hear = &all_hear;
        scope.spawn(move || {
            while !all_hear.load(Ordering::Relaxed) {
                writeln!(input, "x").unwrap();
                sleep(Duration::from_millis(20));
            }
        });
        for output in &mut outputs {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert_eq!(line, "=x\n");
        }
        all_hear.store(true, Ordering::Relaxed);
    });
    // One that leaves changes nothing for the others; the end of the last input ends the program.
    clients[2].kill().unwrap();
    clients[2].wait().unwrap();
    drop(clients[0].stdin.take());
    for client in &mut clients[..2] {
        assert_eq!(client.wait().unwrap().code(), Some(5));
    }
    assert_eq!(host.ok(&["wait", "echo"]).trim(), "5");
    host.remove_containers();
    host.sweep();
}

#[test]
fn privileged_who_comes_late_sees_the_end_of_what_was_printed() {
    let host = Host::new();
    let script = "echo 1; echo 2; echo 3; read a; echo got $a; exit 4";
    let run = ["run", "-d", "-i", "--name", "late"];
    host.ok(&[&run[..], &["minimal", "sh", "-c", script]].concat());
    wait_until("its output", || host.ok(&["logs", "late"]) == "1\n2\n3");
    let mut command = host.command(&["attach", "--tail", "2", "late"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = command.spawn().unwrap();
    client.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"2\n3\ngot go\n");
    assert_eq!(output.status.code(), Some(4));
    host.remove_containers();
    host.sweep();
}
