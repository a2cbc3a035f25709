//! Every storage mode on a real kernel: the conformance suite, each mode's own, and both together.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod both;
mod erofs;
mod plain;
mod support;
