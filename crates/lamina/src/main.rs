//! The `lamina` binary: arguments, configuration, terminal and exit codes over the engine.
//!
//! `main` → hidden entries (`__monitor`, the supervisor of a container) → `cli` (what was typed)
//! → `commands/<verb>` → `lamina_engine`. `args/` holds what was typed, `request/` turns it into
//! what is meant, `ui/` alone writes to the terminal, `environment` alone reads variables, and a
//! [`failure::Failure`] is what every command ends in when it does not succeed.

#![forbid(unsafe_code)]

mod app;
mod args;
mod cli;
mod commands;
mod config;
mod early;
mod environment;
mod exit_codes;
mod failure;
mod hints;
mod request;
mod template;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    // The supervisor of a container is this binary executed again. It is looked for before
    // anything else, because its memory is counted per container.
    if arguments
        .nth(1)
        .is_some_and(|first| first == lamina_monitor::ENTRY)
    {
        return commands::monitor(arguments);
    }
    match cli::run(std::env::args_os()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            ui::err(&failure.render());
            ExitCode::from(failure.code())
        }
    }
}
