//! Asking somebody at a terminal.

use std::io::{self, BufRead, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The longest line that is read.
const LINE_MAX: u64 = 4 << 10;
/// What Ctrl-C, Ctrl-D, backspace and delete send.
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// Asks for a line.
pub(crate) fn prompt(text: &str) -> io::Result<String> {
    ask(text)?;
    let mut line = String::new();
    io::stdin().lock().take(LINE_MAX).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Asks for a line that is not shown. Ctrl-C is `Interrupted`; however it ends, the terminal is as
/// it was.
pub(crate) fn prompt_secret(text: &str) -> io::Result<String> {
    ask(text)?;
    let stdin = io::stdin();
    let _quiet = Quiet::begin()?;
    let mut line = Vec::new();
    let mut byte = [0];
    // Read as keys: a signal that ended us here would leave the terminal without an echo.
    let result = loop {
        if stdin.lock().read(&mut byte)? == 0 {
            break Ok(());
        }
        match byte[0] {
            b'\r' | b'\n' | END => break Ok(()),
            INTERRUPT => break Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            BACKSPACE | DELETE => {
                let text = String::from_utf8_lossy(&line).into_owned();
                let mut characters = text.chars();
                characters.next_back();
                line = characters.as_str().as_bytes().to_vec();
            }
            other if (line.len() as u64) < LINE_MAX => line.push(other),
            _ => {}
        }
    };
    io::stderr().write_all(b"\n")?;
    result?;
    String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn ask(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    stderr.flush()
}

/// A terminal that shows nothing and passes every key on, until this is dropped.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}
