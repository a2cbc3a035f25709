//! One client's conversation with a monitor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_types::{ContainerName, ErrorKind, Signal};
use rustix::io::Errno;

use super::spawn::Begin;
use crate::protocol::socket::{receive, send, send_some};
use crate::protocol::{
    Decoder, Failure, Frame, HEADER, Kind, MAX_PAYLOAD, ProtocolError, Rest, STDIN_WINDOW,
};
use crate::record::{ExitRecord, State};

/// A conversation with a monitor.
///
/// The order of a foreground run is [`created`](Self::created) (network goes here),
/// [`start`](Self::start), [`relay`](Self::relay) or [`wait`](Self::wait), and cleaning up; of a
/// detached one created, start, [`detach`](Self::detach). All calls block.
#[derive(Debug)]
pub struct Session {
    pub(super) socket: OwnedFd,
    decoder: Decoder,
    buffer: Vec<u8>,
    pidfd: Option<OwnedFd>,
    created: Option<Created>,
    started: bool,
    pub(super) ended: Option<ExitRecord>,
    foreground: bool,
    /// Whether the monitor starts the program without being told to.
    is_start_ordered: bool,
    /// How many bytes of input may be sent before credit comes.
    pub(super) window: usize,
}

/// A container whose init exists.
#[derive(Debug)]
pub struct Created {
    /// What `state.json` says.
    pub state: State,
    /// Init's process id in the host's pid namespace. Send signals by the pidfd, never by this.
    pub pid: u32,
    /// A descriptor of init, which cannot come to mean another process.
    pub pidfd: OwnedFd,
}

/// Why a conversation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The container could not be created or started; the failure's code is the command's.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The monitor went away without an answer: it was killed. What is left of the container is
    /// told by [`crate::liveness()`].
    #[error("the monitor of the container ended without an answer")]
    Gone,
    /// The socket failed.
    #[error("talk to the monitor")]
    Socket(#[source] Errno),
    /// The monitor said what it must not.
    #[error("talk to the monitor")]
    Protocol(#[from] ProtocolError),
    /// A document it sent cannot be read.
    #[error("read the monitor's answer")]
    Document(#[source] serde_json::Error),
    /// A descriptor given by the caller failed.
    #[error("{act}")]
    Stdio {
        /// What was done.
        act: &'static str,
        /// Why it failed; `EPIPE` says that the reader of our output is gone.
        source: Errno,
    },
}

impl SessionError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed(failure) => failure.kind(),
            Self::Gone => ErrorKind::Unavailable,
            Self::Socket(source) | Self::Stdio { source, .. } => {
                ErrorKind::of_io(&(*source).into())
            }
            Self::Protocol(error) => error.kind(),
            Self::Document(_) => ErrorKind::DataLoss,
        }
    }
}

/// What a monitor said.
#[derive(Debug)]
pub(super) enum Event<'a> {
    Created,
    Started,
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    Gap(u64),
    /// Credit for input came.
    Credit,
    Exit,
}

impl Session {
    pub(super) fn foreground(socket: OwnedFd, is_start_ordered: bool) -> Self {
        Self {
            foreground: true,
            is_start_ordered,
            ..Self::watching(socket)
        }
    }

    pub(super) fn watching(socket: OwnedFd) -> Self {
        Self {
            socket,
            decoder: Decoder::default(),
            buffer: vec![0; 64 << 10],
            pidfd: None,
            created: None,
            started: false,
            ended: None,
            foreground: false,
            is_start_ordered: false,
            window: STDIN_WINDOW,
        }
    }

    /// Waits until init exists.
    pub fn created(&mut self) -> Result<&Created, SessionError> {
        while self.created.is_none() {
            self.wait_event()?;
        }
        self.created.as_ref().ok_or(SessionError::Gone)
    }

    /// Hands the next bundle to a monitor that waits to start its container again. From then on
    /// this is the foreground client's session, as that of [`super::Spawned::begin`].
    pub fn begin(mut self, begin: Begin<'_>) -> Result<Self, SessionError> {
        let payload = [u8::from(begin.start), u8::MAX, u8::MAX];
        match send_some(self.socket.as_fd(), Kind::Begin, &payload, &begin.fds()) {
            Err(Errno::PIPE | Errno::CONNRESET) => {}
            // A frame this small is taken whole by an empty socket.
            other => drop(other.map_err(SessionError::Socket)?),
        }
        self.foreground = true;
        self.is_start_ordered = begin.start;
        Ok(self)
    }

    /// Tells a monitor that waits to start its container again why there is no bundle for it.
    pub fn give_up(&mut self, failure: &Failure) -> Result<(), SessionError> {
        let json = serde_json::to_vec(failure).map_err(SessionError::Document)?;
        self.say(Kind::Failed, &json)
    }

    /// Tells a monitor that waits to start its container again that it is not to.
    pub fn halt(&mut self) -> Result<(), SessionError> {
        self.say(Kind::Halt, &[])
    }

    /// Returns whether the program runs already, as far as the monitor has told.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Lets init execute the program, unless the monitor does so by itself, and waits until it has.
    ///
    /// [`SessionError::Failed`] carries the exit code of a program that cannot be executed (126,
    /// 127); the exit is recorded by then. [`created`](Self::created) need not be called before.
    pub fn start(&mut self) -> Result<(), SessionError> {
        if !self.started && !self.is_start_ordered {
            self.say(Kind::Start, &[])?;
        }
        while !self.started && self.ended.is_none() {
            self.wait_event()?;
        }
        Ok(())
    }

