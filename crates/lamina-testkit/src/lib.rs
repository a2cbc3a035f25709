//! Test support: a hermetic host, a leak sweep, trees to compare, evil images and registries.
//!
//! Never shipped. What is here panics instead of returning errors, because its callers are tests.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "what tests write is not the store's"
)]

pub mod evil_tar;
mod host;
pub mod registry;
mod sweep;
pub mod tree;

pub use host::{Host, Outcome, binary, have};
