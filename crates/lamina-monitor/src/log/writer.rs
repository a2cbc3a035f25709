//! The monitor's side: output cut into lines, written, rotated.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::FileExt;

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::encode::cut;
use super::files::rotate;
use super::format::{Form, Format};
use super::sink::Sink;
use super::{LOG_DIR, MAX_CONTENT, Stream};
use crate::config::{LogConfig, LogDriver};
use crate::time::Time;

/// Entries are gathered up to this many bytes before they are written.
const GATHER: usize = 32 << 10;

/// An entry is no longer in the file: every byte of it may be written as six.
const LONGEST_LINE: u64 = 128 << 10;

/// Writes a container's log. Nothing is opened before there is something to write.
///
/// A log that cannot be written never stops the container: what is lost is counted, and writing
/// is tried again with the next output.
#[derive(Debug)]
pub(crate) struct LogWriter {
    state_dir: Dir,
    config: LogConfig,
    /// What files are kept in, if any are.
    format: Format,
    target: Option<Target>,
    /// Whether the current file ends with a whole record.
    is_mended: bool,
    /// The unfinished lines of stdout and stderr, shorter than an entry.
    lines: [Vec<u8>; 2],
    out: Vec<u8>,
    form: Form,
    sink: Option<Sink>,
    lost: u64,
    is_failing: bool,
    wants_packing: bool,
}

#[derive(Debug)]
struct Target {
    dir: Dir,
    file: File,
    size: u64,
}

impl LogWriter {
    pub(crate) fn new(state_dir: Dir, config: LogConfig) -> Self {
        let format = Format::of(config.driver).unwrap_or(Format::Json);
        Self {
            format,
            sink: config.sink.clone().map(Sink::new),
            form: format.writer(&config.attributes),
            state_dir,
            config,
            target: None,
            is_mended: false,
            lines: [Vec::new(), Vec::new()],
            out: Vec::new(),
            lost: 0,
            is_failing: false,
            wants_packing: false,
        }
    }

    /// Returns how many bytes of entries could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Goes on with a log whose writer was killed, perhaps while it wrote: an entry without an end
    /// is written again as far as it goes, as a part of a line.
    pub(crate) fn resume(&mut self) {
        if Format::of(self.config.driver).is_none() {
            return;
        }
        self.mend();
        self.flush();
    }

    /// Takes off what stands after the last whole record of the current file, and puts what it says
    /// before what is to be written.
    fn mend(&mut self) {
        if mem::replace(&mut self.is_mended, true) {
            return;
        }
        // What cannot be mended is left out by readers.
        let Ok(Some(torn)) = take_torn(&self.state_dir, self.format) else {
            return;
        };
        if let Some((content, stream)) = self.format.salvage(&torn)
            && !content.is_empty()
        {
            let after = mem::take(&mut self.out);
            self.form
                .append(&mut self.out, &content, stream, Time::now());
            self.out.extend_from_slice(&after);
        }
    }

    /// Returns whether the last that was written was lost.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Returns whether there are full files to be packed since this was asked last.
    pub(crate) fn wants_packing(&mut self) -> bool {
        mem::take(&mut self.wants_packing)
    }

