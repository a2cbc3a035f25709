//! Writers and readers together.

use std::fs::{self, File, OpenOptions, read_dir};
use std::io::Write;
use std::thread;

use super::*;

fn event(number: usize) -> Event {
    let attributes = BTreeMap::from([("name".to_owned(), "x\"{\"v\":1\n".to_owned())]);
    Event::now(Kind::Container, "start", number.to_string(), attributes)
}

fn all(dir: &std::path::Path) -> Vec<Event> {
    let options = EventsOptions {
        since: Some("2000-01-01T00:00:00Z".parse().unwrap()),
        ..EventsOptions::default()
    };
    read(dir, options).unwrap().map(Result::unwrap).collect()
}

#[test]
fn lines_come_back_as_they_were_written() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("events");
    let events = [event(1), event(2).with("signal", "9")];
    Journal::new(&dir).append(&events);
    assert_eq!(all(&dir), events);
    let mut entries = read_dir(&dir).unwrap();
    let text = fs::read_to_string(entries.next().unwrap().unwrap().path()).unwrap();
    assert!(text.starts_with("{\"v\":1,\"time\":\"2"), "{text}");
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn torn_lines_take_nothing_with_them() {
    let whole = serde_json::to_vec(&event(7)).unwrap();
    for cut in 0..whole.len() {
        let mut torn = whole[..cut].to_vec();
        assert_eq!(super::read::parse(&torn), None);
        torn.extend_from_slice(&whole);
        assert_eq!(super::read::parse(&torn).unwrap().id, "7");
    }
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::new(root.path());
    journal.append(&[event(1)]);
    let name = name((day(Time::now()), u32::MAX));
    let append = || {
        OpenOptions::new()
            .append(true)
            .open(root.path().join(&name))
    };
    append().unwrap().write_all(&whole[..20]).unwrap();
    journal.append(&[event(2)]);
    append().unwrap().write_all(&whole[..20]).unwrap();
    let ids: Vec<String> = all(root.path()).into_iter().map(|event| event.id).collect();
    assert_eq!(ids, ["1", "2"]);
}

#[test]
fn files_are_bounded_and_read_in_order() {
    let root = tempfile::tempdir().unwrap();
    let old = |name: &str, size: u64| {
        let file = File::create(root.path().join(name)).unwrap();
        file.set_len(size).unwrap();
    };
    old("2001-01-01.jsonl", 10);
    let today = day(Time::now());
    for number in 1..=15 {
        old(&format!("{today}.{number}.jsonl"), FULL);
    }
    old(&format!("{today}.jsonl"), FULL);
    old("notes.txt", 10);
    let journal = Journal::new(root.path());
    journal.append(&[event(1)]);
    let exists = |name: &str| root.path().join(name).exists();
    assert!(!exists("2001-01-01.jsonl"), "too old");
    assert!(exists("notes.txt"), "not ours");
    assert!(!exists(&format!("{today}.1.jsonl")), "too much");
    assert!(exists(&format!("{today}.2.jsonl")));
    assert!(exists(&format!("{today}.16.jsonl")));
    assert_eq!(all(root.path()).len(), 1);
}

#[test]
fn times_bound_what_is_read() {
    let root = tempfile::tempdir().unwrap();
    let journal = Journal::new(root.path());
    let time = |text: &str| -> Time { text.parse().unwrap() };
    for text in [
        "2020-05-01T23:59:59Z",
        "2020-05-02T00:00:00Z",
        "2020-05-02T10:00:00Z",
    ] {
        journal.append(&[event(1).at(time(text))]);
    }
    let count = |since: Option<&str>, until: Option<&str>| {
        let options = EventsOptions {
            since: since.map(time),
            until: until.map(time),
            follow: false,
        };
        read(root.path(), options).unwrap().count()
    };
    assert_eq!(count(Some("2020-05-01T00:00:00Z"), None), 3);
    assert_eq!(count(Some("2020-05-02T00:00:00Z"), None), 2);
    assert_eq!(count(None, Some("2020-05-02T00:00:00Z")), 2);
    assert_eq!(
        count(Some("2020-05-02T00:00:01Z"), Some("2020-05-02T09:00:00Z")),
        0
    );
    assert_eq!(count(None, None), 0, "from now on");
}

#[test]
fn a_follower_loses_nothing_over_midnight_and_rotation() {
    const EACH: usize = 300;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let until = Time::from_timestamp(jiff::Timestamp::now() + jiff::Span::new().minutes(5));
    let options = EventsOptions {
        since: Some("2020-01-01T00:00:00Z".parse().unwrap()),
        until: Some(until),
        follow: true,
    };
    let days: [Time; 2] =
        ["2020-05-01T12:00:00Z", "2020-05-02T12:00:00Z"].map(|t| t.parse().unwrap());
    thread::scope(|scope| {
        let reader = read(dir, options).unwrap();
        for writer in 0..4 {
            scope.spawn(move || {
                let journal = Journal::new(dir);
                // Large enough that files fill up on the way.
                let padding = "x".repeat(16 << 10);
                for number in 0..EACH {
                    let day = days[number * 2 / EACH];
                    let id = writer * EACH + number;
                    journal.append(&[event(id).at(day).with("padding", &*padding)]);
                }
            });
        }
        let ids = reader.take(4 * EACH).map(|event| event.unwrap().id);
        let mut ids: Vec<usize> = ids.map(|id| id.parse().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..4 * EACH).collect::<Vec<_>>());
    });
    assert!(read_dir(dir).unwrap().count() > 3, "files were put by");
}
