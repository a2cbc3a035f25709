//! Reading a log: over all its files, from the tail, or as it grows.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use lamina_fs::{At, Dir, PathError};

use super::encode::ends_line;
use super::files::LogFile;
use super::{Entry, LOG_DIR, LOG_FILE, LogError};
use crate::time::Time;
use crate::watch::Watch;

/// How often to look whether the writer has ended: that is not always seen in the folder.
const INTERVAL: Duration = Duration::from_millis(500);

/// What to read.
#[derive(Default)]
pub struct ReadOptions<'a> {
    /// Only so many lines from the end (of what is there when reading begins).
    pub tail: Option<u64>,
    /// Nothing older than this.
    pub since: Option<Time>,
    /// Nothing younger than this; following ends then.
    pub until: Option<Time>,
    /// Wait for more at the end, as long as this says that the container may still write. It is
    /// asked now and then, and once more before the last look.
    pub follow: Option<Box<dyn FnMut() -> bool + 'a>>,
}

impl fmt::Debug for ReadOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOptions")
            .field("tail", &self.tail)
            .field("since", &self.since)
            .field("until", &self.until)
            .field("follow", &self.follow.is_some())
            .finish()
    }
}

/// Returns the entries of a container's log, in the order they were written.
///
/// A container that never wrote has an empty log. Lines that are no entries (torn by a power cut)
/// are left out.
pub fn read<'a>(state_dir: &Dir, options: ReadOptions<'a>) -> Result<Reader<'a>, LogError> {
    let watch = match options.follow {
        Some(_) => Some(Watch::new(state_dir)?),
        None => None,
    };
    let mut reader = Reader {
        state_dir: state_dir.try_clone()?,
        dir: None,
        files: VecDeque::new(),
        options,
        watch,
        last_look: false,
        ended: false,
    };
    reader.open()?;
    // What is written from now on is no longer before the tail, even if no log exists yet.
    reader.options.tail = None;
    Ok(reader)
}

/// An iterator over the entries of a log; blocks when it follows.
#[derive(Debug)]
pub struct Reader<'a> {
    state_dir: Dir,
    dir: Option<Dir>,
    /// The file being read and those after it that are known.
    files: VecDeque<LogFile>,
    options: ReadOptions<'a>,
    watch: Option<Watch>,
    /// Set when the writer has ended: what is there is all there will be.
    last_look: bool,
    ended: bool,
}

impl Iterator for Reader<'_> {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.advance();
        self.ended = !matches!(entry, Ok(Some(_)));
        entry.map_err(LogError::from).transpose()
    }
}

impl Reader<'_> {
    fn open(&mut self) -> Result<(), PathError> {
        let dir = match self.state_dir.open_at(LOG_DIR) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        if let Some(watch) = &self.watch {
            watch.add(&dir)?;
        }
        let mut files = LogFile::open_from(&dir, 0)?;
        if let Some(tail) = self.options.tail {
            skip_to_tail(&dir, &mut files, tail)?;
        }
        self.files = files.into();
        self.dir = Some(dir);
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Entry>, PathError> {
        loop {
            if let Some(entry) = self.next_known()? {
                return Ok(Some(entry));
            }
            let Some(follow) = &mut self.options.follow else {
                return Ok(None);
            };
            // Asked before the next look, so that what was written before the end is seen by it.
            let goes_on = !self.last_look && follow();
            if self.step_over_rotation()? {
                continue;
            }
            let is_over = self.options.until.is_some_and(|until| until < Time::now());
            if self.last_look || is_over {
                return Ok(None);
            }
            match &self.watch {
                Some(watch) if goes_on => watch.wait(INTERVAL),
                _ => self.last_look = true,
            }
        }
    }

    /// Returns the next entry of the files known, dropping those that are finished.
    pub(super) fn next_known(&mut self) -> Result<Option<Entry>, PathError> {
        if self.dir.is_none() {
            self.open()?;
        }
        while let Some(file) = self.files.front_mut() {
            let path = || self.state_dir.path().join(LOG_DIR).join(LOG_FILE);
            while let Some(entry) = next_entry(file).at("read", path())? {
                let too_old = self.options.since.is_some_and(|since| entry.time < since);
                let too_young = self.options.until.is_some_and(|until| entry.time > until);
                if !too_old && !too_young {
                    return Ok(Some(entry));
                }
            }
            if self.files.len() == 1 {
                return Ok(None);
            }
            self.files.pop_front();
        }
        Ok(None)
    }

    /// At the end of the last file known: finds the one that follows if the log was rotated.
    ///
    /// The file left is read once more afterwards, and only then dropped: it may have grown between
    /// the last look at it and its rotation.
    fn step_over_rotation(&mut self) -> Result<bool, PathError> {
        let Some(dir) = &self.dir else {
            return Ok(false);
        };
        let first = match self.files.back() {
            Some(file) if file.is_current(dir)? => return Ok(false),
            Some(file) => file.next_number(),
            None => 0,
        };
        // In the middle of a rotation the successor does not exist yet.
        let next = LogFile::open_from(dir, first)?;
        let found = !next.is_empty();
        self.files.extend(next);
        Ok(found)
    }
}

/// Returns the next line that is an entry.
fn next_entry(file: &mut LogFile) -> io::Result<Option<Entry>> {
    let mut start = file.position();
    let mut is_second_look = false;
    while let Some(line) = file.next_line()? {
        if let Ok(entry) = serde_json::from_slice(line) {
            return Ok(Some(entry));
        }
        // It may have been torn when its beginning was read, and written again since.
        if is_second_look {
            start = file.position();
        } else {
            file.seek(start);
        }
        is_second_look = !is_second_look;
    }
    Ok(None)
}

/// Drops whole files and seeks in the first one left, so that `tail` lines remain.
fn skip_to_tail(dir: &Dir, files: &mut Vec<LogFile>, tail: u64) -> Result<(), PathError> {
    let mut wanted = usize::try_from(tail).unwrap_or(usize::MAX);
    for index in (0..files.len()).rev() {
        let starts = line_starts(&mut files[index], wanted);
        let starts = starts.at("read", dir.path().join(LOG_FILE))?;
        if starts.len() < wanted {
            wanted -= starts.len();
            files[index].seek(0);
            continue;
        }
        if let Some(start) = starts.front() {
            files[index].seek(*start);
        }
        files.drain(..index);
        break;
    }
    Ok(())
}

/// Returns where the last `most` lines of output begin in a file; leaves it at its end.
fn line_starts(file: &mut LogFile, most: usize) -> io::Result<VecDeque<u64>> {
    let mut starts = VecDeque::new();
    let mut begins = true;
    loop {
        let position = file.position();
        let Some(line) = file.next_line()? else {
            return Ok(starts);
        };
        if begins {
            starts.push_back(position);
        }
        if starts.len() > most {
            starts.pop_front();
        }
        begins = ends_line(line);
    }
}
