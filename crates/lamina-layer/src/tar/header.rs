//! The 512-byte header: fixed fields, three dialects (v7, ustar, GNU), two kinds of number.
//!
//! Sources: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use super::BLOCK;

/// A header block whose checksum has been verified.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    /// Checks the sum; `None` if it is wrong. Old implementations summed signed bytes.
    pub(crate) fn verified(block: &'a [u8; BLOCK]) -> Option<Self> {
        let stored = octal(&block[148..156])?;
        // The field itself counts as blanks.
        let field: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
        let all: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let unsigned = all - field + 8 * 32;
        if stored == u64::from(unsigned) {
            return Some(Self(block));
        }
        let of_signed = |bytes: &[u8]| -> i64 {
            let bytes = bytes.iter();
            bytes.map(|byte| i64::from(byte.cast_signed())).sum()
        };
        let signed = of_signed(block) - of_signed(&block[148..156]) + 8 * 32;
        (i64::try_from(stored) == Ok(signed)).then_some(Self(block))
    }

    pub(crate) fn flag(self) -> u8 {
        self.0[156]
    }

    /// The name: ustar alone has a prefix; GNU keeps other things in its place.
    pub(crate) fn path(self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        if self.0[257..263] == *b"ustar\0" {
            let prefix = text(&self.0[345..500]);
            if !prefix.is_empty() {
                return [prefix, b"/", name].concat();
            }
        }
        name.to_vec()
    }

    pub(crate) fn link(self) -> &'a [u8] {
        text(&self.0[157..257])
    }

    pub(crate) fn mode(self) -> Option<u32> {
        // Some writers store the file type bits as well.
        u32::try_from(number(&self.0[100..108])?)
            .ok()
            .map(|mode| mode & 0o7777)
    }

    pub(crate) fn uid(self) -> Option<u32> {
        id(number(&self.0[108..116])?)
    }

    pub(crate) fn gid(self) -> Option<u32> {
        id(number(&self.0[116..124])?)
    }

    pub(crate) fn size(self) -> Option<u64> {
        u64::try_from(number(&self.0[124..136])?).ok()
    }

    pub(crate) fn mtime(self) -> Option<i64> {
        number(&self.0[136..148])
    }

    pub(crate) fn device(self) -> Option<(u32, u32)> {
        let major = u32::try_from(number(&self.0[329..337])?).ok()?;
        let minor = u32::try_from(number(&self.0[337..345])?).ok()?;
        Some((major, minor))
    }

    /// The old GNU sparse fields: four regions, whether more follow, and the real size.
    pub(crate) fn gnu_sparse(self) -> Option<(&'a [u8], bool, u64)> {
        let size = u64::try_from(number(&self.0[483..495])?).ok()?;
        Some((&self.0[386..482], self.0[482] != 0, size))
    }
}

/// A user or group: 32 bits, and never -1, which the kernel takes for "leave it".
pub(crate) fn id(value: i64) -> Option<u32> {
    u32::try_from(value).ok().filter(|id| *id != u32::MAX)
}

/// A text field ends at its first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number: octal digits, or GNU base-256, which is two's complement over the whole field.
/// `None` for anything else and for what does not fit.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    match field.first()? {
        0x80 | 0xff => base256(field),
        // Other first bytes with the high bit set would be values beyond 64 bits.
        first if first & 0x80 != 0 => None,
        _ => i64::try_from(octal(field)?).ok(),
    }
}

fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] == 0xff;
    let fill = if negative { 0xff } else { 0 };
    let (high, low) = field[1..].split_at(field.len().saturating_sub(9));
    if high.iter().any(|&b| b != fill) {
        return None;
    }
    let mut bytes = [fill; 8];
    bytes[8 - low.len()..].copy_from_slice(low);
    let value = i64::from_be_bytes(bytes);
    (value.is_negative() == negative).then_some(value)
}

/// Octal digits between optional leading blanks and a blank or NUL (or the field's end). A field
/// without any digit is zero.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field
        .iter()
        .position(|&b| b != b' ' && b != 0)
        .unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits
        .iter()
        .position(|&b| b == b' ' || b == 0)
        .unwrap_or(digits.len());
    if digits[end..].iter().any(|&b| b != b' ' && b != 0) {
        return None;
    }
    let mut value: u64 = 0;
    for digit in &digits[..end] {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        value = value.checked_mul(8)? + u64::from(digit - b'0');
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_kind() {
        let table: [(&[u8], Option<i64>); 13] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"0000648\0", None),
            (b"644x\0\0\0\0", None),
            (b"12 34\0\0\0", None),
            (b"-0000644", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x81\0\0\0\0\0\0\0", None),
            (b"\x80\x01\0\0\x80\0\0\0\0\0\0\0", None),
        ];
        for (field, want) in table {
            assert_eq!(number(field), want, "{field:?}");
        }
        assert_eq!(
            number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
            Some(i64::MAX)
        );
        assert_eq!(number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
        assert_eq!(
            number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"),
            Some(-2)
        );
    }
}
