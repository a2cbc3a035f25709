//! The commands: what is meant to the engine, and its answers to the terminal.

mod blobs;
mod commit;
mod containers;
mod df;
mod diff;
mod explain;
mod foreground;
mod format;
mod fsck;
mod history;
mod image_tree;
mod images;
mod info;
mod inspect;
mod login;
mod logs;
mod migrate;
mod monitor;
mod pause;
mod prune;
mod ps;
mod pull;
mod push;
mod registry_serve;
mod run;
mod save;
mod search_tags;
mod tidy;
mod undo;
mod version;
mod why;

pub(crate) use foreground::ForwardedSignals;
pub(crate) use inspect::{InspectContainer, InspectImage};
pub(crate) use monitor::monitor;
pub(crate) use version::VERSION;
