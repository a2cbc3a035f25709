//! Containers on the real kernel, from a request to nothing left, through the engine's own door.
//!
//! A monitor is "this binary executed again", so this program has a main of its own: called with
//! the monitor's entry it is a monitor, called with the cleanup command it cleans up, and else it
//! runs the tests.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a program of tests, which fail by panicking and say why they skip"
)]

mod lifecycle;
mod place;

use std::env::args_os;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let words: Vec<_> = args_os().collect();
    match words.get(1).and_then(|word| word.to_str()) {
        Some(lamina_monitor::ENTRY) => {
            return ExitCode::from(lamina_monitor::main(&words[2..]));
        }
        Some("--root") => return place::clean_up(&words),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Each test counts what is left in the kernel, and two are enough for two processors.
    arguments.test_threads.get_or_insert(2);
    let trials: Vec<Trial> = lifecycle::TESTS
        .iter()
        .map(|(name, test)| {
            Trial::test(format!("privileged_{name}"), move || {
                if !rustix::process::geteuid().is_root() {
                    eprintln!("SKIP {name}: needs root");
                    return Ok(());
                }
                test();
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
