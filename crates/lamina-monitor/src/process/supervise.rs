//! The loop: output to the log and the clients, input to the program, requests, and the end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use lamina_fs::{Dir, Lock, PathError};
use lamina_sys::signals::pidfd_kill;
use lamina_types::ErrorKind;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt::socket_peercred};
use rustix::termios::{Winsize, tcsetwinsize};

use super::client::{Client, Request, Role};
use super::container::{self, Container};
use super::health::Checking;
use super::stdio::{Output, Streams};
use crate::config::MonitorConfig;
use crate::log::LogWriter;
use crate::poll;
use crate::protocol::{Failure, Kind, Rest};
use crate::record::{State, Status};
use crate::time::Time;

/// More clients are not accepted at once.
const MOST_CLIENTS: usize = 64;

/// How much is read at once, of output or from a client.
const READ: usize = 64 << 10;

/// A container and all that is held for it.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) config: MonitorConfig,
    pub(super) bundle: Dir,
    pub(super) state_dir: Dir,
    pub(super) lock: Option<Lock>,
    pub(super) listener: Option<OwnedFd>,
    pub(super) clients: Vec<Client>,
    pub(super) container: Container,
    pub(super) state: State,
    /// Whether the start was asked for.
    pub(super) is_starting: bool,
    /// Whether a client has the exit and cleans up.
    pub(super) is_taken: bool,
    /// What that client leaves to be unlinked, and the lock of its operation.
    pub(super) rest: Option<(Rest, OwnedFd)>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) outputs: Vec<Output>,
    /// What the program writes to instead, see [`crate::LogDriver::Passthrough`].
    pub(super) streams: Option<Streams>,
    pub(super) log: LogWriter,
    /// The other end is held by the process that packs the log.
    pub(super) packer: Option<OwnedFd>,
    /// Whether telling of the present loss of output was tried.
    pub(super) is_loss_tried: bool,
    /// Why the program could not be executed.
    pub(super) failure: Option<Failure>,
    /// How long was waited before the present run, after a restart.
    pub(super) delay: Duration,
    /// The lock of the operation that starts the container.
    pub(super) lease: Option<OwnedFd>,
    pub(super) buffer: Vec<u8>,
    /// The health checks of the present run.
    pub(super) checking: Option<Box<Checking>>,
    /// When a program that was asked to stop is killed.
    pub(super) kill_at: Option<Instant>,
    /// Whether the container is started again after this run, whatever its policy.
    pub(super) is_to_restart: bool,
}

/// What a descriptor that is ready belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Errors,
    Client(usize),
    Listener,
    Stdin,
    Output(usize),
    Packer,
    Check,
    Init,
}

impl Supervisor {
    /// Supervises until the container has ended, is recorded, and everyone was told; over all runs
    /// that its restart policy asks for.
    pub(super) fn run(mut self) -> Result<(), Errno> {
        self.buffer = vec![0; READ];
        loop {
            let mut has_ended = false;
            for (token, flags) in self.wait()? {
                match token {
                    Token::Errors => self.hear_of_start(),
                    Token::Client(index) => self.serve(index, flags),
                    Token::Listener => self.accept(),
                    Token::Stdin => self.feed(),
                    Token::Output(index) => drop(self.carry(index)),
                    Token::Packer => self.packer_ended(),
                    Token::Check => self.hear_check(),
                    Token::Init => has_ended = true,
                }
            }
            self.outputs.retain(|output| !output.at_end);
            self.forget_gone();
            if !has_ended {
                self.keep_time();
            } else if !self.end()? {
                return Ok(());
            }
        }
    }

