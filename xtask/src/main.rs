//! The project's automation: what CI runs, and what a developer types.
//!
//! One verb, one file. Everything is started with `cargo xtask VERB`; without a verb the list is
//! printed.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a developer's tool prints, and the files it writes are not the store's"
)]

mod bench;
mod check;
mod crash;
mod debian;
mod docker;
mod docs;
mod layers;
mod licences;
mod product;
mod shell;
mod stress;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask VERB

  test            install what the tests drive, then run all of them
  check           fmt, clippy, licences, layers, tidy, docs, product
  bench start     what a container's start costs: the floor, lamina and the installed peers
  bench pull      what a pull costs: lamina and the installed peers, from a registry on loopback
  bench life      what containers that stay cost: in the background, `exec`, lists, a thousand
  bench logs      a writer at full speed into rotated logs: lamina and Docker, every line looked for
  bench store     what the store promises: look-ups, sizes, times; `bench store PART` one part of it
  bench all       all of them; `--write` also writes docs/reference/benchmarks.md
  vm              the privileged tests on Debian's kernel with pure cgroup v2, under qemu
  crash [--full]  kill the CLI, the monitor and init at their n-th system call, and each command
                  that changes the store at its n-th call that changes a file
  stress          32 processes that pull, run, remove, undo and prune the same images for a minute
  docker          the transcripts of a container's life, against Docker itself
  layers          every dependency goes down; regenerates crates/README.md
  tidy            sizes, names and documents
  licences        licences, bans and sources of the dependencies
  docs            API documentation without warnings, no dead links in the pages
  product         what must not be in the shipped binary";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test", rest @ ..] => test::run(rest),
        ["check"] => check::run(),
        ["bench", rest @ ..] => bench::run(rest),
        ["vm"] => vm::run(),
        ["crash", rest @ ..] => crash::run(rest),
        ["stress", rest @ ..] => stress::run(rest),
        ["docker", rest @ ..] => docker::run(rest),
        ["layers"] => layers::run(layers::Mode::Write),
        ["tidy"] => tidy::run(),
        ["licences"] => licences::run(),
        ["docs"] => docs::run(),
        ["product"] => product::run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