    /// Takes in what the program wrote.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if matches!(self.config.driver, LogDriver::None | LogDriver::Passthrough) {
            return;
        }
        let time = Time::now();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.piece(stream, piece, time);
        }
        self.flush();
    }

    /// Ends the unfinished lines: the program has ended.
    pub(crate) fn finish(&mut self) {
        let time = Time::now();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = mem::take(&mut self.lines[index(stream)]);
            if !line.is_empty() {
                self.entry(stream, &line, time);
            }
        }
        self.flush();
    }

    fn piece(&mut self, stream: Stream, piece: &[u8], time: Time) {
        let held = &mut self.lines[index(stream)];
        if held.is_empty() && piece.len() <= MAX_CONTENT && piece.ends_with(b"\n") {
            self.entry(stream, piece, time);
            return;
        }
        held.extend_from_slice(piece);
        let mut line = mem::take(held);
        let mut rest = line.as_slice();
        while rest.len() > MAX_CONTENT || rest.ends_with(b"\n") {
            let (content, after) = rest.split_at(cut(rest));
            self.entry(stream, content, time);
            rest = after;
        }
        let done = line.len() - rest.len();
        line.drain(..done);
        line.shrink_to(MAX_CONTENT);
        self.lines[index(stream)] = line;
    }

    fn entry(&mut self, stream: Stream, content: &[u8], time: Time) {
        if let Some(sink) = &mut self.sink {
            if !sink.send(stream, content, time) {
                self.lost += u64::try_from(content.len()).unwrap_or(0);
            }
            return;
        }
        let before = self.out.len();
        self.form.append(&mut self.out, content, stream, time);
        let written = self.target.as_ref().map_or(0, |t| t.size);
        let with = written + u64::try_from(self.out.len()).unwrap_or(u64::MAX);
        if with > self.config.max_size && (written > 0 || before > 0) {
            let entry = self.out.split_off(before);
            self.flush();
            self.rotate();
            self.out = entry;
        } else if self.out.len() >= GATHER {
            self.flush();
        }
    }

    fn rotate(&mut self) {
        let Some(target) = self.target.take() else {
            return;
        };
        match rotate(&target.dir, self.format, &self.config) {
            Ok(full) => self.wants_packing |= full.is_some() && self.config.compress,
            // Better a file that is too long than a lost line; tried again at the next entry. Where
            // only the oldest could not be dropped, the next rotation does that.
            Err(_) => self.target = Some(target),
        }
    }

    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        self.is_failing = self.append().is_err();
        if self.is_failing {
            self.lost += u64::try_from(self.out.len()).unwrap_or(0);
        }
        self.out.clear();
        self.out.shrink_to(GATHER);
    }

    fn append(&mut self) -> Result<(), PathError> {
        let mut target = match self.target.take() {
            Some(target) => target,
            None => {
                // It may be of a run before this one, or from before a power cut.
                self.mend();
                open(&self.state_dir, self.format)?
            }
        };
        let written = write_whole(&mut target, &self.out);
        let path = target.dir.path().join(self.format.current());
        self.target = Some(target);
        written.at("write", path)
    }
}

/// Cuts off what stands after the last whole record of the current file, and returns it.
fn take_torn(state_dir: &Dir, format: Format) -> io::Result<Option<Vec<u8>>> {
    let Ok(dir) = state_dir.open_at(LOG_DIR) else {
        return Ok(None);
    };
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match openat(&dir, format.current(), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => File::from(other?),
    };
    let size = file.metadata()?.len();
    let begin = size.saturating_sub(LONGEST_LINE);
    let mut end = vec![0; usize::try_from(size - begin).unwrap_or(0)];
    file.read_exact_at(&mut end, begin)?;
    let whole = match format.whole(&end) {
        Some(whole) => whole,
        None if begin == 0 => 0,
        // Nothing here is ours: it is left to the readers.
        None => return Ok(None),
    };
    let torn = end.split_off(whole);
    if torn.is_empty() {
        return Ok(None);
    }
    file.set_len(begin + u64::try_from(whole).unwrap_or(0))?;
    Ok(Some(torn))
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

fn open(state_dir: &Dir, format: Format) -> Result<Target, PathError> {
    let dir = state_dir.ensure_dir(LOG_DIR, 0o700)?;
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::APPEND
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK;
    let path = || dir.path().join(format.current());
    let mode = Mode::from_raw_mode(0o640);
    let file = openat(&dir, format.current(), flags, mode).at("open", path())?;
    let size = fstat(&file).at("stat", path())?.st_size;
    Ok(Target {
        file: File::from(file),
        size: u64::try_from(size).unwrap_or(0),
        dir,
    })
}

/// Writes all or, as far as the disk allows, nothing: half an entry would spoil the next one.
fn write_whole(target: &mut Target, bytes: &[u8]) -> io::Result<()> {
    match target.file.write_all(bytes) {
        Ok(()) => {
            target.size += u64::try_from(bytes.len()).unwrap_or(0);
            Ok(())
        }
        Err(error) => {
            target.file.set_len(target.size)?;
            Err(error)
        }
    }
}