    /// Waits for something to do. In the order of urgency: what a start came to before output.
    fn wait(&self) -> Result<Vec<(Token, PollFlags)>, Errno> {
        let mut tokens = Vec::with_capacity(8);
        let mut fds = Vec::with_capacity(8);
        let mut add = |token, fd, flags| {
            tokens.push(token);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if let Some(errors) = &self.container.errors {
            add(Token::Errors, errors.as_fd(), PollFlags::IN);
        }
        for (index, client) in self.clients.iter().enumerate() {
            let flags = PollFlags::IN | client.waits_for();
            add(Token::Client(index), client.socket.as_fd(), flags);
        }
        if let Some(listener) = &self.listener {
            add(Token::Listener, listener.as_fd(), PollFlags::IN);
        }
        if let Some(stdin) = &self.stdin
            && self.clients.iter().any(|client| !client.input.is_empty())
        {
            add(Token::Stdin, stdin.as_fd(), PollFlags::OUT);
        }
        // Back-pressure: what the foreground client has not taken stays in the pipe. Nothing is
        // read before the program runs, so that a client hears of the start first.
        let is_held = self
            .clients
            .iter()
            .any(|c| c.role == Role::Foreground && c.is_behind());
        if self.state.status == Status::Running && !is_held {
            for (index, output) in self.outputs.iter().enumerate() {
                add(Token::Output(index), output.fd.as_fd(), PollFlags::IN);
            }
        }
        if let Some(packer) = &self.packer {
            add(Token::Packer, packer.as_fd(), PollFlags::IN);
        }
        if let Some(pipe) = self.report() {
            add(Token::Check, pipe.as_fd(), PollFlags::IN);
        }
        add(Token::Init, self.container.pidfd.as_fd(), PollFlags::IN);
        poll::wait(&mut fds, self.time_left())?;
        let ready = tokens.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    /// The pipe from init: closed by a successful exec, or with a message in it.
    pub(super) fn hear_of_start(&mut self) {
        let Some(errors) = self.container.errors.take() else {
            return;
        };
        match container::read_start(&errors) {
            Err(failure) => self.failure = Some(failure),
            Ok(()) if self.is_starting => {
                self.state.status = Status::Running;
                self.state.started_at = Some(Time::now());
                // Before it is said that it runs: whoever asks then finds no former run's health.
                self.begin_checks();
                // The truth for later commands before the word to the present one. If the disk
                // refuses it, the record of the creation still names the process.
                let _ = self.publish_state();
                // The container stands: a spawner killed from now on leaves nothing to undo.
                self.lease = None;
                for client in &mut self.clients {
                    client.send(Kind::Started, &[], None);
                }
                self.note_start();
            }
            // Init was killed before it was told to go on.
            Ok(()) => {}
        }
    }

    pub(super) fn publish_state(&self) -> Result<(), PathError> {
        self.state.write(&self.state_dir)
    }

    /// Takes in one more client.
    pub(super) fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = accept_with(listener, flags) else {
            return;
        };
        // The directory keeps strangers out; this does too, should its mode be changed.
        let peer = socket_peercred(&socket).map(|peer| peer.uid);
        let is_owner = peer.is_ok_and(|uid| uid.is_root() || uid == rustix::process::geteuid());
        if !is_owner || self.clients.len() >= MOST_CLIENTS {
            return;
        }
        self.welcome(Client::new(socket, Role::Watching));
    }

    /// Takes a client in, and tells it what there is.
    pub(super) fn welcome(&mut self, mut client: Client) {
        // Between two runs there is no process to tell of.
        if self.state.status != Status::Exited {
            self.greet(&mut client);
        }
        self.clients.push(client);
    }

    /// Tells a client which process init is and how far it has come.
    pub(super) fn greet(&self, client: &mut Client) {
        let json = serde_json::to_vec(&self.state).unwrap_or_default();
        client.send(Kind::Created, &json, Some(self.container.pidfd.as_fd()));
        if self.state.status == Status::Running {
            client.send(Kind::Started, &[], None);
        }
    }

    fn serve(&mut self, index: usize, flags: PollFlags) {
        let client = &mut self.clients[index];
        if flags.contains(PollFlags::OUT) {
            client.flush();
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        for request in client.receive(&mut self.buffer) {
            match request {
                Request::Start => self.start(),
                // Init may have ended meanwhile; that is told soon enough.
                Request::Signal(number) => {
                    let _ = pidfd_kill(self.container.pidfd.as_fd(), i32::from(number));
                }
                Request::Resize { rows, columns } => self.resize(rows, columns),
                Request::Detach => self.clients[index].role = Role::Watching,
                Request::Rename(name) => self.rename(&name),
                // It has begun: whoever says so has not looked.
                Request::Begin { .. } | Request::GiveUp(_) | Request::Halt => {
                    self.clients[index].gone = true;
                }
            }
        }
        self.feed();
    }

    fn start(&mut self) {
        if self.is_starting {
            return;
        }
        self.is_starting = true;
        if let Err(failure) = container::start(&self.bundle) {
            self.failure.get_or_insert(failure);
            self.kill();
        }
    }

    pub(super) fn kill(&self) {
        const SIGKILL: i32 = 9;
        // Only fails if it has ended.
        let _ = pidfd_kill(self.container.pidfd.as_fd(), SIGKILL);
    }

    fn resize(&self, rows: u16, columns: u16) {
        if self.config.tty
            && let Some(terminal) = self.outputs.first()
        {
            // Fails when the terminal has hung up, when its size means nothing any more.
            let size = Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let _ = tcsetwinsize(&terminal.fd, size);
        }
    }

    /// Passes waiting input on, as far as the program takes it.
    fn feed(&mut self) {
        for client in &mut self.clients {
            while !client.input.is_empty() {
                let written = match &self.stdin {
                    Some(stdin) => rustix::io::write(stdin, &client.input),
                    None => Err(Errno::PIPE),
                };
                let taken = match written {
                    Ok(length) => length,
                    Err(Errno::AGAIN | Errno::INTR) => break,
                    // The program closed it: input goes nowhere from now on, as into a closed pipe.
                    Err(_) => {
                        self.stdin = None;
                        client.input.len()
                    }
                };
                client.input.drain(..taken);
                client.credit(taken);
            }
        }
        let mut closers = self
            .clients
            .iter()
            .filter(|c| c.input_closed && c.input.is_empty());
        if self.config.stdin_once && !self.config.tty && closers.next().is_some() {
            self.stdin = None;
        }
    }

    /// Reads once from an output, into the log and to the clients. At its end it is dropped.
    pub(super) fn carry(&mut self, index: usize) -> usize {
        let output = &mut self.outputs[index];
        let length = match rustix::io::read(&output.fd, &mut self.buffer) {
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return 0,
            // EIO: nobody has the terminal open any more.
            Err(_) => 0,
        };
        if length == 0 {
            output.at_end = true;
            return 0;
        }
        let bytes = &self.buffer[..length];
        self.log.write(output.stream, bytes);
        for client in &mut self.clients {
            client.output(output.stream, bytes);
        }
        self.pack();
        self.note_loss();
        length
    }

    /// Forgets clients that went away, and draws the consequences.
    fn forget_gone(&mut self) {
        if self.clients.iter().all(|client| !client.gone) {
            return;
        }
        let gone = self.clients.extract_if(.., |client| client.gone);
        let lost = gone.filter(|c| c.role == Role::Foreground).count() > 0;
        if !lost {
            return;
        }
        if !self.is_starting {
            // Nobody is left who would start it.
            self.failure.get_or_insert_with(|| {
                let text = "the command that created the container ended before starting it";
                Failure::text(125, ErrorKind::Cancelled, text.to_owned())
            });
            self.kill();
        }
        if self.config.bound {
            self.kill();
        }
        if self.config.stdin_once && !self.config.tty {
            self.stdin = None;
        }
    }
}
