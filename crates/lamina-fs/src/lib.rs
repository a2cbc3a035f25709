//! Confined and durable files: resolve-in-root, atomic replace, ordered locks.
//!
//! Two kinds of directory exist for the engine, and two types keep them apart:
//!
//! - [`Dir`] is a directory we own and trust (the store, a run directory). Names in it are single
//!   components; files appear in it whole or not at all ([`Durability`] says whether they also
//!   survive a power cut once the call has returned).
//! - [`Root`] is a tree somebody else wrote (an image, a volume, a container's root). Every path
//!   in it is resolved by `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`: symbolic links work as
//!   they would after a `chroot`, and nothing leaves the tree, whoever renames what meanwhile.
//!
//! [`Lock`] is the only way to take an advisory lock; its [`Rank`] is the engine's lock order, and
//! debug builds assert that order per thread.
//!
//! This crate knows nothing of images, layers or containers, prints nothing and reads no
//! environment.

#![forbid(unsafe_code)]

mod dir;
mod error;
mod lock;
mod remove;
mod root;
mod walk;
mod write;

pub use dir::{Dir, Entry, list};
pub use error::{At, PathError};
pub use lock::{Lock, LockError, Rank};
pub use remove::RemoveError;
pub use root::Root;
pub use write::{Durability, TEMPORARY_PREFIX};
