//! The client against registries on this machine: an honest one from memory, one that follows a
//! script of faults, and Debian's docker-registry.

mod pull;
mod support;
