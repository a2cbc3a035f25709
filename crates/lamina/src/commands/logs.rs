//! `logs`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::mem;

use jiff::Timestamp;
use lamina_engine::LogsOptions;
use lamina_monitor::Time;
use lamina_monitor::log::{Entry, Stream};
use lamina_types::ErrorKind;

use crate::app::App;
use crate::args::LogsArgs;
use crate::cli::Verb;
use crate::commands::containers::find;
use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui::{self, parse_moment};

impl Verb for LogsArgs {
    fn run(self, app: &App) -> Outcome<u8> {
        let options = LogsOptions {
            tail: tail(&self.tail),
            since: moment("since", self.since.as_deref())?,
            until: moment("until", self.until.as_deref())?,
            follow: self.follow,
        };
        let engine = app.engine()?;
        let id = find(&engine, &self.container)?;
        let mut grep = self.grep.as_deref().map(Grep::new);
        for entry in engine.logs(&id, options).map_err(Failure::from)? {
            let entry = entry.map_err(Failure::from)?;
            if let Some(grep) = &mut grep {
                for entry in grep.take(entry) {
                    self.show(&entry)?;
                }
                continue;
            }
            self.show(&entry)?;
        }
        for entry in grep.iter_mut().flat_map(Grep::rest) {
            self.show(&entry)?;
        }
        let lost = engine.log_bytes_lost(&id);
        if lost > 0 {
            ui::err(&format!(
                "warning: {lost} bytes of output are not in the log: it could not be written\n"
            ));
        }
        Ok(exit_codes::SUCCESS)
    }
}

impl LogsArgs {
    fn show(&self, entry: &Entry) -> Outcome {
        let mut shown = String::new();
        if self.timestamps {
            shown = format!("{} ", entry.time);
        }
        if self.details {
            shown += &(details(&entry.attributes) + " ");
        }
        let mut shown = shown.into_bytes();
        shown.extend_from_slice(&entry.content);
        write(entry.stream, &shown)
    }
}

/// Returns what an entry was marked with, as Docker writes it.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs = attributes.iter();
    let pairs = pairs.map(|(name, value)| escape(name) + "=" + &escape(value));
    pairs.collect::<Vec<_>>().join(",")
}

/// Escapes as for the query of a URL.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into());
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// Lets lines through that contain a text; a long line is in several entries.
#[derive(Debug)]
struct Grep<'a> {
    text: &'a str,
    /// The beginnings of lines of stdout and stderr.
    lines: [Vec<Entry>; 2],
}

impl<'a> Grep<'a> {
    /// A line is looked at in pieces of so many entries, 1 MiB.
    const MOST: usize = 64;

    fn new(text: &'a str) -> Self {
        Self {
            text,
            lines: [Vec::new(), Vec::new()],
        }
    }

    /// Takes in an entry; returns the line that it ends, if that is wanted.
    fn take(&mut self, entry: Entry) -> Vec<Entry> {
        let line = &mut self.lines[usize::from(entry.stream == Stream::Stderr)];
        let ends = !entry.is_partial() || line.len() >= Self::MOST;
        line.push(entry);
        match ends {
            true => wanted(self.text, mem::take(line)),
            false => Vec::new(),
        }
    }

    /// Returns what is wanted of lines that have no end.
    fn rest(&mut self) -> Vec<Entry> {
        let text = self.text;
        let lines = self.lines.iter_mut().map(mem::take);
        lines.flat_map(|line| wanted(text, line)).collect()
    }
}

fn wanted(text: &str, line: Vec<Entry>) -> Vec<Entry> {
    let whole: Vec<u8> = line
        .iter()
        .flat_map(|e| e.content.iter().copied())
        .collect();
    let is_in = match std::str::from_utf8(&whole) {
        Ok(whole) => whole.contains(text),
        // An empty text is in every line.
        Err(_) => {
            let mut windows = whole.windows(text.len().max(1));
            text.is_empty() || windows.any(|window| window == text.as_bytes())
        }
    };
    match is_in {
        true => line,
        false => Vec::new(),
    }
}

/// Writes what the program wrote, where it wrote it: its own bytes, as if it ran here.
pub(super) fn write(stream: Stream, bytes: &[u8]) -> Outcome {
    match stream {
        Stream::Stdout => ui::out_bytes(bytes),
        Stream::Stderr => io::stderr()
            .write_all(bytes)
            .map_err(|_| Failure::printed().exits(exit_codes::BROKEN_PIPE)),
    }
}

/// Reads `--tail`; what is no number, or a negative one, is everything, as with Docker.
pub(super) fn tail(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn moment(name: &str, text: Option<&str>) -> Outcome<Option<Time>> {
    let Some(text) = text else { return Ok(None) };
    let moment = parse_moment(text, Timestamp::now()).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        let text = format!(
            "invalid value for {name:?}: failed to parse value as time or duration: {shown:?}"
        );
        Failure::said(ErrorKind::InvalidArgument, text)
    })?;
    Ok(Some(Time::from_timestamp(moment)))
}
