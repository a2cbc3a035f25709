//! The caller's own terminal: raw mode that is always given back, and its size.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use rustix::io::Errno;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios,
    isatty, tcgetattr, tcgetwinsize, tcsetattr,
};

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// Returns the size of a terminal; `None` if the descriptor is none.
pub fn size(terminal: BorrowedFd<'_>) -> Option<Size> {
    let size = tcgetwinsize(terminal).ok()?;
    Some(Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Returns whether a descriptor is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    isatty(fd)
}

/// What a panic has to restore: with `panic = "abort"` no destructor runs.
static SAVED: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// A terminal in raw mode; the mode it had before comes back when this is dropped, and on a panic.
///
/// One at a time per process. Signals that would end the process must be blocked and read from a
/// descriptor (as [`crate::Session::relay`] does), so that every way out passes the destructor.
#[derive(Debug)]
#[must_use = "the terminal stays raw only as long as this lives"]
pub struct RawMode(());

impl RawMode {
    /// Makes the terminal raw: every key reaches the program in the container, which has a line
    /// discipline of its own. Output processing stays as it was only where it must (none).
    pub fn enable(terminal: BorrowedFd<'_>) -> Result<Self, Errno> {
        let before = tcgetattr(terminal)?;
        let fd = terminal
            .try_clone_to_owned()
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let raw = raw(&before);
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                next(info);
            }));
        });
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some((fd, before));
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((fd, before)) = saved {
        // The terminal may have hung up; nobody is left to tell.
        let _ = tcsetattr(fd.as_fd(), OptionalActions::Drain, &before);
    }
}

/// cfmakeraw(3).
fn raw(before: &Termios) -> Termios {
    let mut raw = before.clone();
    raw.input_modes.remove(
        InputModes::IGNBRK
            | InputModes::BRKINT
            | InputModes::PARMRK
            | InputModes::ISTRIP
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::ICRNL
            | InputModes::IXON,
    );
    raw.output_modes.remove(OutputModes::OPOST);
    raw.local_modes.remove(
        LocalModes::ECHO
            | LocalModes::ECHONL
            | LocalModes::ICANON
            | LocalModes::ISIG
            | LocalModes::IEXTEN,
    );
    raw.control_modes
        .remove(ControlModes::CSIZE | ControlModes::PARENB);
    raw.control_modes.insert(ControlModes::CS8);
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    raw
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    #[test]
    fn raw_mode_is_given_back() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let terminal = openat(CWD, &name, flags, Mode::empty()).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let guard = RawMode::enable(terminal.as_fd()).unwrap();
        let during = tcgetattr(&terminal).unwrap();
        assert!(!during.local_modes.contains(LocalModes::ECHO));
        drop(guard);
        let after = tcgetattr(&terminal).unwrap();
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.input_modes, before.input_modes);
    }
}
