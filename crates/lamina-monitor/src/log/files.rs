//! The files of a log: which there are, in which order, and the lines in them.
//!
//! The file being written has the same name for ever; a full one gets the next number, and so its
//! place among the others for good: no later rotation renames it, and packing it changes the end
//! of its name only.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{OFlags, fstat, renameat};

use super::Entry;
use super::format::{Format, Next};
use super::pack::Content;
use crate::config::LogConfig;

/// A record longer than this is none of ours and is dropped.
const LONGEST: usize = 1 << 20;

/// How many files a reader has open at once, whatever number is kept. The oldest go first, so it is
/// those that it holds: nothing is lost to one who is not overtaken by so many rotations.
pub(super) const MOST_OPEN: usize = 32;

/// How often the folder is listed before it counts as empty.
const LISTINGS: u32 = 2;

/// How often the folder is looked at again because it has changed meanwhile.
const LOOKS: u32 = 100;

/// Returns the name of a full file.
pub(super) fn name(format: Format, number: u64) -> String {
    format!("{}.{number}.log", format.stem())
}

/// Returns the name of a full file that is packed.
pub(super) fn packed_name(format: Format, number: u64) -> String {
    format!("{}.{number}.log.gz", format.stem())
}

/// Returns the number of a full file, packed or not.
fn number_of(format: Format, name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let number = name.strip_prefix(format.stem())?.strip_prefix('.')?;
    number.strip_suffix(".log")?.parse().ok()
}

/// Returns the numbers of the full files; those between the oldest and the youngest are all there.
///
/// A listing may miss a file whose name is changed meanwhile, as that of one that is packed just
/// now; so its neighbours are asked for by name.
pub(super) fn numbers(dir: &Dir, format: Format) -> Result<Range<u64>, PathError> {
    for _ in 0..LISTINGS {
        let entries = dir.entries()?;
        let found = entries
            .iter()
            .filter_map(|entry| number_of(format, &entry.name));
        let Some((mut low, mut high)) = found.fold(None, |bounds, number| {
            let (low, high) = bounds.unwrap_or((number, number));
            Some((number.min(low), number.max(high)))
        }) else {
            continue;
        };
        while low > 1 && exists(dir, format, low - 1)? {
            low -= 1;
        }
        while exists(dir, format, high + 1)? {
            high += 1;
        }
        return Ok(low..high + 1);
    }
    Ok(Range { start: 1, end: 1 })
}

fn exists(dir: &Dir, format: Format, number: u64) -> Result<bool, PathError> {
    // In this order: it has the second name before the first goes.
    Ok(dir.exists(name(format, number))? || dir.exists(packed_name(format, number))?)
}

/// Puts the current file among the full ones and drops the oldest; afterwards there is no current
/// one. Returns the number it has got.
pub(super) fn rotate(
    dir: &Dir,
    format: Format,
    config: &LogConfig,
) -> Result<Option<u64>, PathError> {
    let kept = u64::from(config.max_files.saturating_sub(1));
    let numbers = numbers(dir, format)?;
    let number = numbers.end;
    let current = format.current();
    match kept {
        0 => dir.unlink(current)?,
        _ => renameat(dir, current, dir, name(format, number))
            .at("rename", dir.path().join(current))?,
    }
    let oldest_kept = (number + 1).saturating_sub(kept);
    for old in numbers.take_while(|old| *old < oldest_kept) {
        // What cannot go now goes with the next rotation.
        let _ = (
            dir.unlink(name(format, old)),
            dir.unlink(packed_name(format, old)),
        );
    }
    Ok((kept > 0).then_some(number))
}

/// A file open for reading, and the complete records in it.
#[derive(Debug)]
pub(super) struct LogFile {
    format: Format,
    content: Content,
    /// Its number; of the current one that which it gets when it is full.
    number: u64,
    /// Of the file that was the current one when it was opened.
    inode: Option<u64>,
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
    /// Up to where the buffer is known to hold no end of a record.
    searched: usize,
}

/// Opens a file of the log; `None` if it is not there.
fn open(dir: &Dir, name: &str) -> Result<Option<File>, PathError> {
    match dir.open_file(name, OFlags::RDONLY | OFlags::NONBLOCK) {
        Err(error) if error.is_not_found() => Ok(None),
        other => Ok(Some(other?)),
    }
}

