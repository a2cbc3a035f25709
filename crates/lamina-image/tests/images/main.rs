//! The image store from outside: every way in, on a store in a temporary folder.

mod archives;
mod concurrent;
mod import;
mod minimal;
mod names;
mod pull;
mod support;
