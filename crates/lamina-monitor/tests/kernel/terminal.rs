//! Containers with a terminal: echo, size, detach keys.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use lamina_monitor::{DetachKeys, ForegroundStdio, Liveness, Relayed, connect};
use lamina_types::Signal;

use crate::fixture::{Container, Test, eventually};

pub(crate) const TESTS: &[Test] = &[
    ("privileged_a_terminal_has_the_size_it_was_given", size),
    ("privileged_a_terminal_echoes_and_ends_at_ctrl_d", echo),
    (
        "privileged_detach_keys_leave_the_container_running",
        detach_keys,
    ),
];

fn size() {
    let container =
        Container::of("stty size; while :; do sleep 0.02; stty size; done").with_terminal();
    let mut session = container.spawn();
    session.resize(41, 123).unwrap();
    session.start().unwrap();
    assert!(eventually(Duration::from_secs(5), || container
        .log()
        .contains("41 123")));
    let mut other = connect(&container.bundle()).unwrap();
    other.resize(50, 90).unwrap();
    assert!(eventually(Duration::from_secs(5), || container
        .log()
        .contains("50 90")));
    session.signal(Signal(9)).unwrap();
    assert_eq!(session.wait().unwrap().code, 137);
}

fn echo() {
    let container = Container::executing(&["cat"]).with_terminal();
    let mut session = container.spawn();
    session.start().unwrap();
    let (input, mut to_input) = std::io::pipe().unwrap();
    let (mut from_output, output) = std::io::pipe().unwrap();
    to_input.write_all(b"hi\n\x04").unwrap();
    let stdio = ForegroundStdio {
        stdin: Some(input.as_fd()),
        stdout: Some(output.as_fd()),
        ..ForegroundStdio::default()
    };
    let relayed = session.relay(&stdio).unwrap();
    drop(output);
    let mut text = String::new();
    from_output.read_to_string(&mut text).unwrap();
    // Once by the terminal's echo, once by cat, with the terminal's line ends.
    assert_eq!(text, "hi\r\nhi\r\n");
    assert!(matches!(relayed, Relayed::Exit(exit) if exit.code == 0));
}

fn detach_keys() {
    let container = Container::of("sleep 100").with_terminal();
    let mut session = container.spawn();
    session.start().unwrap();
    let (input, mut to_input) = std::io::pipe().unwrap();
    let typing = thread::spawn(move || {
        to_input.write_all(b"a\x10").unwrap();
        thread::sleep(Duration::from_millis(20));
        to_input.write_all(b"\x11").unwrap();
        to_input
    });
    let keys = DetachKeys::default();
    let stdio = ForegroundStdio {
        stdin: Some(input.as_fd()),
        detach_keys: Some(&keys),
        ..ForegroundStdio::default()
    };
    assert_eq!(session.relay(&stdio).unwrap(), Relayed::Detached);
    drop((session, typing.join().unwrap()));
    thread::sleep(Duration::from_millis(50));
    assert!(matches!(container.liveness(), Liveness::Supervised { .. }));
    let mut other = connect(&container.bundle()).unwrap();
    other.signal(Signal(9)).unwrap();
    assert_eq!(other.wait().unwrap().code, 137);
    assert!(container.is_cleaned(Duration::from_secs(5)));
}
