//! Decompression of layers and archives: gzip, zstd or none, told by their first bytes.
//!
//! Media types are not believed: images exist whose layers say gzip and are not, and Docker has
//! always looked at the bytes.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

/// The largest zstd window that is accepted, as a power of two: 128 MiB, what zstd(1) and other
/// engines accept. It bounds memory, whatever a frame asks for.
const ZSTD_WINDOW_LOG: u32 = 27;
/// How many bytes of a tar's first header are needed to tell xz, the longest magic.
pub(crate) const MAGIC: usize = 6;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all.
    None,
    /// gzip, of any number of members (RFC 1952).
    Gzip,
    /// zstd, of any number of frames (RFC 8878).
    Zstd,
    /// One that is recognised only to say so.
    Unsupported(&'static str),
}

impl Compression {
    /// Tells the compression by a stream's first bytes.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame as zstd:chunked images may begin with.
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b, 0x2a, 0x4d, 0x18, ..] if b & 0xf0 == 0x50 => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Unsupported("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Unsupported("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Unsupported("lz4"),
            _ => Self::None,
        }
    }

    /// Returns a reader of what `compressed` holds; `InvalidData` for an unsupported format.
    pub(crate) fn reader<'a, R: BufRead + 'a>(
        self,
        compressed: R,
    ) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(compressed),
            Self::Gzip => Box::new(MultiGzDecoder::new(compressed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Self::Unsupported(_) => return Err(self.refusal()),
        })
    }

    /// Returns the error of a compression that is recognised and not supported.
    pub(crate) fn refusal(self) -> io::Error {
        let message = format!("{self} compression is not supported, use gzip or zstd");
        io::Error::new(io::ErrorKind::Unsupported, message)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Unsupported(name) => name,
        })
    }
}

/// Reads what is in `compressed`, telling the compression by its first bytes.
pub fn open<'a, R: BufRead + 'a>(mut compressed: R) -> io::Result<Box<dyn Read + 'a>> {
    let start = compressed.fill_buf()?;
    if start.len() >= MAGIC || start.is_empty() {
        let compression = Compression::of(start);
        return compression.reader(compressed);
    }
    // A reader that gives a few bytes at a time: gather enough of them first.
    let mut head = Vec::new();
    (&mut compressed)
        .take(MAGIC as u64)
        .read_to_end(&mut head)?;
    let compression = Compression::of(&head);
    compression.reader(io::Cursor::new(head).chain(compressed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression as Level, write::GzEncoder};
    use std::io::{BufReader, Write};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8], at_once: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        open(BufReader::with_capacity(at_once, bytes))?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn each_format_is_told_by_its_first_bytes() {
        let text = b"some text that is long enough to be worth it";
        let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
        let members = [gzip(&text[..10]), gzip(&text[10..])].concat();
        for at_once in [1, 3, 4096] {
            for form in [text.as_slice(), &gzip(text), &members, &zstd] {
                assert_eq!(read(form, at_once).unwrap(), text);
            }
        }
        assert_eq!(read(b"", 10).unwrap(), b"");
        let error = read(b"\xfd7zXZ\0rest", 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_cut_or_flipped_stream_is_an_error() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for form in [gzip(&text), zstd::encode_all(text.as_slice(), 1).unwrap()] {
            assert!(read(&form[..form.len() - 3], 4096).is_err());
        }
        let mut flipped = gzip(&text);
        let crc = flipped.len() - 6;
        flipped[crc] ^= 1;
        assert!(read(&flipped, 4096).is_err());
    }

    #[test]
    fn a_window_beyond_the_bound_is_refused() {
        // A frame header that asks for a window of 2^31 bytes (RFC 8878 §3.1.1.1.2).
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0, 0];
        assert!(read(&frame, 4096).is_err());
    }
}
