//! The image store from outside: every way in, on a store in a temporary folder.

#![expect(
    clippy::unwrap_used,
    reason = "what the tests' own tools need is no error to handle"
)]

mod archives;
mod concurrent;
mod difference;
mod explain;
mod fsck;
mod import;
mod migrate;
mod minimal;
mod names;
mod pull;
mod push;
mod save;
mod split;
mod support;
