//! Signals by name and number, as `kill`, `--stop-signal` and an image's `StopSignal` give them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal by its number (signal(7)), 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub u8);

/// The string names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0:?}")]
pub struct SignalError(String);

/// The first real-time signal that glibc leaves to programs; moby counts from it too.
const RTMIN: u8 = 34;
/// The last signal.
const RTMAX: u8 = 64;

/// Names and numbers of signal(7) for x86, arm and most others; of several names of one number
/// the first is the one printed.
const NAMES: [(&str, u8); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM, what stops a container unless it says otherwise.
    pub const TERM: Self = Self(15);
}

impl FromStr for Signal {
    type Err = SignalError;

    /// Reads a number (`9`), or a name with or without `SIG`, in any case: `KILL`, `sigusr1`,
    /// `RTMIN+3`, `SIGRTMAX-1`.
    fn from_str(text: &str) -> Result<Self, SignalError> {
        let fail = || SignalError(text.chars().take(40).collect());
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.parse::<u8>() {
                Ok(number) if (1..=RTMAX).contains(&number) => Ok(Self(number)),
                _ => Err(fail()),
            };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Self(*number));
        }
        real_time(name).map(Self).ok_or_else(fail)
    }
}

/// Reads `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn real_time(name: &str) -> Option<u8> {
    let (from_min, rest) = match name.strip_prefix("RTMIN") {
        Some(rest) => (true, rest),
        None => (false, name.strip_prefix("RTMAX")?),
    };
    let offset: u8 = match rest.strip_prefix(if from_min { '+' } else { '-' }) {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None if rest.is_empty() => 0,
        None => return None,
    };
    let number = if from_min {
        RTMIN.checked_add(offset)?
    } else {
        RTMAX.checked_sub(offset)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == RTMAX => f.write_str("SIGRTMAX"),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None if (RTMIN..RTMAX).contains(&self.0) => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_numbers() {
        for (text, number, shown) in [
            ("9", 9, "SIGKILL"),
            ("KILL", 9, "SIGKILL"),
            ("SIGKILL", 9, "SIGKILL"),
            ("sigterm", 15, "SIGTERM"),
            ("usr1", 10, "SIGUSR1"),
            ("CLD", 17, "SIGCHLD"),
            ("RTMIN", 34, "SIGRTMIN"),
            ("SIGRTMIN+3", 37, "SIGRTMIN+3"),
            ("RTMAX", 64, "SIGRTMAX"),
            ("RTMAX-1", 63, "SIGRTMIN+29"),
            ("64", 64, "SIGRTMAX"),
        ] {
            let signal: Signal = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((signal.0, signal.to_string().as_str()), (number, shown));
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
        }
    }

    #[test]
    fn refuses_what_is_no_signal() {
        for bad in [
            "",
            "0",
            "65",
            "256",
            "-9",
            "+9",
            "SIG",
            "SIGSIGKILL",
            "KILL ",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+",
            "RTMIN++1",
            "nope",
        ] {
            assert!(bad.parse::<Signal>().is_err(), "{bad:?} must be refused");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(text in "(SIG)?(RTM(IN|AX))?[+-]?.{0,8}") {
            let _ = text.parse::<Signal>();
        }
    }
}
