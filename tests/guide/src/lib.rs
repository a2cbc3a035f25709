//! Executes the console blocks of the guide and compares what they print.
//!
//! The test is `tests/guide.rs`; here are its two halves, reading a page and running a section, and
//! a look at the index.

#![forbid(unsafe_code)]

pub mod console;
pub mod index;
pub mod page;
