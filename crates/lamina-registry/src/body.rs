//! Bodies of answers: nothing, bytes, or a part of a file.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// What a file is read by.
const PIECE: usize = 256 << 10;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// The next bytes of a file.
    File(FilePart),
}

/// So many bytes of a file from where it stands.
#[derive(Debug)]
pub(crate) struct FilePart {
    file: File,
    left: u64,
    buffer: Vec<u8>,
}

impl FilePart {
    pub(crate) fn new(file: File, left: u64) -> Self {
        Self {
            file,
            left,
            buffer: Vec::new(),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let most = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        self.buffer.resize(most, 0);
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.file).poll_read(context, &mut buffer))?;
        let filled = buffer.filled();
        if filled.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let bytes = Bytes::copy_from_slice(filled);
        self.left -= bytes.len() as u64;
        Poll::Ready(Ok(bytes))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            this @ Self::Bytes(_) => {
                let Self::Bytes(bytes) = std::mem::replace(this, Self::Empty) else {
                    return Poll::Ready(None);
                };
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::File(part) if part.left == 0 => Poll::Ready(None),
            Self::File(part) => {
                let bytes = ready!(part.poll(context));
                Poll::Ready(Some(bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(_) => false,
            Self::File(part) => part.left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(part) => part.left,
        })
    }
}

/// The error of what cannot fail.
pub(crate) type Never = Infallible;
