//! A container in the foreground: streams, terminal, keys and signals.

use std::cell::RefCell;
use std::rc::Rc;

use lamina_monitor::terminal::RawMode;
use lamina_monitor::{DetachKeys, ForegroundStdio};
use lamina_sys::signals::{self, SignalFd, SignalSet};
use lamina_types::ErrorKind;
use rustix::io::Errno;

use crate::exit_codes;
use crate::failure::{Failure, Outcome};
use crate::ui;

/// Signals that are the program's when they arrive here: HUP, INT, QUIT, USR1, USR2, ALRM, TERM,
/// CONT, WINCH, PWR. What the kernel sends about this process itself (CHLD, PIPE, SEGV, …) is not
/// among them, nor the stop signals, so that a shell's job control works.
const FORWARDED: [i32; 10] = [1, 2, 3, 10, 12, 14, 15, 18, 28, 30];
/// SIGWINCH, which is read for the terminal's size even where signals are not passed on.
const WINCH: i32 = 28;

/// What of this process is connected to a container.
#[derive(Debug)]
pub(crate) struct Foreground {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
    keys: DetachKeys,
    forward: bool,
}

/// The signals that are held for a program.
///
/// They are blocked and read from a descriptor. While an image is being fetched they are given
/// back, so that Ctrl-C ends that.
#[derive(Debug, Clone)]
pub(crate) struct ForwardedSignals {
    wanted: Rc<SignalSet>,
    before: Rc<RefCell<Option<SignalSet>>>,
    fd: Rc<SignalFd>,
}

impl ForwardedSignals {
    /// Holds the signals, if they are not held.
    pub(crate) fn take(&self) -> Outcome {
        let mut before = self.before.borrow_mut();
        if before.is_none() {
            *before = Some(signals::block(&self.wanted).map_err(signals_failed)?);
        }
        Ok(())
    }

    /// Gives the signals back: they do to this process what they always do.
    pub(crate) fn give_back(&self) {
        if let Some(before) = self.before.borrow_mut().take() {
            // Nothing can be wrong with a set that was in force before.
            let _ = signals::set_blocked(&before);
        }
    }
}

/// Reads `--detach-keys`.
pub(crate) fn keys(text: &str) -> Outcome<DetachKeys> {
    text.parse::<DetachKeys>()
        .map_err(|error| Failure::new(error, ErrorKind::InvalidArgument))
}

impl Foreground {
    /// Checks that the terminal is one where one is needed.
    pub(crate) fn new(stdin: bool, tty: bool, keys: &str, forward: bool) -> Outcome<Self> {
        if stdin && tty && !ui::in_is_terminal() {
            return Err(
                Failure::said(ErrorKind::InvalidArgument, "the input device is not a TTY")
                    .hint("without a terminal use -i alone"),
            );
        }
        let keys = self::keys(keys)?;
        Ok(Self {
            stdin,
            stdout: true,
            stderr: true,
            tty,
            keys,
            forward,
        })
    }

    /// Chooses which outputs are shown.
    pub(crate) fn with_output(mut self, stdout: bool, stderr: bool) -> Self {
        self.stdout = stdout;
        self.stderr = stderr;
        self
    }

    /// Holds the signals that are for the program from now on.
    pub(crate) fn take_signals(&self) -> Outcome<ForwardedSignals> {
        // A raw terminal is only given back by a process that no signal ends.
        let wanted = if self.forward || self.tty {
            SignalSet::of(&FORWARDED)
        } else {
            SignalSet::of(&[WINCH])
        };
        let fd = SignalFd::new(&wanted).map_err(signals_failed)?;
        let signals = ForwardedSignals {
            wanted: Rc::new(wanted),
            before: Rc::new(RefCell::new(None)),
            fd: Rc::new(fd),
        };
        signals.take()?;
        Ok(signals)
    }

    /// Runs `relay` with the streams connected and the terminal raw; it is given back however
    /// `relay` ends.
    pub(crate) fn relay<T>(
        &self,
        signals: Option<&ForwardedSignals>,
        relay: impl FnOnce(&ForegroundStdio<'_>) -> T,
    ) -> Outcome<T> {
        let stdin = rustix::stdio::stdin();
        let raw = match self.stdin && self.tty && ui::in_is_terminal() {
            true => Some(RawMode::enable(stdin).map_err(terminal_failed)?),
            false => None,
        };
        let terminal = self.tty && (ui::in_is_terminal() || ui::out_is_terminal());
        let size_of = if ui::out_is_terminal() {
            rustix::stdio::stdout()
        } else {
            stdin
        };
        let result = relay(&ForegroundStdio {
            stdin: self.stdin.then_some(stdin),
            stdout: self.stdout.then(rustix::stdio::stdout),
            stderr: self.stderr.then(rustix::stdio::stderr),
            signals: signals.map(|signals| &*signals.fd),
            forward_signals: self.forward,
            terminal: terminal.then_some(size_of),
            detach_keys: (self.stdin && self.tty).then_some(&self.keys),
        });
        drop(raw);
        Ok(result)
    }
}

fn signals_failed(errno: Errno) -> Failure {
    failed("cannot take signals", errno)
}

fn terminal_failed(errno: Errno) -> Failure {
    failed("cannot make the terminal raw", errno)
}

fn failed(act: &'static str, source: Errno) -> Failure {
    #[derive(Debug, thiserror::Error)]
    #[error("{act}")]
    struct Failed {
        act: &'static str,
        source: Errno,
    }
    let kind = ErrorKind::of_io(&source.into());
    Failure::new(Failed { act, source }, kind).exits(exit_codes::ENGINE)
}
