//! Confined and durable files: resolve-in-root, atomic replace, ordered locks.

#![forbid(unsafe_code)]
