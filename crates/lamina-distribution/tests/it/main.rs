//! The client against registries on this machine: an honest one from memory, one that follows a
//! script of faults, and Debian's docker-registry.

mod auth;
mod content;
mod faults;
mod helper;
mod pull;
mod real;
mod support;