impl LogFile {
    fn new(format: Format, content: Content, number: u64, inode: Option<u64>) -> Self {
        Self {
            format,
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
    pub(super) fn open_full(
        dir: &Dir,
        format: Format,
        number: u64,
    ) -> Result<Option<Self>, PathError> {
        // In this order: it is packed under the other name before this one goes.
        if let Some(file) = open(dir, &name(format, number))? {
            let content = Content::plain(file);
            return Ok(Some(Self::new(format, content, number, None)));
        }
        let file = open(dir, &packed_name(format, number))?;
        Ok(file.map(|file| Self::new(format, Content::packed(file), number, None)))
    }

    /// Opens the files from a number on, the oldest first, as many as may be open. Returns the number
    /// of the youngest there is as well.
    pub(super) fn open_from(
        dir: &Dir,
        format: Format,
        first: u64,
    ) -> Result<(Vec<Self>, u64), PathError> {
        // The current one first: it is what a rotation takes from us.
        let current = Self::open_current(dir, format)?;
        let mut files = Vec::new();
        let numbers = numbers(dir, format)?;
        let youngest = current.as_ref().map_or(numbers.end - 1, Self::number);
        for number in first.max(numbers.start)..numbers.end {
            // What was rotated between the two looks is the file that is open already.
            if current.as_ref().is_none_or(|file| file.number != number) {
                files.extend(Self::open_full(dir, format, number)?);
            }
            if files.len() == MOST_OPEN {
                break;
            }
        }
        files.extend(current);
        // It may have been dropped already.
        files.sort_by_key(|file| file.number);
        files.truncate(MOST_OPEN);
        Ok((files, youngest))
    }

    /// Opens the files with the last `tail` lines of output, as many as may be open, the first of
    /// them where the lines begin. Returns the number of the youngest there is as well.
    pub(super) fn open_tail(
        dir: &Dir,
        format: Format,
        tail: u64,
    ) -> Result<(VecDeque<Self>, u64), PathError> {
        let mut wanted = usize::try_from(tail).unwrap_or(usize::MAX);
        let mut next = Self::open_current(dir, format)?;
        let youngest = match &next {
            Some(current) => current.number,
            None => numbers(dir, format)?.end - 1,
        };
        let mut number = youngest;
        if next.is_none() {
            next = Self::open_full(dir, format, number)?;
        }
        let mut files = VecDeque::new();
        while let Some(mut file) = next {
            let path = || dir.path().join(format.current());
            let starts = file.line_starts(wanted).at("read", path())?;
            let is_first = starts.len() >= wanted;
            wanted = wanted.saturating_sub(starts.len());
            match starts.front() {
                _ if !is_first => file.seek(0),
                Some(start) => file.seek(*start),
                None => {}
            }
            // The youngest are opened again when they are due: they are in no danger.
            files.push_front(file);
            files.truncate(MOST_OPEN);
            number = number.saturating_sub(1);
            next = match is_first || number == 0 {
                true => None,
                false => Self::open_full(dir, format, number)?,
            };
        }
        Ok((files, youngest))
    }

    /// Opens the current file; `None` if there is none yet.
    pub(super) fn open_current(dir: &Dir, format: Format) -> Result<Option<Self>, PathError> {
        for _ in 0..LOOKS {
            let Some(file) = open(dir, format.current())? else {
                return Ok(None);
            };
            let number = numbers(dir, format)?.end;
            let stat = fstat(file.as_fd()).at("stat", dir.path().join(format.current()))?;
            let inode = stat.st_ino;
            // Else it was rotated meanwhile, and it is not sure which number it got.
            if is_current(dir, format, inode)? {
                let content = Content::plain(file);
                return Ok(Some(Self::new(format, content, number, Some(inode))));
            }
        }
        Ok(None)
    }

    /// Returns whether this file is still written to.
    pub(super) fn is_current(&self, dir: &Dir) -> Result<bool, PathError> {
        match self.inode {
            Some(inode) => is_current(dir, self.format, inode),
            None => Ok(false),
        }
    }

    /// Returns its place among the files.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.buffer.clear();
        self.start = 0;
        self.searched = 0;
    }

    /// Returns the offset of the next record.
    pub(super) fn position(&self) -> u64 {
        let waiting = u64::try_from(self.buffer.len() - self.start).unwrap_or(0);
        self.offset - waiting
    }

    /// Returns the next complete record, or `None` at the present end. What is there of one without
    /// an end waits for the rest, and is read again then: it may have been torn, and mended since.
    pub(super) fn next_record(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let searched = self.searched - self.start;
            match self.format.next(&self.buffer[self.start..], searched) {
                Next::Record(length) => {
                    let from = self.start;
                    self.start += length;
                    self.searched = self.start;
                    return Ok(Some(&self.buffer[from..from + length]));
                }
                Next::Unfinished => self.searched = self.buffer.len(),
            }
            if !self.fill()? {
                self.seek(self.position());
                return Ok(None);
            }
        }
    }

    /// Returns the next record that is an entry.
    pub(super) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let format = self.format;
        let mut start = self.position();
        let mut is_second_look = false;
        while let Some(record) = self.next_record()? {
            if let Some(entry) = format.entry(record) {
                return Ok(Some(entry));
            }
            // It may have been torn when its beginning was read, and written again since.
            if is_second_look {
                start = self.position();
            } else {
                self.seek(start);
            }
            is_second_look = !is_second_look;
        }
        Ok(None)
    }

    /// Returns where the last `most` lines of output begin; leaves it at its end.
    pub(super) fn line_starts(&mut self, most: usize) -> io::Result<VecDeque<u64>> {
        let format = self.format;
        let mut starts = VecDeque::new();
        let mut begins = true;
        loop {
            let position = self.position();
            let Some(record) = self.next_record()? else {
                return Ok(starts);
            };
            if begins {
                starts.push_back(position);
            }
            if starts.len() > most {
                starts.pop_front();
            }
            begins = format.ends_line(record);
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
fn is_current(dir: &Dir, format: Format, inode: u64) -> Result<bool, PathError> {
    match dir.stat(format.current()) {
        Ok(stat) => Ok(stat.st_ino == inode),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
