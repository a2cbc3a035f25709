//! The monitor on the real kernel, with busybox in real containers.
//!
//! This program is its own monitor (`__monitor`), its own client to be killed (`__client`) and its
//! own cleanup command (`__cleanup FILE`), so no harness of the standard library starts it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test; without the standard harness the lints do not know"
)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

mod deaths;
mod fixture;
mod output;
mod runs;
mod terminal;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some(lamina_monitor::ENTRY) => {
            return ExitCode::from(lamina_monitor::main(&arguments[1..]));
        }
        Some("__client") => return fixture::client(Path::new(&arguments[1])),
        Some("__cleanup") => {
            let made = fs::File::create(&arguments[1]);
            return ExitCode::from(u8::from(made.is_err()));
        }
        _ => {}
    }
    let mut trials = Vec::new();
    for (name, test) in [runs::TESTS, output::TESTS, terminal::TESTS, deaths::TESTS].concat() {
        trials.push(Trial::test(name, move || {
            if let Err(reason) = fixture::requirements() {
                eprintln!("SKIP {name}: {reason}");
                return Ok::<(), Failed>(());
            }
            test();
            Ok(())
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
