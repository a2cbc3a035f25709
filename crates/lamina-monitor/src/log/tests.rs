//! Writer and reader together: cutting, rotation, tail, follow.

mod torn;

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use super::*;
use crate::config::{LogConfig, LogDriver, SinkAddress, SinkConfig, SinkProtocol};
use lamina_fs::Dir;
use proptest::prelude::*;

fn config(max_size: u64, max_files: u32) -> LogConfig {
    LogConfig {
        driver: LogDriver::JsonFile,
        max_size,
        max_files,
        compress: false,
        attributes: BTreeMap::new(),
        sink: None,
    }
}

fn open(path: &Path, config: LogConfig) -> (Dir, LogWriter) {
    let dir = Dir::open(path).unwrap();
    let writer = LogWriter::new(dir.try_clone().unwrap(), config);
    (dir, writer)
}

/// The current file of a log in Docker's format.
const CURRENT: &str = "json.log";

/// The same, kept by the driver `local`.
fn framed(max_size: u64, max_files: u32) -> LogConfig {
    LogConfig {
        driver: LogDriver::Local,
        ..config(max_size, max_files)
    }
}

fn reader<'a>(dir: &Dir, options: ReadOptions<'a>) -> Reader<'a> {
    let log = dir.path().join(LOG_DIR);
    let is_framed = log.join(Format::Framed.current()).exists();
    let format = [Format::Json, Format::Framed][usize::from(is_framed)];
    read(dir, format, options).unwrap()
}

fn all(dir: &Dir, options: ReadOptions<'_>) -> Vec<Entry> {
    reader(dir, options).map(Result::unwrap).collect()
}

fn tail(lines: u64) -> ReadOptions<'static> {
    ReadOptions {
        tail: Some(lines),
        ..ReadOptions::default()
    }
}

fn text(entries: &[Entry], stream: Stream) -> String {
    let of_stream = entries.iter().filter(|e| e.stream == stream);
    of_stream.map(Entry::text).collect()
}

#[test]
fn single_bytes_become_lines_of_each_stream() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut writer) = open(root.path(), LogConfig::default());
    for (a, b) in "one\ntwo\n".bytes().zip("eins\nzw".bytes()) {
        writer.write(Stream::Stdout, &[a]);
        writer.write(Stream::Stderr, &[b]);
    }
    writer.write(Stream::Stdout, b"\n");
    let before_end = all(&dir, ReadOptions::default()).len();
    writer.finish();
    let entries = all(&dir, ReadOptions::default());
    assert_eq!(entries.len(), before_end + 1, "an unfinished line waits");
    assert_eq!(text(&entries, Stream::Stderr), "eins\nzw");
    assert_eq!(entries.iter().filter(|e| e.is_partial()).count(), 1);
}

#[test]
fn long_lines_are_cut_between_characters() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut writer) = open(root.path(), LogConfig::default());
    let line = format!("x{}\n", "\u{20ac}".repeat(20_000));
    for piece in line.as_bytes().chunks(777) {
        writer.write(Stream::Stdout, piece);
    }
    let entries = all(&dir, ReadOptions::default());
    assert_eq!(text(&entries, Stream::Stdout), line);
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|e| e.content.len() <= MAX_CONTENT));
    assert_eq!(entries.iter().filter(|e| e.is_partial()).count(), 3);
    assert_eq!(all(&dir, tail(1)).len(), 4, "one line of output");
}

#[test]
fn the_format_is_dockers_and_any_byte_is_valid_json() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut writer) = open(root.path(), LogConfig::default());
    let every: Vec<u8> = (0..=255).collect();
    writer.write(Stream::Stderr, &every);
    writer.finish();
    let bytes = fs::read(root.path().join("log/json.log")).unwrap();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["log", "stream", "time"]);
    }
    let expected = String::from_utf8_lossy(&every).into_owned();
    let got = all(&dir, ReadOptions::default());
    assert_eq!(text(&got, Stream::Stderr), expected);
}

#[test]
fn rotation_keeps_the_newest_files_within_their_size() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut writer) = open(root.path(), config(1000, 3));
    for number in 0..200 {
        writer.write(Stream::Stdout, format!("{number}\n").as_bytes());
    }
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(root.path().join("log")).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.metadata().unwrap().len() <= 1000);
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["json.14.log", "json.15.log", "json.log"]);
    let entries = all(&dir, ReadOptions::default());
    let numbers = entries.iter().map(|e| e.text().trim().parse().unwrap());
    let numbers: Vec<u32> = numbers.collect();
    assert_eq!(numbers.last(), Some(&199));
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "no hole");
    assert!(numbers.len() > 20);
}

#[test]
fn tail_counts_lines_over_files() {
    for files in [1, 3, 10] {
        let root = tempfile::tempdir().unwrap();
        let (dir, mut writer) = open(root.path(), config(400, files));
        for number in 0..10 {
            writer.write(Stream::Stdout, format!("{number}\n").as_bytes());
        }
        let kept = all(&dir, ReadOptions::default()).len();
        for lines in [0, 1, 3, 7, 100] {
            let got = all(&dir, tail(lines));
            let expected = kept.min(usize::try_from(lines).unwrap());
            assert_eq!(got.len(), expected, "{files} files, tail {lines}");
            assert!(got.last().is_none_or(|last| last.content == b"9\n"));
        }
    }
}

