//! Output and input: order, amounts, slow readers, strangers who hold a pipe.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use lamina_monitor::{ForegroundStdio, LogConfig, LogDriver, Relayed, connect, read_state};
use lamina_types::Signal;
use serde_json::json;

use crate::fixture::{Container, Test, eventually};

pub(crate) const TESTS: &[Test] = &[
    ("privileged_output_is_kept_and_separated", separated),
    ("privileged_input_and_output_flow_both_ways", both_ways),
    (
        "privileged_a_slow_reader_delays_the_program_without_memory",
        back_pressure,
    ),
    (
        "privileged_a_slow_attached_client_delays_nobody",
        slow_attached,
    ),
    (
        "privileged_a_program_that_does_not_read_blocks_no_signal",
        unread_input,
    ),
    (
        "privileged_a_survivor_that_holds_the_pipe_hangs_nobody",
        survivor,
    ),
    ("privileged_any_user_may_open_dev_stdout", dev_stdout),
];

fn separated() {
    let container = Container::of("echo one; echo two >&2; printf three");
    let (exit, _) = container.run();
    assert_eq!(exit.code, 0);
    let options = lamina_monitor::log::ReadOptions::default();
    let format = lamina_monitor::log::Format::Json;
    let entries = lamina_monitor::log::read(&container.state_dir(), format, options).unwrap();
    let mut got: Vec<(String, String)> = Vec::new();
    for entry in entries.map(Result::unwrap) {
        got.push((format!("{:?}", entry.stream), entry.text()));
    }
    got.sort();
    let expected = [
        ("Stderr", "two\n"),
        ("Stdout", "one\n"),
        ("Stdout", "three"),
    ];
    assert_eq!(got, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

fn both_ways() {
    let container = Container::of("cat").with_input();
    let mut session = container.spawn();
    session.start().unwrap();
    let (input, mut to_input) = std::io::pipe().unwrap();
    let (mut from_output, output) = std::io::pipe().unwrap();
    let sent: Vec<u8> = (0..5_000_000_u32)
        .map(|n| n.to_le_bytes()[(n % 3) as usize])
        .collect();
    let expected = sent.clone();
    let writer = thread::spawn(move || to_input.write_all(&sent).unwrap());
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        from_output.read_to_end(&mut got).unwrap();
        got
    });
    let stdio = ForegroundStdio {
        stdin: Some(input.as_fd()),
        stdout: Some(output.as_fd()),
        ..ForegroundStdio::default()
    };
    let relayed = session.relay(&stdio).unwrap();
    drop(output);
    writer.join().unwrap();
    assert!(matches!(relayed, Relayed::Exit(exit) if exit.code == 0));
    assert!(reader.join().unwrap() == expected, "every byte in order");
}

fn memory_peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn back_pressure() {
    const TOTAL: usize = 100_000_000;
    let line = "x".repeat(999);
    let container = Container::of(&format!("yes {line} | head -c {TOTAL}"));
    let mut session = container.spawn();
    session.start().unwrap();
    let (mut from_output, output) = std::io::pipe().unwrap();
    let state_dir = container.state_dir();
    let reader = thread::spawn(move || {
        let monitor = read_state(&state_dir).unwrap().unwrap().monitor_pid;
        let mut buffer = vec![0; 1 << 20];
        let (mut total, mut peak) = (0, 0);
        // Nothing is read at first: the program must stop, not the monitor grow.
        thread::sleep(Duration::from_millis(300));
        loop {
            match from_output.read(&mut buffer).unwrap() {
                0 => return (total, peak),
                length => total += length,
            }
            if total < TOTAL / 2 {
                peak = memory_peak(monitor);
            }
        }
    });
    let stdio = ForegroundStdio {
        stdout: Some(output.as_fd()),
        ..ForegroundStdio::default()
    };
    session.relay(&stdio).unwrap();
    drop(output);
    let (total, peak) = reader.join().unwrap();
    assert_eq!(total, TOTAL);
    eprintln!("peak of the monitor's memory: {peak} KiB");
    assert!(peak < 8 << 10, "{peak} KiB");
    let log = fs::read_dir(container.config.state_dir.join("log")).unwrap();
    let sizes: u64 = log
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(sizes <= 30_000_000, "rotated: {sizes}");
}

fn slow_attached() {
    let line = "y".repeat(99);
    let container = Container::of(&format!("sleep 0.2; yes {line} | head -c 5000000"));
    let mut session = container.spawn();
    session.start().unwrap();
    let mut slow = connect(&container.bundle()).unwrap();
    slow.attach().unwrap();
    let exit = session.wait().unwrap();
    assert_eq!(exit.code, 0);
    // It reads only now, and hears that something is missing.
    let mut note = tempfile::tempfile().unwrap();
    let stdio = ForegroundStdio {
        stderr: Some(note.as_fd()),
        ..ForegroundStdio::default()
    };
    let relayed = slow.relay(&stdio);
    let mut text = String::new();
    std::io::Seek::rewind(&mut note).unwrap();
    note.read_to_string(&mut text).unwrap();
    assert!(matches!(relayed, Ok(Relayed::Exit(exit)) if exit.code == 0));
    assert!(text.contains("bytes of output left out"), "{text:?}");
}

fn unread_input() {
    let container = Container::of("sleep 100").with_input();
    let mut session = container.spawn();
    session.start().unwrap();
    let (input, mut to_input) = std::io::pipe().unwrap();
    let writer = thread::spawn(move || while to_input.write_all(&[0; 4096]).is_ok() {});
    let bundle = container.bundle();
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        connect(&bundle).unwrap().signal(Signal(9)).unwrap();
    });
    let stdio = ForegroundStdio {
        stdin: Some(input.as_fd()),
        ..ForegroundStdio::default()
    };
    let begun = Instant::now();
    let relayed = session.relay(&stdio).unwrap();
    assert!(matches!(relayed, Relayed::Exit(exit) if exit.code == 137));
    assert!(begun.elapsed() < Duration::from_secs(10));
    drop(input);
    killer.join().unwrap();
    writer.join().unwrap();
}

fn survivor() {
    // The host's pid namespace: the end of the first process does not end the others.
    let mut container = Container::of("sleep 100 & echo out");
    let kinds = ["mount", "uts", "ipc", "network"];
    container.spec["linux"]["namespaces"] = json!(kinds.map(|kind| json!({"type": kind})));
    let begun = Instant::now();
    let (exit, text) = container.run();
    assert_eq!((exit.code, text.as_str()), (0, "out\n"));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

fn dev_stdout() {
    let mut container = Container::of("echo through >/proc/self/fd/1");
    container.spec["process"]["user"] = json!({"uid": 1234, "gid": 1234});
    container.config.log = LogConfig {
        driver: LogDriver::None,
        ..LogConfig::default()
    };
    let (exit, text) = container.run();
    assert_eq!((exit.code, text.as_str()), (0, "through\n"));
    let no_log = || !container.config.state_dir.join("log").exists();
    assert!(eventually(Duration::ZERO, no_log));
}
