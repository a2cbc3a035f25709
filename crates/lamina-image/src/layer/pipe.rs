//! A bounded pipe of recycled buffers between two threads.
//!
//! A [`Chunk`] goes back to its pipe's buffers wherever it is dropped, so a pipeline holds a
//! bounded number of them and never allocates once it runs; a stage may hold on to the bytes of
//! some. A pipe that ends without [`Sink::finish`] reads as an error, not as the end: a stage that
//! fails can never make the next one believe that the data was complete.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use lamina_layer::TarSource;

use super::buffers::{Buffers, Chunk, Filling};

/// What travels through a pipe.
#[derive(Debug)]
pub(crate) enum Message {
    /// Some bytes.
    Data(Chunk),
    /// The end: everything was sent.
    End,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Sink {
    buffers: Arc<Buffers>,
    current: Option<Filling>,
    to: Sender<Message>,
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct Source {
    from: Receiver<Message>,
    current: Option<Chunk>,
    at: usize,
    ended: bool,
}

/// Returns the two ends of a pipe that has at most `count` buffers on their way.
pub(crate) fn pipe(count: usize) -> (Sink, Receiver<Message>) {
    let (to, from) = channel();
    let sink = Sink {
        buffers: Buffers::new(count),
        current: None,
        to,
    };
    (sink, from)
}

/// The stage that reads has ended; it has recorded why.
#[derive(Debug)]
pub(crate) struct Closed;

impl From<Closed> for io::Error {
    fn from(_: Closed) -> Self {
        Self::new(io::ErrorKind::BrokenPipe, "the next stage has ended")
    }
}

impl Sink {
    /// Lets `read` fill a buffer in place and sends it on when it is full. Returns what `read`
    /// returned; zero means that there was nothing more.
    pub(crate) fn fill<E: From<Closed>>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let buffers = &self.buffers;
        let filling = self.current.get_or_insert_with(|| buffers.take());
        let count = read(filling.rest())?;
        filling.filled(count);
        if filling.is_full() {
            self.send_current()?;
        }
        Ok(count)
    }

    fn send_current(&mut self) -> Result<(), Closed> {
        match self.current.take() {
            Some(filling) if !filling.is_empty() => {
                let chunk = filling.send_off();
                self.to.send(Message::Data(chunk)).map_err(|_| Closed)
            }
            _ => Ok(()),
        }
    }

    /// Sends what is left and the end.
    pub(crate) fn finish(mut self) -> Result<(), Closed> {
        self.send_current()?;
        self.to.send(Message::End).map_err(|_| Closed)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.fill(|buffer| {
            let count = buffer.len().min(bytes.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        })
    }

    /// Does nothing: a buffer that is not full waits for [`Sink::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader of what passes: each chunk goes on to the next stage once it has been read.
#[derive(Debug)]
pub(crate) struct Tee {
    from: Receiver<Message>,
    to: Sender<Message>,
    current: Option<Chunk>,
    at: usize,
    ended: bool,
}

impl Tee {
    pub(crate) fn new(from: Receiver<Message>, to: Sender<Message>) -> Self {
        Self {
            from,
            to,
            current: None,
            at: 0,
            ended: false,
        }
    }

    /// Passes on what was not read. Returns whether the end came through.
    pub(crate) fn pass_rest(mut self) -> bool {
        while let Ok(bytes) = self.fill_buf() {
            match bytes.len() {
                0 => return true,
                count => self.consume(count),
            }
        }
        false
    }

    /// Passes a chunk on once all of it was read.
    fn pass(&mut self) -> Result<(), Closed> {
        match self.current.take_if(|c| self.at == c.bytes().len()) {
            Some(chunk) => self.to.send(Message::Data(chunk)).map_err(|_| Closed),
            None => Ok(()),
        }
    }
}

impl BufRead for Tee {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.pass()?;
        if self.current.is_none() && !self.ended {
            self.at = 0;
            match self.from.recv() {
                Ok(Message::Data(chunk)) => self.current = Some(chunk),
                Ok(Message::End) => {
                    self.ended = true;
                    self.to.send(Message::End).map_err(|_| Closed)?;
                }
                Err(_) => return Err(failed_before()),
            }
        }
        Ok(self.current.as_ref().map_or(&[], |c| &c.bytes()[self.at..]))
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl TarSource for Tee {
    fn share(&mut self, count: usize) -> io::Result<Bytes> {
        Ok(share(self.current.as_ref(), self.at, count))
    }
}

impl Read for Tee {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read(self, into)
    }
}

fn failed_before() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the stage before has failed")
}

fn read(from: &mut impl BufRead, into: &mut [u8]) -> io::Result<usize> {
    let bytes = from.fill_buf()?;
    let count = bytes.len().min(into.len());
    into[..count].copy_from_slice(&bytes[..count]);
    from.consume(count);
    Ok(count)
}

/// Returns bytes of a chunk; none at the end.
fn share(current: Option<&Chunk>, at: usize, count: usize) -> Bytes {
    current.map_or_else(Bytes::new, |chunk| chunk.bytes().slice(at..at + count))
}

impl Source {
    /// Returns a reader of what arrives at `from`.
    pub(crate) fn new(from: Receiver<Message>) -> Self {
        Self {
            from,
            current: None,
            at: 0,
            ended: false,
        }
    }

    /// Reads to the end; false if the stage before has failed.
    pub(crate) fn pass_rest(mut self) -> bool {
        while let Ok(bytes) = self.fill_buf() {
            match bytes.len() {
                0 => return true,
                count => self.consume(count),
            }
        }
        false
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let empty = self
            .current
            .as_ref()
            .is_none_or(|c| self.at == c.bytes().len());
        if empty && !self.ended {
            self.current = None;
            self.at = 0;
            match self.from.recv() {
                Ok(Message::Data(chunk)) => self.current = Some(chunk),
                Ok(Message::End) => self.ended = true,
                Err(_) => return Err(failed_before()),
            }
        }
        Ok(self.current.as_ref().map_or(&[], |c| &c.bytes()[self.at..]))
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl TarSource for Source {
    fn share(&mut self, count: usize) -> io::Result<Bytes> {
        Ok(share(self.current.as_ref(), self.at, count))
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read(self, into)
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffers::CHUNK;
    use super::*;
    use std::thread;

    #[test]
    fn everything_arrives_in_order_and_buffers_are_few() {
        let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let (mut sink, from) = pipe(2);
        let expected = sent.clone();
        let writer = thread::spawn(move || {
            sink.write_all(&sent).unwrap();
            sink.finish().unwrap();
        });
        let mut got = Vec::new();
        Source::new(from).read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        assert_eq!(got, expected);
    }

    #[test]
    fn an_unfinished_pipe_is_an_error_and_never_an_end() {
        let (mut sink, from) = pipe(2);
        sink.write_all(b"some").unwrap();
        drop(sink);
        let mut got = Vec::new();
        assert!(Source::new(from).read_to_end(&mut got).is_err());
    }

    #[test]
    fn a_writer_learns_that_nobody_reads() {
        let (mut sink, from) = pipe(2);
        drop(from);
        assert!(sink.write_all(&vec![0; CHUNK * 3]).is_err());
    }
}
