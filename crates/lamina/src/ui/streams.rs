//! Writing. A closed pipe is the reader's way of saying enough: it ends the command quietly.

use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::exit_codes;
use crate::failure::{Failure, Outcome};

/// Writes data to stdout.
pub(crate) fn out(text: &str) -> Outcome {
    out_bytes(text.as_bytes())
}

/// Writes data that need not be text to stdout.
pub(crate) fn out_bytes(bytes: &[u8]) -> Outcome {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            Err(Failure::printed().exits(exit_codes::BROKEN_PIPE))
        }
        Err(error) => {
            let kind = lamina_types::ErrorKind::of_io(&error);
            Err(Failure::new(error, kind))
        }
    }
}

/// Writes a message to stderr; nobody can be told if that fails.
pub(crate) fn err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Returns this process's stdout and stderr.
pub(crate) fn streams() -> lamina_engine::Streams {
    [rustix::stdio::stdout(), rustix::stdio::stderr()]
}

/// Returns whether somebody reads stdout on a terminal.
pub(crate) fn out_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns whether somebody reads stderr on a terminal.
pub(crate) fn err_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Returns whether stdin is a terminal.
pub(crate) fn in_is_terminal() -> bool {
    io::stdin().is_terminal()
}
