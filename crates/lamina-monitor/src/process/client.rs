//! One client of the monitor: what waits to be sent to it, and what it asked for.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_types::ContainerName;
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::log::Stream;
use crate::protocol::socket::{receive, send_bytes, send_some};
use crate::protocol::{
    Decoder, Failure, Frame, HEADER, Kind, MAX_PAYLOAD, ProtocolError, Rest, STDIN_WINDOW, header,
};

/// The most that waits for a client that gives no back-pressure.
const BACKLOG: usize = 256 << 10;

/// What a client is to the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The spawner: its full socket delays the container, and it cleans up.
    Foreground,
    /// Gets output as far as it keeps up.
    Attached,
    /// Gets the exit only.
    Watching,
}

/// What a client asks for, input apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// The next bundle is there; whether the program is executed as soon as all is set up.
    Begin {
        start: bool,
    },
    /// The next bundle could not be made.
    GiveUp(Failure),
    /// The container is not to be started again.
    Halt,
    Start,
    Resize {
        rows: u16,
        columns: u16,
    },
    Signal(u8),
    Detach,
    /// The container has got another name.
    Rename(ContainerName),
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) socket: OwnedFd,
    pub(super) role: Role,
    decoder: Decoder,
    outbox: Vec<u8>,
    sent: usize,
    /// Output left out since the last that was sent.
    gap: u64,
    /// Input on its way to the program, at most a window.
    pub(super) input: Vec<u8>,
    pub(super) input_closed: bool,
    /// It has the exit and cleans up.
    pub(super) has_taken: bool,
    /// What it leaves of that to the monitor.
    pub(super) rest: Option<(Rest, OwnedFd)>,
    /// The descriptors that came last.
    received: Vec<OwnedFd>,
    /// It cannot be sent to any more; what it had asked for before it went is still to be read.
    is_deaf: bool,
    /// The socket is closed or failed; to be forgotten.
    pub(super) gone: bool,
}

impl Client {
    pub(super) fn new(socket: OwnedFd, role: Role) -> Self {
        Self {
            socket,
            role,
            decoder: Decoder::default(),
            outbox: Vec::new(),
            sent: 0,
            gap: 0,
            input: Vec::new(),
            input_closed: false,
            has_taken: false,
            rest: None,
            received: Vec::new(),
            is_deaf: false,
            gone: false,
        }
    }

    /// Returns whether something waits for the socket to take it.
    pub(super) fn is_behind(&self) -> bool {
        !self.is_deaf && self.sent < self.outbox.len()
    }

    /// Returns what to poll the socket for beside requests.
    pub(super) fn waits_for(&self) -> PollFlags {
        if self.is_behind() {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        }
    }

    /// Sends a frame that must not be lost; it waits here if the socket is full.
    pub(super) fn send(&mut self, kind: Kind, payload: &[u8], pidfd: Option<BorrowedFd<'_>>) {
        if self.is_deaf {
            return;
        }
        let mut sent = 0;
        if !self.is_behind() {
            match send_some(self.socket.as_fd(), kind, payload, pidfd.as_slice()) {
                Ok(length) => sent = length,
                Err(Errno::AGAIN) => {}
                Err(_) => {
                    self.is_deaf = true;
                    return;
                }
            }
        }
        let head = header(kind, payload.len());
        let body = sent.saturating_sub(HEADER);
        self.outbox
            .extend_from_slice(head.get(sent..).unwrap_or_default());
        self.outbox
            .extend_from_slice(payload.get(body..).unwrap_or_default());
    }

