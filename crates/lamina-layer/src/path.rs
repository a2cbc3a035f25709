//! Names from a tar: made relative and clean before anything is opened, escaped before anything is
//! shown.

use std::fmt;

/// A name was not one that can lie inside a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadPath {
    Escapes,
    TooLong,
    Nul,
}

/// The longest name Linux filesystems take.
const NAME_MAX: usize = 255;

/// Cleans a name lexically, as Docker does: `/a`, `./a`, `a/` and `b/../a` are `a`; the root is
/// empty. A relative name that climbs above the root escapes; an absolute one cannot.
pub(crate) fn clean(raw: &[u8], max: usize) -> Result<Vec<u8>, BadPath> {
    if raw.len() > max {
        return Err(BadPath::TooLong);
    }
    let absolute = raw.first() == Some(&b'/');
    let mut out = Vec::with_capacity(raw.len());
    for part in raw.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if out.is_empty() && absolute => {}
            b".." if out.is_empty() => return Err(BadPath::Escapes),
            b".." => {
                let end = out.iter().rposition(|&b| b == b'/').unwrap_or(0);
                out.truncate(end);
            }
            name if name.contains(&0) => return Err(BadPath::Nul),
            name if name.len() > NAME_MAX => return Err(BadPath::TooLong),
            name => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(name);
            }
        }
    }
    Ok(out)
}

/// Returns an entry's name as the relative path below the root of its layer, empty for the root:
/// cleaned as [`apply`](crate::apply()) does; `None` where that would refuse it.
pub fn clean_path(raw: &[u8]) -> Option<Vec<u8>> {
    clean(raw, raw.len()).ok()
}

/// Splits a clean path into its parent (empty for the root) and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// Shows bytes from an archive on one line: control characters (which could drive a terminal)
/// are escaped, bytes that are not UTF-8 replaced, and the text is cut at 200 characters.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let cut = &self.0[..self.0.len().min(1024)];
        for (n, c) in String::from_utf8_lossy(cut).chars().enumerate() {
            if n == 200 {
                return f.write_char('…');
            }
            if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_as_docker_does() {
        type Want = Result<&'static [u8], BadPath>;
        let table: [(&[u8], Want); 15] = [
            (b"a", Ok(b"a")),
            (b"./a/b/", Ok(b"a/b")),
            (b"/abs//x", Ok(b"abs/x")),
            (b"", Ok(b"")),
            (b".", Ok(b"")),
            (b"./", Ok(b"")),
            (b"/", Ok(b"")),
            (b"//.", Ok(b"")),
            (b"a/../b", Ok(b"b")),
            (b"a/..", Ok(b"")),
            (b"/../../etc", Ok(b"etc")),
            (b"../x", Err(BadPath::Escapes)),
            (b"a/../../x", Err(BadPath::Escapes)),
            (b"a\0b", Err(BadPath::Nul)),
            (b"...", Ok(b"...")),
        ];
        for (raw, want) in table {
            assert_eq!(clean(raw, 4095), want.map(<[u8]>::to_vec), "{}", Shown(raw));
        }
        assert_eq!(clean(&[b'a'; 256], 4095), Err(BadPath::TooLong));
        assert_eq!(clean(&b"a/".repeat(2048), 4095), Err(BadPath::TooLong));
    }

    #[test]
    fn shown_text_cannot_drive_a_terminal() {
        assert_eq!(
            Shown(b"a\x1b[2J\nb\xff").to_string(),
            "a\\u{1b}[2J\\nb\u{fffd}"
        );
        assert_eq!(Shown("ü\u{202e}".as_bytes()).to_string(), "ü\\u{202e}");
        assert!(Shown(&[b'x'; 5000]).to_string().len() < 300);
    }
}