    /// Asks for the output from now on, on a session from [`super::connect`]. What this client is
    /// too slow for is dropped.
    pub fn attach(&mut self) -> Result<(), SessionError> {
        self.say(Kind::Attach, &[])
    }

    /// Sends a signal to init.
    pub fn signal(&mut self, signal: Signal) -> Result<(), SessionError> {
        self.say(Kind::Signal, &[signal.0])
    }

    /// Sets the size of the container's terminal; nothing happens if it has none.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<(), SessionError> {
        let [a, b] = rows.to_le_bytes();
        let [c, d] = columns.to_le_bytes();
        self.say(Kind::Resize, &[a, b, c, d])
    }

    /// Says that the container has got another name.
    pub fn rename(&mut self, name: &ContainerName) -> Result<(), SessionError> {
        self.say(Kind::Rename, name.as_str().as_bytes())
    }

    /// Leaves the container to itself: after its end the monitor executes the cleanup command.
    pub fn detach(mut self) -> Result<(), SessionError> {
        self.leave()
    }

    pub(super) fn leave(&mut self) -> Result<(), SessionError> {
        self.foreground = false;
        self.say(Kind::Detach, &[])
    }

    /// Waits for the end of the container; output is dropped.
    ///
    /// From the foreground session this takes over the cleaning up.
    pub fn wait(&mut self) -> Result<ExitRecord, SessionError> {
        loop {
            if let Some(exit) = &self.ended {
                return Ok(exit.clone());
            }
            self.wait_event()?;
        }
    }

    /// Leaves it to the monitor to unlink what the caller has moved out of sight, in an operation
    /// whose lock is `lease`. For the foreground session, after the end.
    ///
    /// Returns false if the monitor is gone: then it is the caller's. If the monitor is killed
    /// later, the operation is found as any other that died.
    pub fn dispose(&self, rest: &Rest, lease: BorrowedFd<'_>) -> Result<bool, SessionError> {
        let json = serde_json::to_vec(rest).map_err(SessionError::Document)?;
        if self.ended.is_none() || !self.foreground || json.len() > MAX_PAYLOAD {
            return Ok(false);
        }
        match send_some(self.socket.as_fd(), Kind::Dispose, &json, &[lease]) {
            Ok(sent) => Ok(sent == HEADER + json.len()),
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(false),
            Err(error) => Err(SessionError::Socket(error)),
        }
    }

    /// The socket, to be polled with other descriptors; readable when there is something to relay.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn say(&mut self, kind: Kind, payload: &[u8]) -> Result<(), SessionError> {
        match send(self.socket.as_fd(), kind, payload) {
            // The monitor has ended: what it said before is still to be read and tells more.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            other => other.map_err(SessionError::Socket),
        }
    }

    fn wait_event(&mut self) -> Result<(), SessionError> {
        while self.buffered_event()?.is_none() {
            self.fill()?;
        }
        Ok(())
    }

    /// Reads from the socket once.
    pub(super) fn fill(&mut self) -> Result<(), SessionError> {
        let (length, mut fds) = match receive(self.socket.as_fd(), &mut self.buffer) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Err(SessionError::Gone),
            other => other.map_err(SessionError::Socket)?,
        };
        self.pidfd = fds.pop().or(self.pidfd.take());
        self.decoder.push(&self.buffer[..length]);
        Ok(())
    }

    /// Takes in the next frame that has been read.
    pub(super) fn buffered_event(&mut self) -> Result<Option<Event<'_>>, SessionError> {
        let Some(Frame { kind, payload }) = self.decoder.next_frame()? else {
            return Ok(None);
        };
        let unexpected = SessionError::Protocol(ProtocolError::Unexpected(kind));
        let event = match kind {
            Kind::Stdout => Event::Stdout(payload),
            Kind::Stderr => Event::Stderr(payload),
            Kind::Created => {
                let state: State =
                    serde_json::from_slice(payload).map_err(SessionError::Document)?;
                let pidfd = self.pidfd.take().ok_or(unexpected)?;
                let pid = state.init.pid;
                self.created = Some(Created { state, pid, pidfd });
                Event::Created
            }
            Kind::Started => {
                self.started = true;
                Event::Started
            }
            Kind::Failed => {
                let failure: Failure =
                    serde_json::from_slice(payload).map_err(SessionError::Document)?;
                take_over(self.socket.as_fd(), self.foreground)?;
                return Err(failure.into());
            }
            Kind::Gap => {
                let bytes = payload.try_into().map_err(|_| unexpected)?;
                Event::Gap(u64::from_le_bytes(bytes))
            }
            Kind::StdinTaken => {
                let bytes = payload.try_into().map_err(|_| unexpected)?;
                let taken = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
                self.window = self.window.saturating_add(taken).min(STDIN_WINDOW);
                Event::Credit
            }
            Kind::Exit => {
                let exit = serde_json::from_slice(payload).map_err(SessionError::Document)?;
                self.ended = Some(exit);
                take_over(self.socket.as_fd(), self.foreground)?;
                Event::Exit
            }
            _ => return Err(unexpected),
        };
        Ok(Some(event))
    }
}

/// Tells the monitor that the caller cleans up, if it is the one to do so.
fn take_over(socket: BorrowedFd<'_>, foreground: bool) -> Result<(), SessionError> {
    if !foreground {
        return Ok(());
    }
    match send(socket, Kind::Taken, &[]) {
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        other => other.map_err(SessionError::Socket),
    }
}
