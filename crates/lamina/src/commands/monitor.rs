//! `lamina __monitor`: the supervisor of a container. It is never typed.

use std::ffi::OsString;
use std::process::ExitCode;

/// Becomes a monitor.
pub(crate) fn monitor(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    {
        drop(arguments);
        ExitCode::from(1)
    }
}
