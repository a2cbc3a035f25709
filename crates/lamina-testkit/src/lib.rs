//! Test support: a hermetic host, a leak sweep, trees to compare, evil images and registries.
//!
//! Never shipped. What is here panics instead of returning errors, because its callers are tests.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "what tests write is not the store's"
)]

mod disk;
pub mod evil_tar;
mod host;
mod noise;
pub mod registry;
mod sweep;
pub mod tree;

pub use disk::{Disk, FrozenDisk, as_another_boot};
pub use host::{Host, Outcome, binary, have};
pub use noise::noise;
