//! PAX records: `LENGTH KEY=VALUE\n`, over and over, nothing else.
//!
//! Whatever another implementation might read differently is an error here. Skipping a malformed
//! record, or believing the header's size over the record's, is how an archive shows one content to
//! a scanner and another to an engine (CVE-2025-62518 "TARmageddon", CVE-2026-33055,
//! CVE-2026-32766).

use super::Time;
use super::header::id;

/// What the records before one entry say. `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Time>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: SparseKeys,
}

/// The `GNU.sparse.*` keys of formats 0.0, 0.1 and 1.0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SparseKeys {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    /// Offsets and lengths in turn, from `map` (0.1) or `offset`/`numbytes` (0.0).
    pub(crate) numbers: Vec<u64>,
}

impl SparseKeys {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Pax {
    /// Parses the content of an `x` header.
    pub(crate) fn parse(mut rest: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        while !rest.is_empty() {
            let (key, value, after) = record(rest)?;
            pax.set(key, value)?;
            rest = after;
        }
        Ok(pax)
    }

    /// Takes over the content of a `g` header, which holds for all entries that follow.
    ///
    /// Defaults for owner and time are applied. Names, sizes, attributes and sparse maps for all
    /// entries make no sense, and implementations disagree about them.
    pub(crate) fn parse_global(&mut self, content: &[u8]) -> Result<(), &'static str> {
        let new = Self::parse(content)?;
        let shared = new.path.is_some()
            || new.link.is_some()
            || new.size.is_some()
            || !new.xattrs.is_empty()
            || !new.sparse.is_empty();
        if shared {
            return Err("a global header sets what only one entry can have");
        }
        self.uid = new.uid.or(self.uid);
        self.gid = new.gid.or(self.gid);
        self.mtime = new.mtime.or(self.mtime);
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        // POSIX lets an empty value take a global default back; nobody writes that, it is refused.
        match key {
            b"path" => once(&mut self.path, name(value)?),
            b"linkpath" => once(&mut self.link, name(value)?),
            b"size" => once(&mut self.size, decimal(value)?),
            b"uid" => once(&mut self.uid, owner(value)?),
            b"gid" => once(&mut self.gid, owner(value)?),
            b"mtime" => once(&mut self.mtime, time(value)?),
            b"GNU.sparse.major" => once(&mut self.sparse.major, decimal(value)?),
            b"GNU.sparse.minor" => once(&mut self.sparse.minor, decimal(value)?),
            b"GNU.sparse.name" => once(&mut self.sparse.name, name(value)?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                once(&mut self.sparse.size, decimal(value)?)
            }
            b"GNU.sparse.numblocks" => decimal(value).map(drop),
            b"GNU.sparse.map" => self.sparse_map(value),
            b"GNU.sparse.offset" => self.sparse_number(value, 0),
            b"GNU.sparse.numbytes" => self.sparse_number(value, 1),
            // Old GNU and other extensions that change what the content is, unknown to us.
            _ if key.starts_with(b"GNU.sparse.") => Err("unknown GNU.sparse key"),
            _ => match key.strip_prefix(b"SCHILY.xattr.") {
                Some(attribute) => self.xattr(attribute, value),
                // Names of owners, access times, comments, vendors' keys.
                None => Ok(()),
            },
        }
    }

    fn xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) || value.len() > 65536 {
            return Err("bad extended attribute");
        }
        if self.xattrs.iter().any(|(known, _)| known == name) {
            return Err("an extended attribute is given twice");
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    fn sparse_map(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if !self.sparse.numbers.is_empty() {
            return Err("two sparse maps");
        }
        if value.is_empty() {
            return Ok(());
        }
        for number in value.split(|&b| b == b',') {
            self.sparse.numbers.push(decimal(number)?);
        }
        Ok(())
    }

    fn sparse_number(&mut self, value: &[u8], place: usize) -> Result<(), &'static str> {
        if self.sparse.numbers.len() % 2 != place {
            return Err("sparse offsets and lengths do not alternate");
        }
        self.sparse.numbers.push(decimal(value)?);
        Ok(())
    }
}

