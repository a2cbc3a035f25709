//! The files of a log, by name and by what they are.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{OFlags, fstat, renameat};

use super::LOG_FILE;
use crate::config::LogConfig;

/// More files are never looked for.
const MOST: u32 = 1000;

/// A line longer than this is none of ours and is dropped.
const LONGEST: usize = 1 << 20;

/// During a rotation one name is missing for a moment; so two in a row are the end.
const GAPS: u32 = 1;

/// Returns the name of the `age`-th file, 0 being the current one.
fn name(age: u32) -> String {
    match age {
        0 => LOG_FILE.to_owned(),
        age => format!("{LOG_FILE}.{age}"),
    }
}

/// Moves every file up by one name, the oldest out; afterwards there is no current file.
pub(super) fn rotate(dir: &Dir, config: &LogConfig) -> Result<(), PathError> {
    let oldest = config.max_files.clamp(1, MOST) - 1;
    if oldest == 0 {
        return dir.unlink(LOG_FILE);
    }
    for age in (0..oldest).rev() {
        let (from, to) = (name(age), name(age + 1));
        match renameat(dir, &from, dir, &to).at("rename", dir.path().join(&from)) {
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
    }
    Ok(())
}

/// A file open for reading, and the complete lines in it.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    inode: u64,
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
    /// Up to where the buffer is known to hold no newline.
    searched: usize,
}

impl LogFile {
    pub(super) fn open(dir: &Dir, age: u32) -> Result<Option<Self>, PathError> {
        let file = match dir.open_file(name(age), OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let inode = fstat(file.as_fd())
            .at("stat", dir.path().join(name(age)))?
            .st_ino;
        Ok(Some(Self {
            file,
            inode,
            offset: 0,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
        }))
    }

    /// Opens all files, the oldest first.
    ///
    /// From the current one upwards: files move in that direction, so none is missed, and one seen
    /// twice is known by its inode.
    pub(super) fn open_all(dir: &Dir) -> Result<Vec<Self>, PathError> {
        let mut files: Vec<Self> = Vec::new();
        let mut missing = 0;
        for age in 0..MOST {
            match Self::open(dir, age)? {
                Some(file) if files.iter().all(|f| f.inode != file.inode) => files.push(file),
                Some(_) => {}
                None => missing += 1,
            }
            if missing > GAPS {
                break;
            }
        }
        files.reverse();
        Ok(files)
    }

    /// Returns the age this file has now; `None` if it has been rotated out.
    pub(super) fn age(&self, dir: &Dir) -> Result<Option<u32>, PathError> {
        let mut missing = 0;
        for age in 0..MOST {
            match dir.stat(name(age)) {
                Ok(stat) if stat.st_ino == self.inode => return Ok(Some(age)),
                Ok(_) => {}
                Err(error) if error.is_not_found() => missing += 1,
                Err(error) => return Err(error),
            }
            if missing > GAPS {
                break;
            }
        }
        Ok(None)
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
        let read = self.file.read_at(&mut self.buffer[kept..], self.offset);
        let length = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(kept + length);
        self.offset += u64::try_from(length).unwrap_or(0);
        read.map(|length| length > 0)
    }
}
