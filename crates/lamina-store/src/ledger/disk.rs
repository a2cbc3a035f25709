//! What a folder takes on the disk.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use lamina_fs::{Dir, list};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags, fstat, openat, statat};

const ATTRIBUTE: &str = "user.lamina.usage";
const VERSION: u8 = 1;
const LENGTH: usize = 25;

/// Returns what an inode takes.
pub(super) fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(512)
}

/// Returns what the folder itself takes, without what is in it.
pub(super) fn own(dir: &Dir) -> u64 {
    fstat(dir).map_or(0, |stat| blocks(&stat))
}

/// Returns what `name` in `dir` takes with everything below it; what has gone meanwhile, or cannot
/// be opened, takes nothing. No limit on the depth: a folder stays open only as long as folders
/// in it wait.
pub(crate) fn tree(dir: impl AsFd, name: &OsStr) -> u64 {
    let mut links = HashSet::new();
    let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return 0;
    };
    let mut sum = blocks(&stat);
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return sum;
    }
    let Ok(top) = open(dir, name) else {
        return sum;
    };
    let mut waiting: Vec<(Rc<OwnedFd>, Option<std::ffi::OsString>)> = vec![(Rc::new(top), None)];
    while let Some((parent, name)) = waiting.pop() {
        let dir = match name {
            None => parent,
            Some(name) => match open(&*parent, &name) {
                Ok(dir) => Rc::new(dir),
                Err(_) => continue,
            },
        };
        let Ok(entries) = list(dir.as_fd()) else {
            continue;
        };
        for entry in entries {
            let Ok(stat) = statat(&*dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                sum += blocks(&stat);
                waiting.push((Rc::clone(&dir), Some(entry.name)));
            } else if stat.st_nlink < 2 || links.insert((stat.st_dev, stat.st_ino)) {
                sum += blocks(&stat);
            }
        }
    }
    sum
}

fn open(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

/// Returns what a layer takes. Its trees are walked once: what they take is noted in an attribute
/// of the layer's folder, with the inode it was found for, so that a copied store is walked anew.
pub(super) fn layer(layers: &Dir, name: &OsStr) -> u64 {
    let Ok(dir) = open(layers, name) else {
        return 0;
    };
    let (Ok(stat), Ok(entries)) = (fstat(&dir), list(dir.as_fd())) else {
        return 0;
    };
    let mut sum = blocks(&stat);
    let known = known(&dir, &stat);
    let (mut trees, mut any) = (0, false);
    for entry in entries {
        let Ok(stat) = statat(&dir, &entry.name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            sum += blocks(&stat);
        } else if known.is_none() {
            trees += tree(&dir, &entry.name);
            any = true;
        }
    }
    if any {
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&stat.st_dev.to_le_bytes());
        bytes[9..17].copy_from_slice(&stat.st_ino.to_le_bytes());
        bytes[17..].copy_from_slice(&trees.to_le_bytes());
        // Where there are no attributes, the next ledger walks again.
        let _ = rustix::fs::fsetxattr(&dir, ATTRIBUTE, &bytes, XattrFlags::empty());
    }
    sum + known.unwrap_or(trees)
}

/// Returns what the trees of a layer took when they were walked.
fn known(dir: &OwnedFd, stat: &Stat) -> Option<u64> {
    let mut bytes = [0; LENGTH + 1];
    let length = rustix::fs::fgetxattr(dir, ATTRIBUTE, &mut bytes[..]).ok()?;
    let number = |at: usize| bytes[at..].first_chunk().map(|n| u64::from_le_bytes(*n));
    let same = number(1) == Some(stat.st_dev) && number(9) == Some(stat.st_ino);
    (length == LENGTH && bytes[0] == VERSION && same).then(|| number(17))?
}
