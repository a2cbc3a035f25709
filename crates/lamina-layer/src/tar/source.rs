//! Where a tar comes from.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bytes::Bytes;

/// A tar that is read piece by piece, and whose pieces can be held on to.
///
/// Who must know a content's hash before it knows what to do with the content holds it in the
/// buffers it came in, instead of copying it.
pub trait TarSource: BufRead {
    /// Returns the first `count` bytes of what [`BufRead::fill_buf`] returned last, to be held as
    /// long as one likes; they are consumed as if they had not been.
    ///
    /// Copies them, where the source has nothing better.
    fn share(&mut self, count: usize) -> io::Result<Bytes> {
        Ok(Bytes::copy_from_slice(&self.fill_buf()?[..count]))
    }
}

impl TarSource for &[u8] {}

impl<R: Read> TarSource for BufReader<R> {}

impl TarSource for Cursor<Bytes> {
    fn share(&mut self, count: usize) -> io::Result<Bytes> {
        // It is within the bytes, which are in memory.
        let at = usize::try_from(self.position()).unwrap_or(usize::MAX);
        Ok(self.get_ref().slice(at..at + count))
    }
}

impl<S: TarSource + ?Sized> TarSource for &mut S {
    fn share(&mut self, count: usize) -> io::Result<Bytes> {
        (**self).share(count)
    }
}
