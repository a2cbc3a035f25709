//! What can be done with a container: one verb a file.
//!
//! ```text
//! create ─► record.json, names/, snap/, volumes/      start ─► bundle in $RUN, monitor, init
//! run = create, start, relay, cleanup                 remove = everything that create made
//! ```
//! Every verb that makes something begins an operation first and names what it will make; an
//! operation that is dropped, or whose process is killed, is undone from those lines.

pub(crate) mod adopt;
mod assemble;
pub(crate) mod attach;
pub(crate) mod bundle;
pub(crate) mod cleanup;
pub(crate) mod commit;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod diff;
pub(crate) mod early;
pub(crate) mod exec;
pub(crate) mod executing;
pub(crate) mod executions;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod health;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod pause;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod restart;
pub(crate) mod retire;
pub(crate) mod run;
pub(crate) mod size;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod update;
