//! The command line, one file per theme:
//!
//! - `help`: what is printed without a container: help, version, mistakes in the arguments;
//! - `run`: containers of the built-in image, their exit codes, output and end;
//! - `alter`: containers that are renamed, restarted, and given other limits;
//! - `attach`: more clients of a container that runs;
//! - `commit`: containers that become images;
//! - `files`: files out of containers and into them;
//! - `causes`: what fills a disk;
//! - `copy_up`: what the first write to a file of the image costs;
//! - `events`: what happened, told as Docker tells it;
//! - `exec`: more processes of a container that runs;
//! - `fsck`: damage, and the other commands in a damaged store;
//! - `ledger`: what things take on the disk, and what keeps them;
//! - `logs`: where output goes, and finding something in it;
//! - `orphans`: containers whose monitor was killed;
//! - `lists`: what lists and documents show;
//! - `images`: the life of an image without a registry;
//! - `registries`: logins and tags;
//! - `restart`: restart policies;
//! - `storage`: storage modes, and from one to the other;
//! - `tty`: a real terminal;
//! - `undo`: removals that are taken back;
//! - `volumes`: made, shared, copied, removed, brought back;
//! - `watch`: looking at what runs;
//! - `killed`: killed and interrupted commands;
//! - `pause`: containers whose processes stand still;
//! - `prune`: what nobody uses goes;
//! - `power`: what was acknowledged survives a power cut;
//! - `parallel`: many runs at the same time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::thread::sleep;
use std::time::{Duration, Instant};

mod alter;
mod attach;
mod causes;
mod commit;
mod copies;
mod copy_up;
mod events;
mod exec;
mod faults;
mod files;
mod filled;
mod fsck;
mod generate;
mod health;
mod help;
mod images;
mod killed;
mod ledger;
mod lists;
mod logs;
mod mounted;
mod orphans;
mod parallel;
mod pause;
mod power;
mod prune;
mod registries;
mod restart;
mod run;
mod save;
mod storage;
mod tty;
mod undo;
mod volumes;
mod watch;

/// Waits until `found` returns something.
pub(crate) fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}
