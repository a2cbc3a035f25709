//! Reading a log: over all its files, from the tail, or as it grows.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use lamina_fs::{At, Dir, PathError};

use super::files::{LogFile, MOST_OPEN};
use super::format::Format;
use super::{Entry, LOG_DIR, LogError};
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
pub fn read<'a>(
    state_dir: &Dir,
    format: Format,
    options: ReadOptions<'a>,
) -> Result<Reader<'a>, LogError> {
    let watch = match options.follow {
        Some(_) => Some(Watch::new(state_dir)?),
        None => None,
    };
    let mut reader = Reader {
        state_dir: state_dir.try_clone()?,
        format,
        dir: None,
        files: VecDeque::new(),
        youngest: 0,
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
    format: Format,
    dir: Option<Dir>,
    /// The file being read and the next after it, some of those that are known.
    files: VecDeque<LogFile>,
    /// The number of the last file that is known.
    youngest: u64,
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
        (self.files, self.youngest) = match self.options.tail {
            Some(tail) => LogFile::open_tail(&dir, self.format, tail)?,
            None => {
                let (files, youngest) = LogFile::open_from(&dir, self.format, 0)?;
                (files.into(), youngest)
            }
        };
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
            let path = || {
                let folder = self.state_dir.path().join(LOG_DIR);
                folder.join(self.format.current())
            };
            while let Some(entry) = file.next_entry().at("read", path())? {
                let too_old = self.options.since.is_some_and(|since| entry.time < since);
                let too_young = self.options.until.is_some_and(|until| entry.time > until);
                if !too_old && !too_young {
                    return Ok(Some(entry));
                }
            }
            self.open_more()?;
            if self.files.len() == 1 {
                return Ok(None);
            }
            self.files.pop_front();
        }
        Ok(None)
    }

    /// Opens more of the files that are known, if few of them are open.
    fn open_more(&mut self) -> Result<(), PathError> {
        let (Some(dir), Some(last)) = (&self.dir, self.files.back()) else {
            return Ok(());
        };
        if last.number() >= self.youngest || self.files.len() > MOST_OPEN / 2 {
            return Ok(());
        }
        let (more, _) = LogFile::open_from(dir, self.format, last.number() + 1)?;
        let known = more.into_iter().filter(|f| f.number() <= self.youngest);
        let room = MOST_OPEN - self.files.len();
        self.files.extend(known.take(room));
        Ok(())
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
            Some(file) => file.number() + 1,
            None => 0,
        };
        // In the middle of a rotation the successor does not exist yet.
        let (next, youngest) = LogFile::open_from(dir, self.format, first)?;
        self.youngest = youngest;
        let found = !next.is_empty();
        self.files.extend(next);
        Ok(found)
    }
}