    /// Sends output; a client that is too far behind and may not slow the container loses it.
    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if self.is_deaf || self.role == Role::Watching {
            return;
        }
        let waiting = self.outbox.len() - self.sent;
        if self.role == Role::Attached && waiting + bytes.len() > BACKLOG {
            self.gap += u64::try_from(bytes.len()).unwrap_or(0);
            return;
        }
        self.tell_gap();
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        for piece in bytes.chunks(MAX_PAYLOAD) {
            self.send(kind, piece, None);
        }
    }

    /// Says how much output was left out since the last that was sent, if any was.
    pub(super) fn tell_gap(&mut self) {
        if self.gap > 0 {
            let gap = mem::take(&mut self.gap).to_le_bytes();
            self.send(Kind::Gap, &gap, None);
        }
    }

    /// Sends some of what waits.
    pub(super) fn flush(&mut self) {
        match send_bytes(self.socket.as_fd(), &self.outbox[self.sent..]) {
            Ok(length) => self.sent += length,
            Err(Errno::AGAIN) => {}
            Err(_) => self.is_deaf = true,
        }
        if self.sent == self.outbox.len() {
            self.sent = 0;
            self.outbox.clear();
            self.outbox.shrink_to(4096);
        } else if self.sent > MAX_PAYLOAD {
            self.outbox.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Gives the client credit for input that was taken.
    pub(super) fn credit(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        self.send(Kind::StdinTaken, &bytes, None);
    }

    /// Takes the descriptors that came with a request.
    pub(super) fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        mem::take(&mut self.received)
    }

    /// Forgets input that its program will not read any more.
    pub(super) fn drop_input(&mut self) {
        let dropped = self.input.len();
        self.input = Vec::new();
        if dropped > 0 {
            self.credit(dropped);
        }
    }

    /// Reads once from the socket. A client that breaks the protocol is cut off.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Vec<Request> {
        match receive(self.socket.as_fd(), buffer) {
            Ok((0, _)) => self.gone = true,
            Ok((length, fds)) => {
                if !fds.is_empty() {
                    self.received = fds;
                }
                self.decoder.push(&buffer[..length]);
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.gone = true,
        }
        let mut requests = Vec::new();
        loop {
            match self.next_request() {
                Ok(Some(Some(request))) => requests.push(request),
                Ok(Some(None)) => {}
                Ok(None) => break,
                Err(_) => {
                    self.gone = true;
                    break;
                }
            }
        }
        self.decoder.shrink();
        requests
    }

    /// Takes in one frame; `Some(None)` if it concerned only this client.
    fn next_request(&mut self) -> Result<Option<Option<Request>>, ProtocolError> {
        let Some(Frame { kind, payload }) = self.decoder.next_frame()? else {
            return Ok(None);
        };
        let unexpected = ProtocolError::Unexpected(kind);
        let request = match (kind, payload) {
            (Kind::Start, []) => Request::Start,
            (Kind::Halt, []) => Request::Halt,
            // The CPU does not matter here: nothing is made ahead.
            (Kind::Begin, [start, _, _]) => Request::Begin { start: *start == 1 },
            (Kind::Failed, json) => {
                Request::GiveUp(serde_json::from_slice(json).map_err(|_| unexpected)?)
            }
            (Kind::Detach, []) => Request::Detach,
            (Kind::Rename, name) => {
                let name = std::str::from_utf8(name).ok();
                Request::Rename(name.and_then(|name| name.parse().ok()).ok_or(unexpected)?)
            }
            (Kind::Signal, [number @ 1..=64]) => Request::Signal(*number),
            (Kind::Resize, [a, b, c, d]) => Request::Resize {
                rows: u16::from_le_bytes([*a, *b]),
                columns: u16::from_le_bytes([*c, *d]),
            },
            (Kind::Stdin, bytes) => {
                if self.input.len() + bytes.len() > STDIN_WINDOW || self.input_closed {
                    return Err(unexpected);
                }
                self.input.extend_from_slice(bytes);
                return Ok(Some(None));
            }
            (Kind::StdinClose, []) => {
                self.input_closed = true;
                return Ok(Some(None));
            }
            (Kind::Attach, []) => {
                if self.role == Role::Watching {
                    self.role = Role::Attached;
                }
                return Ok(Some(None));
            }
            (Kind::Taken, []) => {
                self.has_taken = self.role == Role::Foreground;
                return Ok(Some(None));
            }
            (Kind::Dispose, json) if self.has_taken => {
                let rest = serde_json::from_slice(json).map_err(|_| unexpected.clone())?;
                let lease = self.received.pop().ok_or(unexpected)?;
                self.rest = Some((rest, lease));
                return Ok(Some(None));
            }
            _ => return Err(unexpected),
        };
        Ok(Some(Some(request)))
    }
}
