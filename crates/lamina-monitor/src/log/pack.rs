//! Full files are packed with gzip, by a process of its own that runs when nothing else wants to:
//! the monitor stays small, and no container waits for it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use lamina_fs::{At, Dir, PathError};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat, renameat};
use rustix::io::Errno;

use super::LOG_DIR;
use super::files::{name, numbers, packed_name};
use super::format::Format;

/// What is being packed, until it is whole.
const UNFINISHED: &str = "packing";

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// Packs every full file of a container's log, the youngest first: the oldest may be dropped before
/// it is done. Does nothing while another process does so; ends early when `is_over` says so.
///
/// A file is there under one of its names at every moment, and whole. Killed anywhere, the next
/// packer begins again.
pub(crate) fn pack(state_dir: &Dir, is_over: &dyn Fn() -> bool) -> Result<(), PathError> {
    let dir = state_dir.open_at(LOG_DIR)?;
    match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        other => other.at("lock", dir.path())?,
    }
    for format in Format::ALL {
        // Others come while it packs.
        while let Some(number) = youngest_plain(&dir, format)?
            && !is_over()
        {
            let (plain, packed) = (name(format, number), packed_name(format, number));
            match pack_one(&dir, &plain, &packed, is_over) {
                // Dropped meanwhile.
                Err(error) if error.is_not_found() => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Returns the youngest full file that is not packed.
fn youngest_plain(dir: &Dir, format: Format) -> Result<Option<u64>, PathError> {
    for number in numbers(dir, format)?.rev() {
        if dir.exists(name(format, number))? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn pack_one(dir: &Dir, from: &str, to: &str, is_over: &dyn Fn() -> bool) -> Result<(), PathError> {
    let plain = dir.open_file(from, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let path = || dir.path().join(to);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(dir, UNFINISHED, flags, Mode::from_raw_mode(0o640)).at("make", path())?;
    let packed = write_packed(plain, File::from(file), is_over).at("write", path());
    if !matches!(packed, Ok(true)) {
        dir.unlink(UNFINISHED)?;
        return packed.map(drop);
    }
    renameat(dir, UNFINISHED, dir, to).at("rename", path())?;
    match dir.unlink(from) {
        // Dropped meanwhile: the writer has seen the one name only.
        Err(error) if error.is_not_found() => dir.unlink(to),
        other => other,
    }
}

/// Returns whether all of it was packed.
fn write_packed(mut plain: File, file: File, is_over: &dyn Fn() -> bool) -> io::Result<bool> {
    let mut encoder = GzEncoder::new(file, Compression::fast());
    let mut buffer = vec![0; PIECE];
    loop {
        match plain.read(&mut buffer)? {
            0 => break,
            _ if is_over() => return Ok(false),
            length => encoder.write_all(&buffer[..length])?,
        }
    }
    // The other copy goes after this.
    encoder.finish()?.sync_data()?;
    Ok(true)
}

/// What a file of the log holds, whichever way.
#[derive(Debug)]
pub(super) enum Content {
    Plain(File),
    Packed(Packed),
}

/// A packed file, unpacked up to somewhere.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    /// Made at the first read: many files may be open, and one is read.
    decoder: Option<Box<GzDecoder<Positioned>>>,
    offset: u64,
}

/// A file read from its beginning, whoever else reads it.
#[derive(Debug)]
pub(super) struct Positioned(File, u64);

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read_at(buffer, self.1)?;
        self.1 += u64::try_from(length).unwrap_or(0);
        Ok(length)
    }
}

impl Content {
    pub(super) fn plain(file: File) -> Self {
        Self::Plain(file)
    }

    pub(super) fn packed(file: File) -> Self {
        Self::Packed(Packed {
            file,
            decoder: None,
            offset: 0,
        })
    }

    /// Reads what is at `offset`; nothing at the present end.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(buffer, offset),
            Self::Packed(packed) => packed.read_at(buffer, offset),
        }
    }
}

impl Packed {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.offset {
            self.decoder = None;
            self.offset = 0;
        }
        while self.offset < offset {
            let left = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
            let piece = left.min(buffer.len());
            if self.read(&mut buffer[..piece])? == 0 {
                return Ok(0);
            }
        }
        self.read(buffer)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            None => {
                let file = Positioned(self.file.try_clone()?, 0);
                self.decoder.insert(Box::new(GzDecoder::new(file)))
            }
        };
        let length = decoder.read(buffer)?;
        self.offset += u64::try_from(length).unwrap_or(0);
        Ok(length)
    }
}
