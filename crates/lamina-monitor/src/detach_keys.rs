//! The key sequence that leaves a container running and gives the terminal back.

use std::fmt;
use std::str::FromStr;

/// A sequence of keys as typed after `--detach-keys`: `ctrl-p,ctrl-q` unless said otherwise.
///
/// Keys are separated by commas; a key is one ASCII character, or `ctrl-` and one of `a`–`z`, `@`,
/// `[`, `\`, `]`, `^`, `_`, as Docker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// Why a text is not a sequence of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown key {key:?} in {text:?}, expected a character or ctrl- with a-z @ [ \\ ] ^ _")]
pub struct DetachKeysError {
    key: String,
    text: String,
}

impl DetachKeys {
    /// Returns the bytes the terminal sends for the sequence.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = DetachKeysError;

    fn from_str(text: &str) -> Result<Self, DetachKeysError> {
        text.split(',')
            .map(|key| {
                parse_key(key).ok_or_else(|| DetachKeysError {
                    key: key.chars().take(32).collect(),
                    text: text.chars().take(80).collect(),
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse_key(key: &str) -> Option<u8> {
    if let [byte] = key.as_bytes() {
        return byte.is_ascii().then_some(*byte);
    }
    let (prefix, letter) = key.split_at_checked(5)?;
    if !prefix.eq_ignore_ascii_case("ctrl-") {
        return None;
    }
    match letter.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(byte.to_ascii_lowercase() - b'a' + 1),
        [byte @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(byte - b'@'),
        _ => None,
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match *byte {
                letter @ 1..=26 => write!(f, "ctrl-{}", char::from(letter - 1 + b'a'))?,
                control @ (0 | 27..=31) => write!(f, "ctrl-{}", char::from(control + b'@'))?,
                other => write!(f, "{}", char::from(other))?,
            }
        }
        Ok(())
    }
}

/// Looks for the sequence in what is typed, across reads.
#[derive(Debug)]
pub(crate) struct DetachScanner<'k> {
    keys: &'k [u8],
    matched: usize,
}

impl<'k> DetachScanner<'k> {
    pub(crate) fn new(keys: Option<&'k DetachKeys>) -> Self {
        Self {
            keys: keys.map_or(&[], |keys| keys.as_bytes()),
            matched: 0,
        }
    }

    /// Appends to `out` what of `input` belongs to the program; returns whether the sequence was
    /// completed, the rest of the input being dropped.
    ///
    /// The beginning of a sequence is held back until it is certain that it is not one.
    pub(crate) fn scan(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            while self.matched > 0 && self.keys[self.matched] != byte {
                self.fall_back(out);
            }
            if self.keys[self.matched] == byte {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return true;
                }
            } else {
                out.push(byte);
            }
        }
        false
    }

    /// Gives up the longest part of the match that cannot begin the sequence any more.
    fn fall_back(&mut self, out: &mut Vec<u8>) {
        let held = &self.keys[..self.matched];
        let keep = (0..self.matched)
            .rev()
            .find(|&length| held[self.matched - length..] == self.keys[..length])
            .unwrap_or(0);
        out.extend_from_slice(&held[..self.matched - keep]);
        self.matched = keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_dockers() {
        let table: [(&str, Option<&[u8]>); 14] = [
            ("ctrl-p,ctrl-q", Some(&[16, 17])),
            ("ctrl-P", Some(&[16])),
            ("CTRL-a", Some(&[1])),
            ("a", Some(b"a")),
            ("a,b,c", Some(b"abc")),
            ("ctrl-@", Some(&[0])),
            (
                "ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_",
                Some(&[27, 28, 29, 30, 31]),
            ),
            ("ctrl-z,z", Some(&[26, b'z'])),
            ("", None),
            ("ctrl-", None),
            ("ctrl-pp", None),
            ("ctrl-1", None),
            ("a,,b", None),
            ("ä", None),
        ];
        for (text, expected) in table {
            let parsed = text.parse::<DetachKeys>().ok();
            assert_eq!(
                parsed.as_ref().map(DetachKeys::as_bytes),
                expected,
                "{text:?}"
            );
        }
        assert_eq!(DetachKeys::default().to_string(), "ctrl-p,ctrl-q");
    }

    #[test]
    fn what_is_not_the_sequence_reaches_the_program() {
        type Row = (&'static str, &'static [&'static [u8]], &'static [u8], bool);
        let table: [Row; 7] = [
            ("ctrl-p,ctrl-q", &[b"ls\n"], b"ls\n", false),
            ("ctrl-p,ctrl-q", &[b"a\x10", b"\x11b"], b"a", true),
            ("ctrl-p,ctrl-q", &[b"\x10", b"x"], b"\x10x", false),
            ("ctrl-p,ctrl-q", &[b"\x10\x10\x11"], b"\x10", true),
            ("a,a,b", &[b"aaab"], b"a", true),
            ("a,b,a,c", &[b"aba", b"bac"], b"ab", true),
            ("a,b,a,c", &[b"abax"], b"abax", false),
        ];
        for (keys, chunks, expected, detached) in table {
            let keys: DetachKeys = keys.parse().unwrap();
            let mut scanner = DetachScanner::new(Some(&keys));
            let mut out = Vec::new();
            let found = chunks.iter().any(|chunk| scanner.scan(chunk, &mut out));
            assert_eq!((out.as_slice(), found), (expected, detached), "{chunks:?}");
        }
    }
}
