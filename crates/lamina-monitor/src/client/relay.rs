//! Copying between the caller's stdin, stdout, stderr and the container, until it ends.

use std::os::fd::{AsFd, BorrowedFd};

use lamina_sys::signals::SignalFd;
use lamina_types::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::session::{Event, Session, SessionError};
use crate::detach_keys::{DetachKeys, DetachScanner};
use crate::poll;
use crate::protocol::Kind;
use crate::record::ExitRecord;
use crate::terminal;

/// What a foreground client brings along. None of the descriptors' flags are changed: they may be
/// shared with the caller's shell.
#[derive(Debug, Default)]
pub struct ForegroundStdio<'a> {
    /// Where input comes from; `None` if the container gets none from here.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Where stdout goes; `None` drops it.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Where stderr goes; `None` drops it.
    pub stderr: Option<BorrowedFd<'a>>,
    /// The blocked signals to pass on. SIGWINCH becomes a resize, SIGCHLD, SIGPIPE and SIGURG are
    /// left out.
    pub signals: Option<&'a SignalFd>,
    /// Whether signals are passed on to the program (`--sig-proxy`); resizes always are.
    pub forward_signals: bool,
    /// The terminal whose size the container's follows, with `-t`.
    pub terminal: Option<BorrowedFd<'a>>,
    /// The keys that detach, with `-t`.
    pub detach_keys: Option<&'a DetachKeys>,
}

/// How a relay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relayed {
    /// The container ended; all its output has been written.
    Exit(ExitRecord),
    /// The detach keys were typed; the container goes on without this client.
    Detached,
}

const SIGPIPE: i32 = 13;
const SIGCHLD: i32 = 17;
const SIGURG: i32 = 23;
const SIGWINCH: i32 = 28;

/// The most that is read from stdin at once.
const READ: usize = 32 << 10;

impl Session {
    /// Copies until the container has ended and all its output is written, or the user detaches.
    ///
    /// Blocks on nothing but its poll: a reader of our stdout that stops delays the container (as
    /// a pipe does) but not signals. `EPIPE` on an output is [`SessionError::Stdio`]; what then
    /// becomes of the container is the caller's choice.
    pub fn relay(&mut self, stdio: &ForegroundStdio<'_>) -> Result<Relayed, SessionError> {
        if let Some(size) = stdio.terminal.and_then(terminal::size) {
            self.resize(size.rows, size.columns)?;
        }
        let mut relay = Relay::new(self, stdio);
        loop {
            relay.take_events()?;
            if relay.out.is_empty()
                && let Some(exit) = relay.session.ended.clone()
            {
                return Ok(Relayed::Exit(exit));
            }
            if relay.turn()? {
                relay.session.leave()?;
                return Ok(Relayed::Detached);
            }
        }
    }
}

struct Relay<'r, 'a> {
    session: &'r mut Session,
    stdio: &'r ForegroundStdio<'a>,
    stdin: Option<BorrowedFd<'a>>,
    scanner: DetachScanner<'a>,
    /// Output not yet written; no more is taken from the monitor before it is.
    out: Vec<u8>,
    written: usize,
    target: Option<BorrowedFd<'a>>,
    /// How much may be written at once without blocking, to stdout and to stderr.
    step: usize,
}

impl<'r, 'a> Relay<'r, 'a> {
    fn new(session: &'r mut Session, stdio: &'r ForegroundStdio<'a>) -> Self {
        Self {
            session,
            stdio,
            stdin: stdio.stdin,
            scanner: DetachScanner::new(stdio.detach_keys),
            out: Vec::new(),
            written: 0,
            target: None,
            step: 0,
        }
    }

    /// Takes in frames until one is output, which has to be written first.
    fn take_events(&mut self) -> Result<(), SessionError> {
        while self.out.is_empty() {
            let (target, bytes) = match self.session.buffered_event()? {
                None => return Ok(()),
                Some(Event::Stdout(bytes)) => (self.stdio.stdout, bytes),
                Some(Event::Stderr(bytes)) => (self.stdio.stderr, bytes),
                Some(Event::Gap(bytes)) => {
                    let note = format!("\n[{bytes} bytes of output left out]\n");
                    self.out.extend_from_slice(note.as_bytes());
                    self.aim(self.stdio.stderr);
                    continue;
                }
                Some(_) => continue,
            };
            if target.is_some() {
                self.out.extend_from_slice(bytes);
                self.aim(target);
            }
        }
        Ok(())
    }

