//! The form of the driver `local`: the program's own bytes, whatever they are, with what is known
//! of them before and a check behind.
//!
//! ```text
//! content length n │ flags │ seconds since 1970, nanoseconds │ content │ CRC-32 │ n
//! u32              │ u8    │ i64, u32                        │ n bytes │ u32    │ u32
//! ```
//! All numbers are little-endian. Bit 0 of the flags is set for stderr, bit 1 where the line goes
//! on in the next entry of its stream; elsewhere it ends, and its newline is not written. The check
//! is of everything before it. The length stands at both ends, so that the last whole frame of a
//! torn file is found from its end, and where something is damaged the next whole one.

use flate2::Crc;

use super::format::Next;
use super::{Entry, MAX_CONTENT, Stream};
use crate::time::Time;

/// What stands before the content.
const HEAD: usize = 4 + 1 + 8 + 4;
/// What stands behind it.
const FOOT: usize = 4 + 4;
/// The longest frame.
const LONGEST: usize = HEAD + MAX_CONTENT + FOOT;

const STDERR: u8 = 1;
const GOES_ON: u8 = 2;

/// A whole frame whose check is right.
#[derive(Debug, Clone, Copy)]
struct Frame<'a> {
    flags: u8,
    second: i64,
    nanos: u32,
    content: &'a [u8],
}

/// Appends a frame; `content` is no longer than an entry may be.
pub(super) fn append(out: &mut Vec<u8>, content: &[u8], stream: Stream, time: Time) {
    let (text, goes_on) = match content.strip_suffix(b"\n") {
        Some(line) => (line, 0),
        None => (content, GOES_ON),
    };
    let is_stderr = match stream {
        Stream::Stdout => 0,
        Stream::Stderr => STDERR,
    };
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let (second, nanos) = time.parts();
    let begin = out.len();
    out.extend_from_slice(&length);
    out.push(is_stderr | goes_on);
    out.extend_from_slice(&second.to_le_bytes());
    out.extend_from_slice(&nanos.to_le_bytes());
    out.extend_from_slice(text);
    let check = check_of(&out[begin..]);
    out.extend_from_slice(&check);
    out.extend_from_slice(&length);
}

/// Finds the end of the frame that `bytes` begin with. What is no frame is a record as well, up to
/// where the next one begins.
pub(super) fn next(bytes: &[u8]) -> Next {
    match length_at(bytes, 0) {
        None => return Next::Unfinished,
        Some(length) if length <= MAX_CONTENT => {
            let size = HEAD + length + FOOT;
            match bytes.get(..size) {
                None => return Next::Unfinished,
                Some(record) if parse(record).is_some() => return Next::Record(size),
                Some(_) => {}
            }
        }
        Some(_) => {}
    }
    if let Some(at) = (1..bytes.len()).find(|at| begins_frame(&bytes[*at..])) {
        return Next::Record(at);
    }
    // The beginning of one may stand at the end.
    match bytes.len().checked_sub(LONGEST) {
        None | Some(0) => Next::Unfinished,
        Some(skipped) => Next::Record(skipped),
    }
}

/// Reads a frame; `None` if it is none.
pub(super) fn entry(record: &[u8]) -> Option<Entry> {
    let frame = parse(record)?;
    let mut content = frame.content.to_vec();
    if frame.flags & GOES_ON == 0 {
        content.push(b'\n');
    }
    Some(Entry {
        content,
        stream: stream_of(frame.flags),
        time: Time::of_parts(frame.second, frame.nanos)?,
        attributes: Default::default(),
    })
}

/// Returns whether a frame ends a line of output.
pub(super) fn ends_line(record: &[u8]) -> bool {
    parse(record).is_none_or(|frame| frame.flags & GOES_ON == 0)
}

/// Returns where the last whole frame ends.
pub(super) fn whole(end: &[u8]) -> Option<usize> {
    (HEAD + FOOT..=end.len()).rev().find(|at| {
        let begin = length_at(end, at - 4)
            .filter(|length| *length <= MAX_CONTENT)
            .and_then(|length| at.checked_sub(HEAD + length + FOOT));
        begin.is_some_and(|begin| parse(&end[begin..*at]).is_some())
    })
}

/// Returns what is there of the content of a frame without an end.
pub(super) fn salvage(torn: &[u8]) -> Option<(Vec<u8>, Stream)> {
    let length = length_at(torn, 0)?;
    let flags = *torn.get(4)?;
    if length > MAX_CONTENT || flags > STDERR | GOES_ON {
        return None;
    }
    let content = torn.get(HEAD..)?;
    let mut content = content[..length.min(content.len())].to_vec();
    if content.len() == length && flags & GOES_ON == 0 {
        content.push(b'\n');
    }
    Some((content, stream_of(flags)))
}

fn begins_frame(bytes: &[u8]) -> bool {
    let size = length_at(bytes, 0).filter(|length| *length <= MAX_CONTENT);
    size.and_then(|length| bytes.get(..HEAD + length + FOOT))
        .is_some_and(|record| parse(record).is_some())
}

