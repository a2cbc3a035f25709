//! The client against registries on this machine: an honest one from memory, one that follows a
//! script of faults, and Debian's docker-registry.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]
#![expect(clippy::print_stderr, reason = "says why a test is skipped")]

mod auth;
mod content;
mod credentials;
mod faults;
mod helper;
mod leaks;
mod pull;
mod push;
mod real;
mod support;
