//! OCI runtime: a spec and a root filesystem become a process.

#![forbid(unsafe_code)]
