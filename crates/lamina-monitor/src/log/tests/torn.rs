//! Logs whose writer was killed in the middle of an entry.

use super::*;

#[test]
fn a_log_goes_on_after_its_writer_was_killed_in_the_middle() {
    let whole =
        r#"{"log":"a\u001b ä\n","stream":"stderr","time":"2026-01-31T09:30:00.000000001Z"}"#;
    for length in 0..=whole.len() {
        let root = tempfile::tempdir().unwrap();
        let (dir, mut first) = open(root.path(), LogConfig::default());
        first.write(Stream::Stdout, b"before\n");
        drop(first);
        let path = root.path().join(LOG_DIR).join(CURRENT);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&whole.as_bytes()[..length]);
        let log_dir = dir.open_at(LOG_DIR).unwrap();
        let durability = lamina_fs::Durability::Volatile;
        log_dir.replace(CURRENT, &bytes, 0o640, durability).unwrap();
        // One who follows has read the beginning already.
        let mut follower = reader(&dir, ReadOptions::default());
        assert_eq!(follower.next().unwrap().unwrap().content, b"before\n");
        assert!(follower.next_known().unwrap().is_none());
        let mut second = LogWriter::new(dir.try_clone().unwrap(), LogConfig::default());
        second.resume();
        second.write(Stream::Stdout, b"after\n");
        let entries = all(&dir, ReadOptions::default());
        let text: String = entries.iter().map(Entry::text).collect();
        let inner = text.strip_prefix("before\n").unwrap();
        let inner = inner.strip_suffix("after\n").unwrap();
        assert!("a\u{1b} ä\n".starts_with(inner), "{length}: {inner:?}");
        let lines = fs::read_to_string(&path).unwrap();
        let parsed = lines.lines().map(serde_json::from_str::<Entry>);
        assert!(parsed.clone().all(|entry| entry.is_ok()), "{lines}");
        if length > whole.find("stderr").unwrap() + 4 {
            assert_eq!(entries[1].stream, Stream::Stderr);
            assert_eq!(inner, "a\u{1b} ä\n");
        }
        let rest: String = std::iter::from_fn(|| follower.next_known().unwrap())
            .map(|entry| entry.text())
            .collect();
        assert_eq!(rest, format!("{inner}after\n"), "{length}");
    }
}

#[test]
fn a_framed_log_goes_on_after_its_writer_was_killed_in_the_middle() {
    let root = tempfile::tempdir().unwrap();
    let (dir, mut first) = open(root.path(), framed(100_000, 3));
    let path = root.path().join(LOG_DIR).join(Format::Framed.current());
    first.write(Stream::Stdout, b"before\n");
    let before = fs::read(&path).unwrap().len();
    first.write(Stream::Stderr, b"\xff torn\n");
    let whole = fs::read(&path).unwrap();
    for length in before..whole.len() {
        let durability = lamina_fs::Durability::Volatile;
        let log_dir = dir.open_at(LOG_DIR).unwrap();
        let name = Format::Framed.current();
        log_dir
            .replace(name, &whole[..length], 0o640, durability)
            .unwrap();
        // One who follows has read the beginning already.
        let mut follower = reader(&dir, ReadOptions::default());
        assert_eq!(follower.next().unwrap().unwrap().content, b"before\n");
        assert!(follower.next_known().unwrap().is_none());
        // Whether it is another monitor's or the next run's.
        let mut second = LogWriter::new(dir.try_clone().unwrap(), framed(100_000, 3));
        if length % 2 == 0 {
            second.resume();
        }
        second.write(Stream::Stdout, b"after\n");
        let rest = std::iter::from_fn(|| follower.next_known().unwrap());
        let mut rest: Vec<Entry> = rest.collect();
        assert_eq!(rest.pop().unwrap().content, b"after\n", "{length}");
        assert!(rest.len() < 2);
        if let Some(salvaged) = rest.pop() {
            assert!(b"\xff torn\n".starts_with(&salvaged.content));
            assert_eq!(salvaged.stream, Stream::Stderr);
        }
        assert_eq!(all(&dir, tail(1)).last().unwrap().content, b"after\n");
    }
}