fn parse(record: &[u8]) -> Option<Frame<'_>> {
    let (rest, end) = record.split_last_chunk::<4>()?;
    let (rest, check) = rest.split_last_chunk::<4>()?;
    let (length, body) = rest.split_first_chunk::<4>()?;
    let (flags, body) = body.split_first()?;
    let (second, body) = body.split_first_chunk::<8>()?;
    let (nanos, content) = body.split_first_chunk::<4>()?;
    // The check last: it is what takes time.
    let is_whole = length == end
        && usize::try_from(u32::from_le_bytes(*length)) == Ok(content.len())
        && content.len() <= MAX_CONTENT
        && *flags <= STDERR | GOES_ON
        && check_of(rest) == *check;
    is_whole.then(|| Frame {
        flags: *flags,
        second: i64::from_le_bytes(*second),
        nanos: u32::from_le_bytes(*nanos),
        content,
    })
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

fn check_of(bytes: &[u8]) -> [u8; 4] {
    let mut check = Crc::new();
    check.update(bytes);
    check.sum().to_le_bytes()
}

fn stream_of(flags: u8) -> Stream {
    match flags & STDERR {
        0 => Stream::Stdout,
        _ => Stream::Stderr,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames as they stand in a file, and what they say.
    fn frames(contents: &[(Vec<u8>, bool)]) -> (Vec<Vec<u8>>, Vec<Entry>) {
        let time = Time::of_parts(-1_700_000_000, 999_999_999).unwrap();
        let made = contents.iter().map(|(content, is_stderr)| {
            let stream = [Stream::Stdout, Stream::Stderr][usize::from(*is_stderr)];
            let mut bytes = Vec::new();
            append(&mut bytes, content, stream, time);
            let entry = Entry {
                content: content.clone(),
                stream,
                time,
                attributes: Default::default(),
            };
            (bytes, entry)
        });
        made.unzip()
    }

    /// Reads all that can be read, and returns how many bytes were left as unfinished.
    fn read(mut bytes: &[u8]) -> (Vec<Entry>, usize) {
        let mut entries = Vec::new();
        while let Next::Record(length) = next(bytes) {
            assert!(length > 0, "it goes on");
            entries.extend(entry(&bytes[..length]));
            bytes = &bytes[length..];
        }
        (entries, bytes.len())
    }

    fn contents() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
        // No newline but at the end, as the writer cuts it.
        let text = proptest::collection::vec(any::<u8>(), 0..200);
        let line = (text, any::<bool>()).prop_map(|(mut text, ends)| {
            text.retain(|byte| *byte != b'\n');
            if ends {
                text.push(b'\n');
            }
            text
        });
        proptest::collection::vec((line, any::<bool>()), 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes_come_back_and_a_torn_end_is_found(contents in contents(), cut in any::<usize>()) {
            let (pieces, entries) = frames(&contents);
            let whole = pieces.concat();
            prop_assert_eq!(read(&whole), (entries.clone(), 0));
            let ends = entries.iter().zip(&pieces);
            prop_assert!(ends.clone().all(|(entry, frame)| ends_line(frame) != entry.is_partial()));
            // Written up to anywhere.
            let torn = &whole[..cut % whole.len()];
            let ends = pieces.iter().scan(0, |end, piece| {
                *end += piece.len();
                Some(*end)
            });
            let count = ends.take_while(|end| *end <= torn.len()).count();
            let (found, left) = read(torn);
            prop_assert_eq!(&found, &entries[..count]);
            let intact: usize = pieces[..count].iter().map(Vec::len).sum();
            prop_assert_eq!(left, torn.len() - intact);
            prop_assert_eq!(super::whole(torn).unwrap_or(0), intact);
            if let Some((content, stream)) = salvage(&torn[intact..]) {
                prop_assert!(entries[count].content.starts_with(&content));
                prop_assert_eq!(stream, entries[count].stream);
            }
        }

        #[test]
        fn what_is_damaged_costs_what_it_hit(contents in contents(), at in any::<usize>(), bit in 0_u32..8) {
            let (pieces, entries) = frames(&contents);
            let mut whole = pieces.concat();
            let at = at % whole.len();
            whole[at] ^= 1_u8 << bit;
            // More follows, as far as a length may point.
            let filler = vec![b'x'; MAX_CONTENT];
            let (last, _) = frames(&[(filler.clone(), false), (filler, false)]);
            whole.extend(last.concat());
            let (found, _) = read(&whole);
            let mut begin = 0;
            let expected: Vec<&Entry> = entries.iter().zip(&pieces).filter_map(|(entry, piece)| {
                let is_hit = (begin..begin + piece.len()).contains(&at);
                begin += piece.len();
                (!is_hit).then_some(entry)
            }).collect();
            prop_assert_eq!(found.iter().take(expected.len()).collect::<Vec<_>>(), expected);
            prop_assert_eq!(found.len(), entries.len() - 1 + 2);
        }

        #[test]
        fn anything_at_all_is_read_in_bounded_steps(bytes in proptest::collection::vec(any::<u8>(), 0..40_000)) {
            let (_, left) = read(&bytes);
            prop_assert!(left <= LONGEST);
            let _ = (super::whole(&bytes), salvage(&bytes));
        }
    }
}
