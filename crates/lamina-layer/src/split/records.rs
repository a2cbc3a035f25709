//! The records of a split stream, written and read.

use std::io::{self, BufReader, Read, Write};

use zstd::stream::{read::Decoder, write::Encoder};

use super::{MAGIC, MAX_RAW, ObjectId, ObjectRef, REFERENCE, SplitError, VERSION};

/// The fastest: what headers repeat is found at any level, and 3 saves a further 4 % for twice the
/// time.
const LEVEL: i32 = 1;
/// The largest window a stream may ask for, as a power of two: 8 MiB.
const WINDOW_LOG: u32 = 23;

/// Writes records.
pub(super) struct RecordWriter<W: Write> {
    out: Encoder<'static, W>,
    /// The length of the tar so far.
    tar_bytes: u64,
}

impl<W: Write> RecordWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&[0; 4])?;
        let mut out = Encoder::new(out, LEVEL)?;
        out.include_checksum(true)?;
        Ok(Self { out, tar_bytes: 0 })
    }

    /// Adds bytes of the tar as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        for bytes in bytes.chunks(MAX_RAW) {
            // At most 1 MiB.
            let length = u32::try_from(bytes.len()).unwrap_or(0);
            self.out.write_all(&length.to_le_bytes())?;
            self.out.write_all(bytes)?;
        }
        self.tar_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Adds a reference in the place of content.
    pub(super) fn reference(&mut self, object: &ObjectRef) -> io::Result<()> {
        self.out.write_all(&REFERENCE.to_le_bytes())?;
        self.out.write_all(object.id.as_bytes())?;
        self.out.write_all(&object.stored.to_le_bytes())?;
        self.tar_bytes += object.stored;
        Ok(())
    }

    /// Ends the stream, flushed; returns the length of the tar.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.out.write_all(&0_u32.to_le_bytes())?;
        self.out.write_all(&self.tar_bytes.to_le_bytes())?;
        self.out.finish()?.flush()?;
        Ok(self.tar_bytes)
    }
}

/// What comes next in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// So many bytes of the tar.
    Raw(usize),
    /// A reference.
    Object(ObjectRef),
    /// Nothing more.
    End,
}

/// Reads records. As a [`Read`] it gives the tar's own bytes and fails at a reference; who parses
/// them takes references where content begins.
pub(super) struct RecordReader<R: Read> {
    from: Decoder<'static, BufReader<R>>,
    next: Next,
    /// The length of the tar so far.
    tar_bytes: u64,
}

impl<R: Read> RecordReader<R> {
    pub(super) fn new(mut from: R) -> Result<Self, SplitError> {
        let mut head = [0; 16];
        from.read_exact(&mut head).map_err(truncated)?;
        if head[..8] != MAGIC {
            return Err(SplitError::Malformed("not a split stream"));
        }
        let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if version != VERSION {
            return Err(SplitError::Version(version));
        }
        let mut decoder = Decoder::new(from).map_err(SplitError::Read)?;
        let bounded = decoder.window_log_max(WINDOW_LOG);
        bounded.map_err(SplitError::Read)?;
        let mut reader = Self {
            from: decoder.single_frame(),
            next: Next::End,
            tar_bytes: 0,
        };
        reader.advance()?;
        Ok(reader)
    }

    /// Returns what comes next.
    pub(super) fn next(&self) -> Next {
        self.next
    }

    /// Goes beyond the reference that comes next.
    pub(super) fn take_reference(&mut self) -> Result<(), SplitError> {
        if let Next::Object(object) = self.next {
            self.count(object.stored)?;
            self.advance()?;
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), SplitError> {
        let sum = self.tar_bytes.checked_add(bytes);
        self.tar_bytes = sum.ok_or(SplitError::Malformed("a tar beyond 64 bits"))?;
        Ok(())
    }

    fn advance(&mut self) -> Result<(), SplitError> {
        let mut word = [0; 4];
        self.from.read_exact(&mut word).map_err(truncated)?;
        self.next = match u32::from_le_bytes(word) {
            0 => {
                let expected = self.number()?;
                if expected != self.tar_bytes {
                    return Err(SplitError::Malformed("the tar has another length"));
                }
                // Also has the checksum verified.
                if self.from.read(&mut word).map_err(SplitError::Read)? != 0 {
                    return Err(SplitError::Malformed("records after the end"));
                }
                Next::End
            }
            REFERENCE => {
                let mut id = [0; 32];
                self.from.read_exact(&mut id).map_err(truncated)?;
                Next::Object(ObjectRef {
                    id: ObjectId::from_bytes(id),
                    stored: self.number()?,
                })
            }
            length => match usize::try_from(length) {
                Ok(length) if length <= MAX_RAW => Next::Raw(length),
                _ => return Err(SplitError::Malformed("a record is too long")),
            },
        };
        Ok(())
    }

    fn number(&mut self) -> Result<u64, SplitError> {
        let mut bytes = [0; 8];
        self.from.read_exact(&mut bytes).map_err(truncated)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl<R: Read> Read for RecordReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = match self.next {
            Next::End => return Ok(0),
            Next::Object(_) => {
                let error = SplitError::Malformed("a reference where no content begins");
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            Next::Raw(left) => left,
        };
        let want = left.min(into.len());
        let count = self.from.read(&mut into[..want])?;
        if count == 0 && want > 0 {
            let error = truncated(io::ErrorKind::UnexpectedEof.into());
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        let passed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        self.count(count as u64).map_err(passed)?;
        if count == left {
            self.advance().map_err(passed)?;
        } else {
            self.next = Next::Raw(left - count);
        }
        Ok(count)
    }
}

fn truncated(error: io::Error) -> SplitError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        SplitError::Malformed("it ends too early")
    } else {
        SplitError::Read(error)
    }
}