    fn aim(&mut self, target: Option<BorrowedFd<'a>>) {
        let Some(fd) = target else {
            self.out.clear();
            return;
        };
        // A pipe that polls writable takes PIPE_BUF bytes without blocking, and only a file more.
        let is_file = fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode).is_file());
        self.step = if is_file { usize::MAX } else { 4096 };
        self.target = target;
        self.written = 0;
    }

    /// Waits once and does what has become possible; `true` when the user detached.
    fn turn(&mut self) -> Result<bool, SessionError> {
        let busy = !self.out.is_empty();
        let wants_input = self.session.window > 0 && self.session.ended.is_none();
        let output = self.target.filter(|_| busy);
        let stdin = self.stdin.filter(|_| wants_input);
        let signals = self.stdio.signals;
        let ready = {
            let mut fds = Vec::with_capacity(4);
            let monitor = self.session.socket.as_fd();
            fds.push(match output {
                Some(fd) => PollFd::from_borrowed_fd(fd, PollFlags::OUT),
                None => PollFd::from_borrowed_fd(monitor, PollFlags::IN),
            });
            for fd in [stdin, signals.map(AsFd::as_fd)].into_iter().flatten() {
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
            poll::wait(&mut fds, None).map_err(SessionError::Socket)?;
            let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
            let main = ready.next().unwrap_or(false);
            let input = stdin.is_some() && ready.next().unwrap_or(false);
            let signal = signals.is_some() && ready.next().unwrap_or(false);
            (main, input, signal)
        };
        if let (_, _, true) = ready {
            self.pass_signals()?;
        }
        match (ready.0, output) {
            (true, Some(fd)) => self.write_some(fd)?,
            (true, None) => self.session.fill()?,
            _ => {}
        }
        match (ready.1, stdin) {
            (true, Some(fd)) => self.read_input(fd),
            _ => Ok(false),
        }
    }

    fn write_some(&mut self, fd: BorrowedFd<'_>) -> Result<(), SessionError> {
        let rest = &self.out[self.written..];
        let piece = &rest[..rest.len().min(self.step)];
        match rustix::io::write(fd, piece) {
            Ok(length) => self.written += length,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(source) => {
                let act = "write the container's output";
                return Err(SessionError::Stdio { act, source });
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
        }
        Ok(())
    }

    fn read_input(&mut self, fd: BorrowedFd<'_>) -> Result<bool, SessionError> {
        let mut buffer = [0_u8; READ];
        // One byte of a sequence held back may be released with each byte read.
        let held = self.stdio.detach_keys.map_or(0, |k| k.as_bytes().len());
        let most = self.session.window.saturating_sub(held).clamp(1, READ);
        let length = match rustix::io::read(fd, &mut buffer[..most]) {
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            // A terminal that hung up.
            Err(Errno::IO) => 0,
            Err(source) => {
                let act = "read the input of the container";
                return Err(SessionError::Stdio { act, source });
            }
        };
        if length == 0 {
            self.stdin = None;
            self.session.say(Kind::StdinClose, &[])?;
            return Ok(false);
        }
        let mut input = Vec::with_capacity(length + held);
        let detached = self.scanner.scan(&buffer[..length], &mut input);
        if !input.is_empty() {
            self.session.window = self.session.window.saturating_sub(input.len());
            self.session.say(Kind::Stdin, &input)?;
        }
        Ok(detached)
    }

    fn pass_signals(&mut self) -> Result<(), SessionError> {
        let Some(signals) = self.stdio.signals else {
            return Ok(());
        };
        let failed = |source| SessionError::Stdio {
            act: "read signals",
            source,
        };
        while let Some(arrived) = signals.read().map_err(failed)? {
            match arrived.signal {
                SIGWINCH => {
                    if let Some(size) = self.stdio.terminal.and_then(terminal::size) {
                        self.session.resize(size.rows, size.columns)?;
                    }
                }
                SIGCHLD | SIGPIPE | SIGURG => {}
                other if self.stdio.forward_signals => {
                    if let Ok(number) = u8::try_from(other) {
                        self.session.signal(Signal(number))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
