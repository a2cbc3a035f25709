//! One entry as a line of JSON, and where lines and characters may be cut.

use std::collections::BTreeMap;

use super::{MAX_CONTENT, Stream};
use crate::time::Time;

/// Writes entries; remembers the text of the second it wrote last, since times come in bursts.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// What every entry is marked with, as the entry's member.
    attributes: Vec<u8>,
    second: Option<i64>,
    text: String,
}

impl Encoder {
    pub(super) fn new(attributes: &BTreeMap<String, String>) -> Self {
        let mut member = Vec::new();
        for (name, value) in attributes {
            let before: &[u8] = match member.is_empty() {
                true => b",\"attrs\":{\"",
                false => b",\"",
            };
            member.extend_from_slice(before);
            escape(&mut member, name.as_bytes());
            member.extend_from_slice(b"\":\"");
            escape(&mut member, value.as_bytes());
            member.push(b'"');
        }
        if !member.is_empty() {
            member.push(b'}');
        }
        Self {
            attributes: member,
            ..Self::default()
        }
    }

    /// Appends the entry of `content` to `out`.
    pub(super) fn entry(&mut self, out: &mut Vec<u8>, content: &[u8], stream: Stream, time: Time) {
        out.extend_from_slice(b"{\"log\":\"");
        for chunk in content.utf8_chunks() {
            escape(out, chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        out.extend_from_slice(match stream {
            Stream::Stdout => b"\",\"stream\":\"stdout\"",
            Stream::Stderr => b"\",\"stream\":\"stderr\"",
        });
        out.extend_from_slice(&self.attributes);
        out.extend_from_slice(b",\"time\":\"");
        self.time(out, time);
        out.extend_from_slice(b"\"}\n");
    }

    fn time(&mut self, out: &mut Vec<u8>, time: Time) {
        let (second, nanos) = time.parts();
        if self.second != Some(second) {
            self.text = time.to_string();
            // What stands before the fraction is the same for the whole second.
            self.text.truncate(self.text.find('.').unwrap_or(0));
            self.second = Some(second);
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        let mut divisor = 100_000_000;
        while divisor > 0 {
            let digit = u8::try_from(nanos / divisor % 10).unwrap_or(0);
            out.push(b'0' + digit);
            divisor /= 10;
        }
        out.push(b'Z');
    }
}

/// Returns what can be told of an entry whose end was never written: its text as far as it goes,
/// and where it was written to, stdout unless the entry says otherwise.
pub(super) fn salvage(torn: &[u8]) -> Option<(String, Stream)> {
    /// The longest beginning of an escape, or of a character.
    const SPLINTER: usize = 5;
    let text = torn.strip_prefix(b"{\"log\":\"")?;
    let mut is_escaped = false;
    let quote = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    let (text, rest) = text.split_at(quote.unwrap_or(text.len()));
    let content = (0..=SPLINTER).find_map(|splinter| {
        let whole = text.get(..text.len().checked_sub(splinter)?)?;
        serde_json::from_slice(&[b"\"", whole, b"\""].concat()).ok()
    })?;
    let is_stderr = rest.starts_with(b"\",\"stream\":\"stde");
    let stream = if is_stderr {
        Stream::Stderr
    } else {
        Stream::Stdout
    };
    Some((content, stream))
}

/// Appends valid UTF-8 as the inside of a JSON string.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | ..0x20)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            quoted @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', quoted]),
            control => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Returns where to cut a line that is longer than an entry: at the limit, or a few bytes before
/// it where a character would be cut in two.
pub(super) fn cut(line: &[u8]) -> usize {
    let limit = MAX_CONTENT.min(line.len());
    if limit == line.len() {
        return limit;
    }
    // A character has four bytes at most: look for a beginning in the last three.
    let tail = &line[limit - 3..limit];
    match tail.iter().rposition(|b| *b & 0xc0 != 0x80) {
        Some(at) if is_unfinished(&tail[at..]) => limit - (tail.len() - at),
        _ => limit,
    }
}

/// Returns whether bytes are the beginning of a character of UTF-8.
fn is_unfinished(bytes: &[u8]) -> bool {
    let needed = match bytes.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => return false,
    };
    bytes.len() < needed
}

/// Returns whether a line of the file is an entry that ends a line of output.
///
/// What follows the text is of our own making, so the last separator is the true one.
pub(super) fn ends_line(json: &[u8]) -> bool {
    const SEPARATOR: &[u8] = b"\",\"stream\":\"";
    let separator = json
        .windows(SEPARATOR.len())
        .rposition(|window| window == SEPARATOR);
    let Some(at) = separator else {
        return true;
    };
    let Some(text) = json[..at].strip_suffix(b"n") else {
        return false;
    };
    let slashes = text.iter().rev().take_while(|b| **b == b'\\').count();
    slashes % 2 == 1
}
