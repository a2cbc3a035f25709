//! What the exit status of a `lamina` command means; the same as Docker's, which scripts know.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | a command other than `run` failed, or any command had the wrong number of arguments |
//! | 4 | `fsck` found damage, and with `--repair` could not mend all of it |
//! | 64 | a template for one thing (`inspect`, `events`, `version`, `info`) is malformed |
//! | 125 | `run` failed before the program was started, or a flag made no sense |
//! | 126 | the program of the container is there but cannot be executed |
//! | 127 | the program of the container was not found |
//! | 128 + n | the program was killed by signal n: 130 SIGINT, 137 SIGKILL, 143 SIGTERM |
//! | other | `run` passes on the program's own status |

/// Done.
pub(crate) const SUCCESS: u8 = 0;
/// A command other than `run` failed, or its arguments were too many or too few.
pub(crate) const FAILED: u8 = 1;
/// `fsck` has found damage that is still there: as fsck(8) says it.
pub(crate) const DAMAGED: u8 = 4;
/// A template for one thing makes no sense, as Docker's `inspect` has it.
pub(crate) const TEMPLATE: u8 = 64;
/// The reader of the output went away: what a program ended by SIGPIPE leaves.
pub(crate) const BROKEN_PIPE: u8 = 128 + 13;
/// The engine could not start the container, or a flag made no sense.
pub(crate) const ENGINE: u8 = 125;
