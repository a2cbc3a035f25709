//! PAX records: what does not fit a ustar header.

use super::Record;
use crate::tar::entry::{SparsePart, Time};
use crate::tar::{BLOCK, sparse};

/// `LENGTH KEY=VALUE\n`, the length counting its own digits.
pub(super) fn push_record(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    body.extend_from_slice(format!("{length} ").as_bytes());
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}

pub(super) fn time_text(time: Time) -> String {
    let (negative, seconds, nanoseconds) = match (time.seconds, time.nanoseconds) {
        (s, n) if s >= 0 => (false, s.unsigned_abs(), n),
        (s, 0) => (true, s.unsigned_abs(), 0),
        (s, n) => (true, s.unsigned_abs() - 1, 1_000_000_000 - n),
    };
    let sign = if negative { "-" } else { "" };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

/// The records and the padded map of sparse format 1.0; `None` if the map is wrong.
pub(super) fn sparse_records(
    size: u64,
    parts: &[SparsePart],
    stored: u64,
    records: &mut Vec<Record>,
) -> Option<Vec<u8>> {
    sparse::check(parts.to_vec(), size, stored).ok()?;
    for (key, value) in [("major", 1), ("minor", 0), ("realsize", size)] {
        records.push((
            format!("GNU.sparse.{key}").into_bytes(),
            value.to_string().into_bytes(),
        ));
    }
    let mut map = format!("{}\n", parts.len());
    for part in parts {
        map.push_str(&format!("{}\n{}\n", part.offset, part.length));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    Some(map)
}
