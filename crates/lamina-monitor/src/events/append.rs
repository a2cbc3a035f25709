//! Appending: five system calls where nothing is in the way.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use jiff::civil::Date;
use lamina_fs::Dir;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat, rename, stat};
use rustix::io::Errno;

use super::{DAYS, Event, FULL, KEPT, Place, day, name, place};

/// How often the lock is tried, and how long is waited between: whoever is stopped while it holds
/// the lock must not hold up anybody else.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// The folder that events are appended to.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: PathBuf,
}

impl Journal {
    /// The journal in a folder, absolute, which is made with the first event.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Appends events, in one piece. What cannot be written is lost: see the module.
    pub fn append(&self, events: &[Event]) {
        let mut lines = Vec::with_capacity(events.len() * 512);
        for event in events {
            if serde_json::to_writer(&mut lines, event).is_ok() {
                lines.push(b'\n');
            }
        }
        if let Some(last) = events.last() {
            let _ = self.write((day(last.time), u32::MAX), &lines);
        }
    }

    fn write(&self, place: Place, lines: &[u8]) -> io::Result<()> {
        // Somebody may give the file a number between the open and the lock, and then again.
        const ATTEMPTS: u32 = 4;
        let path = self.dir.join(name(place));
        for attempt in 1..=ATTEMPTS {
            let file = match open(&path, OFlags::empty()) {
                Err(Errno::NOENT) => self.begin(&path, place.0)?,
                other => other?,
            };
            let is_locked = lock(&file);
            let is_full = u64::try_from(fstat(&file)?.st_size).unwrap_or(0) >= FULL;
            if is_full && is_locked && attempt < ATTEMPTS {
                self.put_by(&path, &file, place.0)?;
                continue;
            }
            // Appending is atomic among writers of this machine, locked or not.
            rustix::io::write(&file, lines)?;
            return Ok(());
        }
        Ok(())
    }

    /// Begins a file, the folder too where it is missing; and lets old ones go.
    fn begin(&self, path: &Path, today: Date) -> io::Result<OwnedFd> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let file = open(path, OFlags::CREATE)?;
        let _ = self.tidy(today);
        Ok(file)
    }

    /// Gives a full file its number, unless somebody else has; under the lock of the file.
    fn put_by(&self, path: &Path, file: &OwnedFd, day: Date) -> io::Result<()> {
        let own = fstat(file)?;
        match stat(path) {
            Ok(named) if (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino) => {}
            _ => return Ok(()),
        }
        let used = self.files()?.into_iter().filter(|(of, _)| of.0 == day);
        let last = used
            .map(|((_, number), _)| number)
            .filter(|n| *n < u32::MAX);
        let number = last.max().unwrap_or(0).saturating_add(1);
        Ok(rename(path, self.dir.join(name((day, number))))?)
    }

    /// Lists the files with their sizes, the oldest first.
    fn files(&self) -> io::Result<Vec<(Place, u64)>> {
        let dir = Dir::open(&self.dir).map_err(|error| error.source)?;
        let entries = dir.entries().map_err(|error| error.source)?;
        let known = entries.iter().filter_map(|entry| {
            let place = place(entry.name.to_str()?)?;
            let size = dir.stat(&entry.name).ok()?.st_size;
            Some((place, u64::try_from(size).unwrap_or(0)))
        });
        let mut files: Vec<(Place, u64)> = known.collect();
        files.sort_unstable();
        Ok(files)
    }

    /// Unlinks what is too old or too much; never the newest file.
    fn tidy(&self, today: Date) -> io::Result<()> {
        let files = self.files()?;
        // With what the file that begins will take.
        let mut total = files.iter().map(|(_, size)| size).sum::<u64>() + FULL;
        let kept = i64::from(DAYS) - 1;
        let oldest = today.saturating_sub(jiff::Span::new().days(kept));
        for (place, size) in files.iter().rev().skip(1).rev() {
            if place.0 < oldest || total > KEPT {
                std::fs::remove_file(self.dir.join(name(*place)))?;
                total -= size;
            }
        }
        Ok(())
    }
}

fn open(path: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // A FIFO that somebody put there is an error, not a wait.
    let flags = flags | OFlags::NONBLOCK | more;
    openat(CWD, path, flags, Mode::from_raw_mode(0o600))
}

/// Takes the lock of a file, which goes with its descriptor; not for long, and not at any price.
fn lock(file: &OwnedFd) -> bool {
    for _ in 0..TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return true,
            Err(Errno::WOULDBLOCK | Errno::INTR) => sleep(PAUSE),
            Err(_) => return false,
        }
    }
    false
}