#[test]
fn times_bound_what_is_read() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut writer) = open(root.path(), LogConfig::default());
    writer.write(Stream::Stdout, b"before\n");
    let middle = Time::now();
    writer.write(Stream::Stdout, b"after\n");
    let since = ReadOptions {
        since: Some(middle),
        ..ReadOptions::default()
    };
    let until = ReadOptions {
        until: Some(middle),
        ..ReadOptions::default()
    };
    assert_eq!(text(&all(&dir, since), Stream::Stdout), "after\n");
    assert_eq!(text(&all(&dir, until), Stream::Stdout), "before\n");
}

#[test]
fn a_follower_loses_nothing_over_rotations() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut writer) = open(root.path(), config(4000, 50));
    let done = AtomicBool::new(false);
    let numbers: Vec<u32> = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let options = ReadOptions {
                follow: Some(Box::new(|| !done.load(Ordering::SeqCst))),
                ..ReadOptions::default()
            };
            let entries = reader(&dir, options);
            let numbers = entries.map(|e| e.unwrap().text().trim().parse().unwrap());
            numbers.collect()
        });
        for number in 0..2000_u32 {
            writer.write(Stream::Stdout, format!("{number}\n").as_bytes());
            if number % 100 == 0 {
                thread::sleep(Duration::from_millis(3));
            }
        }
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    assert_eq!(numbers, (0..2000).collect::<Vec<_>>());
}

#[test]
fn a_log_that_cannot_be_written_is_counted_and_tried_again() {
    let root = tempfile::tempdir().unwrap();
    fs::File::create(root.path().join("log")).unwrap();
    let (dir, mut writer) = open(root.path(), LogConfig::default());
    writer.write(Stream::Stdout, b"lost\n");
    assert!(writer.lost() > 0);
    fs::remove_file(root.path().join("log")).unwrap();
    writer.write(Stream::Stdout, b"kept\n");
    let got = all(&dir, ReadOptions::default());
    assert_eq!(text(&got, Stream::Stdout), "kept\n");
}

#[test]
fn daemons_get_an_entry_a_datagram_and_are_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("socket");
    let sink = |protocol| LogConfig {
        driver: LogDriver::Sink,
        sink: Some(SinkConfig {
            protocol,
            address: SinkAddress::Unix(path.clone()),
            tag: "web".to_owned(),
            fields: [("CONTAINER_NAME".to_owned(), "web".to_owned())].into(),
        }),
        ..LogConfig::default()
    };
    let (dir, mut syslog) = open(root.path(), sink(SinkProtocol::Syslog { facility: 3 }));
    syslog.write(Stream::Stdout, b"nobody listens\n");
    assert_eq!(syslog.lost(), 15);
    let daemon = UnixDatagram::bind(&path).unwrap();
    syslog.write(Stream::Stderr, b"one\ntw");
    syslog.write(Stream::Stderr, b"o\n");
    let mut buffer = [0; 4096];
    let mut next = || {
        let length = daemon.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let pid = std::process::id();
    assert_eq!(next(), format!("<27>web[{pid}]: one"));
    assert_eq!(next(), format!("<27>web[{pid}]: two"));
    let (_, mut journal) = open(root.path(), sink(SinkProtocol::Journald));
    journal.write(Stream::Stdout, b"half");
    journal.finish();
    let entry = next();
    for field in [
        "PRIORITY\n",
        "CONTAINER_NAME\n",
        "CONTAINER_PARTIAL_MESSAGE\n",
        "half\n",
    ] {
        assert!(entry.contains(field), "{entry:?}");
    }
    // Far more than a socket holds: nothing blocks, and what is lost is counted.
    for _ in 0..10_000 {
        syslog.write(Stream::Stdout, b"flood\n");
    }
    assert!(syslog.lost() > 15);
    assert!(all(&dir, ReadOptions::default()).is_empty(), "no file");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_comes_back_however_it_was_cut(
        text_in in "[\\x00-\\x7fäöü€😀\n]{0,300}",
        repeat in 1_usize..120,
        cut in 1_usize..5000,
        is_framed in any::<bool>(),
    ) {
        let whole = text_in.repeat(repeat);
        let root = tempfile::tempdir().unwrap();
        let kept = [config, framed][usize::from(is_framed)];
        let (dir, mut writer) = open(root.path(), kept(20_000, 200));
        for piece in whole.as_bytes().chunks(cut) {
            writer.write(Stream::Stdout, piece);
        }
        writer.finish();
        let entries = all(&dir, ReadOptions::default());
        prop_assert_eq!(text(&entries, Stream::Stdout), whole);
        let ends = entries.iter().all(|e| !e.text().trim_end_matches('\n').contains('\n'));
        prop_assert!(ends);
    }
}

