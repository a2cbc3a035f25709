//! Reading: over all files, over midnight, and as they grow.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{OFlags, fstat};

use super::{Event, EventsError, Place, day, place};
use crate::time::Time;
use crate::watch::Watch;

/// A line longer than this is none of ours and is dropped.
const LONGEST: usize = 1 << 20;
/// How much is read at once.
const READ: usize = 64 << 10;
/// What every line begins with, and no text in one has: its quotes would be escaped.
const BEGINNING: &[u8] = b"{\"v\":";

/// What to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventsOptions {
    /// Nothing older.
    pub since: Option<Time>,
    /// Nothing younger; following ends then.
    pub until: Option<Time>,
    /// Wait for more at the end.
    pub follow: bool,
}

/// Returns the events in a folder, in the order they were written.
///
/// With neither `since` nor `until`, what follows from now on.
pub fn read(dir: &Path, options: EventsOptions) -> Result<EventsReader, EventsError> {
    let dir = Dir::create_all(dir, 0o700)?;
    let watch = match options.follow {
        true => Some(Watch::new(&dir)?),
        false => None,
    };
    let mut reader = EventsReader {
        dir,
        watch,
        files: Vec::new(),
        events: VecDeque::new(),
        options,
    };
    reader.look()?;
    if options.since.is_none() && options.until.is_none() {
        for file in &mut reader.files {
            file.skip()?;
        }
    }
    Ok(reader)
}

/// An iterator over events; blocks when it follows.
#[derive(Debug)]
pub struct EventsReader {
    dir: Dir,
    watch: Option<Watch>,
    /// In the order of what is in them.
    files: Vec<Open>,
    events: VecDeque<Event>,
    options: EventsOptions,
}

#[derive(Debug)]
struct Open {
    place: Place,
    inode: u64,
    file: File,
    offset: u64,
    /// The beginning of a line whose end has not been written yet.
    rest: Vec<u8>,
}

impl Iterator for EventsReader {
    type Item = Result<Event, EventsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if self.is_wanted(&event) {
                    return Some(Ok(event));
                }
            }
            match self.fill() {
                Err(error) => return Some(Err(error.into())),
                Ok(true) => {}
                Ok(false) if !self.wait() => return None,
                Ok(false) => {
                    if let Err(error) = self.look() {
                        return Some(Err(error.into()));
                    }
                }
            }
        }
    }
}

impl EventsReader {
    fn is_wanted(&self, event: &Event) -> bool {
        let options = &self.options;
        options.since.is_none_or(|since| event.time >= since)
            && options.until.is_none_or(|until| event.time <= until)
    }

    /// Opens what is there and not open yet. A file that has got its number is known by its inode.
    fn look(&mut self) -> Result<(), PathError> {
        let first = self.options.since.map(day);
        for entry in self.dir.entries()? {
            let Some(place) = entry.name.to_str().and_then(place) else {
                continue;
            };
            if first.is_some_and(|first| place.0 < first) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let file = match self.dir.open_file(&entry.name, flags) {
                // It has just got its number, or has gone.
                Err(error) if error.is_not_found() => continue,
                other => other?,
            };
            let path = || self.dir.path().join(&entry.name);
            let inode = fstat(file.as_fd()).at("stat", path())?.st_ino;
            match self.files.iter_mut().find(|open| open.inode == inode) {
                Some(open) => open.place = place,
                None => self.files.push(Open {
                    place,
                    inode,
                    file,
                    offset: 0,
                    rest: Vec::new(),
                }),
            }
        }
        self.files.sort_by_key(|open| open.place);
        Ok(())
    }

    /// Takes in some of what has not been read; false if there is nothing. What somebody is late
    /// to append to the file of yesterday is read as well.
    fn fill(&mut self) -> Result<bool, PathError> {
        for open in &mut self.files {
            if open.read(&mut self.events, self.dir.path())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits for more; false if no more is wanted.
    fn wait(&self) -> bool {
        /// What is not seen in the folder is looked for as often as this.
        const INTERVAL: Duration = Duration::from_millis(500);
        let Some(watch) = &self.watch else {
            return false;
        };
        let left = self.options.until.map(|until| {
            let left = until.timestamp().duration_since(jiff::Timestamp::now());
            Duration::try_from(left).unwrap_or_default()
        });
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        watch.wait(left.map_or(INTERVAL, |left| left.min(INTERVAL)));
        true
    }
}

impl Open {
    /// Goes to the end of what is there.
    fn skip(&mut self) -> Result<(), PathError> {
        let stat = fstat(self.file.as_fd()).at("stat", "events")?;
        self.offset = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(())
    }

    fn read(&mut self, events: &mut VecDeque<Event>, dir: &Path) -> Result<bool, PathError> {
        let kept = self.rest.len();
        self.rest.resize(kept + READ, 0);
        let read = self.file.read_at(&mut self.rest[kept..], self.offset);
        self.rest.truncate(kept + *read.as_ref().unwrap_or(&0));
        let length = read.at("read", dir.join(super::name(self.place)))?;
        self.offset += u64::try_from(length).unwrap_or(0);
        let fresh = self.rest[kept..].iter().rposition(|b| *b == b'\n');
        if let Some(end) = fresh.map(|at| kept + at) {
            let lines = self.rest[..end].split(|b| *b == b'\n');
            events.extend(lines.filter_map(parse));
            self.rest.drain(..=end);
        }
        if self.rest.len() > LONGEST {
            self.rest.clear();
        }
        Ok(length > 0)
    }
}

/// Reads a line; of one that was appended to a torn one, what was appended.
pub(super) fn parse(line: &[u8]) -> Option<Event> {
    let event = |bytes: &[u8]| {
        let event: Event = serde_json::from_slice(bytes).ok()?;
        (event.version <= Event::VERSION).then_some(event)
    };
    event(line).or_else(|| {
        let mut windows = line.windows(BEGINNING.len());
        let at = windows.rposition(|window| window == BEGINNING)?;
        event(&line[at..])
    })
}