/// A key given twice is read as its first or its last value, depending on who reads.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err("a key is given twice"),
    }
}

/// Key, value, and what follows.
type Record<'r> = (&'r [u8], &'r [u8], &'r [u8]);

/// Splits off one record.
fn record(bytes: &[u8]) -> Result<Record<'_>, &'static str> {
    let space = bytes
        .iter()
        .take(12)
        .position(|&b| b == b' ')
        .ok_or("no record length")?;
    let length = usize::try_from(decimal(&bytes[..space])?).map_err(|_| "bad record length")?;
    if length > bytes.len() || length < space + 4 {
        return Err("bad record length");
    }
    let (record, after) = bytes.split_at(length);
    let body = record[space + 1..]
        .strip_suffix(b"\n")
        .ok_or("a record does not end its line")?;
    let equals = body
        .iter()
        .position(|&b| b == b'=')
        .ok_or("a record without =")?;
    if equals == 0 {
        return Err("a record without a key");
    }
    Ok((&body[..equals], &body[equals + 1..], after))
}

fn name(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.is_empty() || value.contains(&0) {
        return Err("bad name");
    }
    Ok(value.to_vec())
}

/// Digits only: no sign, no blank.
pub(crate) fn decimal(value: &[u8]) -> Result<u64, &'static str> {
    if value.is_empty() {
        return Err("bad number");
    }
    value.iter().try_fold(0u64, |number, digit| {
        let digit = digit
            .checked_sub(b'0')
            .filter(|d| *d < 10)
            .ok_or("bad number")?;
        number
            .checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(digit)))
            .ok_or("bad number")
    })
}

fn owner(value: &[u8]) -> Result<u32, &'static str> {
    i64::try_from(decimal(value)?)
        .ok()
        .and_then(id)
        .ok_or("bad owner")
}

/// Seconds with an optional fraction; digits beyond nanoseconds are dropped.
fn time(value: &[u8]) -> Result<Time, &'static str> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let point = value.iter().position(|&b| b == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&value[..point], &value[point + 1..]),
        None => (value, &b""[..]),
    };
    let seconds = i64::try_from(decimal(whole)?).map_err(|_| "bad time")?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err("bad time");
    }
    let mut nanoseconds = 0;
    for place in 0..9 {
        nanoseconds = nanoseconds * 10 + fraction.get(place).map_or(0, |d| u32::from(d - b'0'));
    }
    Ok(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_records_are_errors_not_skipped() {
        let bad: [&[u8]; 22] = [
            b"x",
            b"12 path=ab",
            b"12 path=ab\n\0",
            b"13 path=abc\n",
            b"11 path=abc\n",
            b"10 pathabc\n",
            b"9 =value\n",
            b"+12 path=abc\n",
            b" 12 path=abc\n",
            b"0 \n",
            b"3 \n",
            b"99999999999999999999 path=abc\n",
            b"9 path=\n",
            b"12 size=-1\n\n",
            b"11 size=+1\n",
            b"12 size=0x1\n",
            b"30 size=99999999999999999999\n\n",
            b"18 uid=4294967295\n",
            b"13 mtime=1.x\n",
            b"11 mtime=\n",
            b"11 path=ab\n11 path=cd\n",
            b"20 SCHILY.xattr.=va\n",
        ];
        for bytes in bad {
            assert!(Pax::parse(bytes).is_err(), "{}", crate::Shown(bytes));
        }
    }

    #[test]
    fn times_keep_nanoseconds_on_both_sides_of_1970() {
        let at = |text: &[u8]| time(text).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(
            at(b"1700000000.123456789012"),
            Ok((1_700_000_000, 123_456_789))
        );
        assert_eq!(at(b"5"), Ok((5, 0)));
        assert_eq!(at(b"-1.25"), Ok((-2, 750_000_000)));
        assert_eq!(at(b"-3"), Ok((-3, 0)));
        assert_eq!(at(b"99999999999999999999"), Err("bad number"));
    }
}
