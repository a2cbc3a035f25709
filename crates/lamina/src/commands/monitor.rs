//! `lamina __monitor`: the supervisor of a container. It is never typed.

use std::ffi::OsString;
use std::process::ExitCode;

/// Becomes a monitor; the arguments are those after the entry's name.
pub(crate) fn monitor(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    ExitCode::from(lamina_monitor::main(&arguments))
}
