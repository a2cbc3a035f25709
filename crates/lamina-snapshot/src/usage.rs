//! What a tree takes on the disk.

use std::collections::HashSet;

use lamina_fs::{Dir, PathError};
use rustix::fs::FileType;

use crate::snapshotter::Usage;

/// The unit of `st_blocks` (inode(7)).
const BLOCK: u64 = 512;

/// Adds up a tree, its root included. What vanishes meanwhile is left out: the container may be
/// running.
pub(crate) fn of_tree(root: &Dir) -> Result<Usage, PathError> {
    let mut usage = Usage::default();
    let mut several_names = HashSet::new();
    let mut todo = vec![root.try_clone()?];
    while let Some(dir) = todo.pop() {
        for entry in dir.entries()? {
            let stat = match dir.stat(&entry.name) {
                Err(error) if error.is_not_found() => continue,
                other => other?,
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                match dir.open_at(&entry.name) {
                    Err(error) if error.is_not_found() => {}
                    other => todo.push(other?),
                }
            } else if stat.st_nlink > 1 && !several_names.insert(stat.st_ino) {
                continue;
            }
            usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
            usage.inodes += 1;
        }
    }
    Ok(usage)
}
