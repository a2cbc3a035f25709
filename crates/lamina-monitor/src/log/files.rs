//! The files of a log: which there are, in which order, and the lines in them.
//!
//! The file being written has the same name for ever; a full one gets the next number, and so its
//! place among the others for good: no later rotation renames it, and packing it changes the end
//! of its name only.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{OFlags, fstat, renameat};

use super::LOG_FILE;
use super::pack::Content;
use crate::config::LogConfig;

/// A line longer than this is none of ours and is dropped.
const LONGEST: usize = 1 << 20;

/// How often the folder is listed before it counts as empty.
const LISTINGS: u32 = 2;

/// How often the folder is looked at again because it has changed meanwhile.
const LOOKS: u32 = 100;

/// Returns the name of a full file.
pub(super) fn name(number: u64) -> String {
    format!("json.{number}.log")
}

/// Returns the name of a full file that is packed.
pub(super) fn packed_name(number: u64) -> String {
    format!("json.{number}.log.gz")
}

/// Returns the number of a full file, packed or not.
fn number_of(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let number = name.strip_prefix("json.")?.strip_suffix(".log")?;
    number.parse().ok()
}

/// Lists the numbers of the full files, the oldest first.
///
/// A listing may miss a file whose name is changed meanwhile, as that of one that is packed just
/// now; so its neighbours are asked for by name.
pub(super) fn numbers(dir: &Dir) -> Result<Vec<u64>, PathError> {
    for _ in 0..LISTINGS {
        let entries = dir.entries()?;
        let found = entries.iter().filter_map(|entry| number_of(&entry.name));
        let Some((mut low, mut high)) = found.fold(None, |bounds, number| {
            let (low, high) = bounds.unwrap_or((number, number));
            Some((number.min(low), number.max(high)))
        }) else {
            continue;
        };
        while low > 1 && exists(dir, low - 1)? {
            low -= 1;
        }
        while exists(dir, high + 1)? {
            high += 1;
        }
        return Ok((low..=high).collect());
    }
    Ok(Vec::new())
}

fn exists(dir: &Dir, number: u64) -> Result<bool, PathError> {
    // In this order: it has the second name before the first goes.
    Ok(dir.exists(name(number))? || dir.exists(packed_name(number))?)
}

/// Puts the current file among the full ones and drops the oldest; afterwards there is no current
/// one. Returns the number it has got.
pub(super) fn rotate(dir: &Dir, config: &LogConfig) -> Result<Option<u64>, PathError> {
    let kept = usize::try_from(config.max_files.saturating_sub(1)).unwrap_or(usize::MAX);
    let numbers = numbers(dir)?;
    let number = numbers.last().map_or(1, |last| last + 1);
    let path = || dir.path().join(LOG_FILE);
    match kept {
        0 => dir.unlink(LOG_FILE)?,
        _ => renameat(dir, LOG_FILE, dir, name(number)).at("rename", path())?,
    }
    let too_many = (numbers.len() + 1).saturating_sub(kept);
    for old in numbers.into_iter().take(too_many) {
        // What cannot go now goes with the next rotation.
        let _ = (dir.unlink(name(old)), dir.unlink(packed_name(old)));
    }
    Ok((kept > 0).then_some(number))
}

/// A file open for reading, and the complete lines in it.
#[derive(Debug)]
pub(super) struct LogFile {
    content: Content,
    /// Its number; of the current one that which it gets when it is full.
    number: u64,
    /// Of the file that was the current one when it was opened.
    inode: Option<u64>,
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
    /// Up to where the buffer is known to hold no newline.
    searched: usize,
}

