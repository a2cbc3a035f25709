//! OCI runtime: a spec and a root filesystem become a process.

#![forbid(unsafe_code)]

mod plan;
pub mod seccomp;
pub mod spec_default;