#[test]
fn attributes_are_dockers_and_are_read() {
    let root = tempfile::tempdir().unwrap();
    let marked = LogConfig {
        attributes: [("tier", "a \"b\""), ("HOME", "/")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..LogConfig::default()
    };
    let (dir, mut writer) = open(root.path(), marked.clone());
    writer.write(Stream::Stderr, b"text\n");
    let text = fs::read_to_string(root.path().join(LOG_DIR).join(CURRENT)).unwrap();
    let start =
        r#"{"log":"text\n","stream":"stderr","attrs":{"HOME":"/","tier":"a \"b\""},"time":""#;
    assert!(text.starts_with(start), "{text}");
    let entries = all(&dir, tail(1));
    assert_eq!(entries[0].attributes, marked.attributes);
}

/// Follows while files are rotated and packed by another: every line comes once, in its order.
#[test]
fn nothing_is_lost_to_a_reader_while_files_are_packed() {
    for config in [config, framed] {
        follow_while_packing(config(20_000, 1000));
    }
}

fn follow_while_packing(config: LogConfig) {
    const LINES: usize = 20_000;
    let root = tempfile::tempdir().unwrap();
    let current = Format::of(config.driver).unwrap().current();
    let (dir, mut writer) = open(root.path(), config);
    writer.write(Stream::Stdout, b"line 0\n");
    let is_over = AtomicBool::new(false);
    let options = ReadOptions {
        follow: Some(Box::new(|| !is_over.load(Ordering::Acquire))),
        ..ReadOptions::default()
    };
    let follower = reader(&dir, options);
    let number = |entry: Entry| -> usize {
        entry
            .text()
            .trim_start_matches("line ")
            .trim()
            .parse()
            .unwrap()
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for at in 1..LINES {
                writer.write(Stream::Stdout, format!("line {at}\n").as_bytes());
            }
            is_over.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                pack(&dir, &|| false).unwrap();
            }
        });
        let seen: Vec<usize> = follower.map(|entry| number(entry.unwrap())).collect();
        assert_eq!(seen, (0..LINES).collect::<Vec<_>>());
    });
    pack(&dir, &|| false).unwrap();
    let names = dir.open_at(LOG_DIR).unwrap().entries().unwrap();
    let is_plain = |name: &str| !name.ends_with(".gz") && name != current;
    let plain = names.iter().filter(|e| is_plain(e.name.to_str().unwrap()));
    assert_eq!(plain.count(), 0, "all full files are packed");
    let again: Vec<usize> = all(&dir, ReadOptions::default())
        .into_iter()
        .map(number)
        .collect();
    assert_eq!(again, (0..LINES).collect::<Vec<_>>());
    let last: Vec<usize> = all(&dir, tail(3000)).into_iter().map(number).collect();
    assert_eq!(last, (LINES - 3000..LINES).collect::<Vec<_>>());
}

/// Far more files than a reader may have open; the descriptors are counted while it reads.
#[test]
fn a_reader_of_many_files_holds_a_few_and_misses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut writer) = open(root.path(), framed(60, 2000));
    for number in 0..800 {
        writer.write(Stream::Stdout, format!("{number}\n").as_bytes());
    }
    let names = || fs::read_dir(root.path().join(LOG_DIR)).unwrap().count();
    assert!(names() >= 400, "{}", names());
    let numbers = |options| -> Vec<u32> {
        let read = reader(&dir, options).map(|entry| {
            let folder = root.path().to_str().unwrap().to_owned();
            let fds = fs::read_dir("/proc/self/fd").unwrap();
            let ours = fds.filter(|fd| {
                let target = fs::read_link(fd.as_ref().unwrap().path());
                target.is_ok_and(|target| target.to_string_lossy().starts_with(&folder))
            });
            assert!(ours.count() < 45);
            entry.unwrap().text().trim().parse().unwrap()
        });
        read.collect()
    };
    assert_eq!(
        numbers(ReadOptions::default()),
        (0..800).collect::<Vec<_>>()
    );
    assert_eq!(numbers(tail(600)), (200..800).collect::<Vec<_>>());
    // While the oldest are dropped: all that were open, and all that stayed.
    let mut reading = reader(&dir, ReadOptions::default());
    assert_eq!(reading.next().unwrap().unwrap().text(), "0\n");
    writer = LogWriter::new(dir.try_clone().unwrap(), framed(60, 300));
    for number in 800..810 {
        writer.write(Stream::Stdout, format!("{number}\n").as_bytes());
    }
    let rest: Vec<u32> = reading
        .map(|entry| entry.unwrap().text().trim().parse().unwrap())
        .collect();
    let first_kept: u32 = numbers(ReadOptions::default())[0];
    let held = rest.iter().take_while(|number| **number < first_kept);
    let held = u32::try_from(held.count()).unwrap();
    assert!((30..70).contains(&held), "{held}");
    let expected = (1..=held).chain(first_kept..800);
    assert!(rest.into_iter().take_while(|n| *n < 800).eq(expected));
}