/// Opens a file of the log; `None` if it is not there.
fn open(dir: &Dir, name: &str) -> Result<Option<File>, PathError> {
    match dir.open_file(name, OFlags::RDONLY | OFlags::NONBLOCK) {
        Err(error) if error.is_not_found() => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn inode_of(file: &File, dir: &Dir) -> Result<u64, PathError> {
    let stat = fstat(file.as_fd()).at("stat", dir.path().join(LOG_FILE))?;
    Ok(stat.st_ino)
}

impl LogFile {
    fn new(content: Content, number: u64, inode: Option<u64>) -> Self {
        Self {
            content,
            number,
            inode,
            offset: 0,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
        }
    }

    /// Opens a full file; `None` if it has been dropped.
    fn open_full(dir: &Dir, number: u64) -> Result<Option<Self>, PathError> {
        // In this order: it is packed under the other name before this one goes.
        if let Some(file) = open(dir, &name(number))? {
            return Ok(Some(Self::new(Content::plain(file), number, None)));
        }
        let file = open(dir, &packed_name(number))?;
        Ok(file.map(|file| Self::new(Content::packed(file), number, None)))
    }

    /// Opens all files from a number on, the oldest first.
    pub(super) fn open_from(dir: &Dir, first: u64) -> Result<Vec<Self>, PathError> {
        // The current one first: it is what a rotation takes from us.
        let current = Self::open_current(dir)?;
        let mut files = Vec::new();
        for number in numbers(dir)? {
            // What was rotated between the two looks is the file that is open already.
            if number >= first && current.as_ref().is_none_or(|file| file.number != number) {
                files.extend(Self::open_full(dir, number)?);
            }
        }
        files.extend(current);
        // It may have been dropped already.
        files.sort_by_key(|file| file.number);
        Ok(files)
    }

    /// Opens the current file; `None` if there is none yet.
    fn open_current(dir: &Dir) -> Result<Option<Self>, PathError> {
        for _ in 0..LOOKS {
            let Some(file) = open(dir, LOG_FILE)? else {
                return Ok(None);
            };
            let number = numbers(dir)?.last().map_or(1, |last| last + 1);
            let inode = inode_of(&file, dir)?;
            // Else it was rotated meanwhile, and it is not sure which number it got.
            if is_current(dir, inode)? {
                return Ok(Some(Self::new(Content::plain(file), number, Some(inode))));
            }
        }
        Ok(None)
    }

    /// Returns whether this file is still written to.
    pub(super) fn is_current(&self, dir: &Dir) -> Result<bool, PathError> {
        match self.inode {
            Some(inode) => is_current(dir, inode),
            None => Ok(false),
        }
    }

    /// Returns the number of the file that follows this.
    pub(super) fn next_number(&self) -> u64 {
        self.number + 1
    }

    pub(super) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.buffer.clear();
        self.start = 0;
        self.searched = 0;
    }

    /// Returns the offset of the next line.
    pub(super) fn position(&self) -> u64 {
        let waiting = u64::try_from(self.buffer.len() - self.start).unwrap_or(0);
        self.offset - waiting
    }

    /// Returns the next complete line without its newline, or `None` at the present end. What is
    /// there of an unfinished line waits for the rest.
    pub(super) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let fresh = &self.buffer[self.searched..];
            if let Some(at) = fresh.iter().position(|b| *b == b'\n') {
                let (from, end) = (self.start, self.searched + at);
                self.start = end + 1;
                self.searched = end + 1;
                return Ok(Some(&self.buffer[from..end]));
            }
            self.searched = self.buffer.len();
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.len() > LONGEST {
            self.buffer.clear();
        }
        let kept = self.buffer.len();
        self.searched = kept;
        self.buffer.resize(kept + (32 << 10), 0);
        let read = self.content.read_at(&mut self.buffer[kept..], self.offset);
        let length = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(kept + length);
        self.offset += u64::try_from(length).unwrap_or(0);
        read.map(|length| length > 0)
    }
}

/// Returns whether an inode that is held open is that of the current file.
fn is_current(dir: &Dir, inode: u64) -> Result<bool, PathError> {
    match dir.stat(LOG_FILE) {
        Ok(stat) => Ok(stat.st_ino == inode),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
