//! Writing a tar, deterministically: the same calls give the same bytes.
//!
//! Headers are ustar; what does not fit there (long names, large numbers, fractions of a second,
//! attributes) goes into one PAX header before the entry, its records sorted by key. No user
//! names, no access times, no clock, no padding beyond the two final blocks. Entries are written
//! in the order they are given.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lamina_types::ErrorKind;

use super::BLOCK;
use super::entry::{Kind, Meta};
use crate::path::Shown;

mod records;

use records::{push_record, sparse_records, time_text};

/// A tar could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The archive's destination failed.
    #[error("write archive")]
    Write(#[source] io::Error),
    /// The content of an entry could not be read.
    #[error("read the content of {}", Shown(path))]
    Content {
        /// The entry.
        path: Vec<u8>,
        /// Why.
        source: io::Error,
    },
    /// The content of an entry is shorter than was said; the archive is unusable.
    #[error("{} became shorter while it was archived", Shown(path))]
    Short {
        /// The entry.
        path: Vec<u8>,
    },
    /// The entry cannot be said in a tar: a NUL or nothing in a name, a sparse map that is wrong.
    #[error("{} cannot be archived", Shown(path))]
    Entry {
        /// The entry.
        path: Vec<u8>,
    },
}

impl WriteError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Write(source) | Self::Content { source, .. } => ErrorKind::of_io(source),
            Self::Short { .. } => ErrorKind::FailedPrecondition,
            Self::Entry { .. } => ErrorKind::InvalidArgument,
        }
    }
}

/// Writes entries to a stream; [`TarWriter::finish`] ends the archive.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: impl AsRef<Path>, meta: &Meta) -> Result<(), WriteError> {
        self.append(bytes(&path), &Kind::Directory, meta, 0, &mut io::empty())
    }

    /// Adds a file whose content is at hand.
    pub fn file_bytes(
        &mut self,
        path: impl AsRef<Path>,
        meta: &Meta,
        content: &[u8],
    ) -> Result<(), WriteError> {
        self.append(
            bytes(&path),
            &Kind::File,
            meta,
            content.len() as u64,
            &mut &content[..],
        )
    }

    /// Adds a file of `size` bytes read from `content`; what `content` has beyond is not read.
    pub fn file(
        &mut self,
        path: impl AsRef<Path>,
        meta: &Meta,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), WriteError> {
        self.append(bytes(&path), &Kind::File, meta, size, content)
    }

    /// Adds a symbolic link.
    pub fn symlink(
        &mut self,
        path: impl AsRef<Path>,
        target: impl AsRef<Path>,
        meta: &Meta,
    ) -> Result<(), WriteError> {
        let kind = Kind::Symlink(bytes(&target).to_vec());
        self.append(bytes(&path), &kind, meta, 0, &mut io::empty())
    }

    /// Adds another name for an entry written before.
    pub fn hardlink(
        &mut self,
        path: impl AsRef<Path>,
        target: impl AsRef<Path>,
        meta: &Meta,
    ) -> Result<(), WriteError> {
        let kind = Kind::Hardlink(bytes(&target).to_vec());
        self.append(bytes(&path), &kind, meta, 0, &mut io::empty())
    }

    /// Adds a device or a fifo.
    pub fn special(
        &mut self,
        path: impl AsRef<Path>,
        kind: &Kind,
        meta: &Meta,
    ) -> Result<(), WriteError> {
        self.append(bytes(&path), kind, meta, 0, &mut io::empty())
    }

    /// Adds an entry of any kind, with `stored` bytes of content.
    pub fn append(
        &mut self,
        path: &[u8],
        kind: &Kind,
        meta: &Meta,
        stored: u64,
        content: &mut dyn Read,
    ) -> Result<(), WriteError> {
        self.begin(path, kind, meta, stored)?;
        self.content(path, stored, content)
    }

    /// Adds a file of `size` bytes which the destination may take in a way of its own: `take` tells
    /// whether it has. Otherwise they are read from `content`.
    pub fn file_taken(
        &mut self,
        path: &[u8],
        meta: &Meta,
        size: u64,
        take: impl FnOnce(&mut W) -> io::Result<bool>,
        content: &mut dyn Read,
    ) -> Result<(), WriteError> {
        self.begin(path, &Kind::File, meta, size)?;
        match take(&mut self.out).map_err(WriteError::Write)? {
            true => self.pad(size),
            false => self.content(path, size, content),
        }
    }

    /// Writes what stands before the content of an entry.
    fn begin(
        &mut self,
        path: &[u8],
        kind: &Kind,
        meta: &Meta,
        stored: u64,
    ) -> Result<(), WriteError> {
        let bad = || WriteError::Entry {
            path: path.to_vec(),
        };
        let link = match kind {
            Kind::Symlink(target) | Kind::Hardlink(target) => &target[..],
            _ => &[],
        };
        let is_file = matches!(kind, Kind::File | Kind::Sparse { .. });
        if path.is_empty() || path.contains(&0) || link.contains(&0) || (stored > 0 && !is_file) {
            return Err(bad());
        }
        let mut path = path.to_vec();
        if *kind == Kind::Directory && path.last() != Some(&b'/') {
            path.push(b'/');
        }
        let mut records = Vec::new();
        let mut map = Vec::new();
        if let Kind::Sparse { size, parts } = kind {
            map = sparse_records(*size, parts, stored, &mut records).ok_or_else(bad)?;
        }
        let header = header(
            &path,
            link,
            kind,
            meta,
            stored + map.len() as u64,
            &mut records,
        );
        if !records.is_empty() {
            self.pax(&path, records)?;
        }
        self.out
            .write_all(&header)
            .and_then(|()| self.out.write_all(&map))
            .map_err(WriteError::Write)
    }

    /// Ends the archive and gives the stream back, flushed.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.out
            .write_all(&[0; 2 * BLOCK])
            .map_err(WriteError::Write)?;
        self.out.flush().map_err(WriteError::Write)?;
        Ok(self.out)
    }

    fn content(
        &mut self,
        path: &[u8],
        stored: u64,
        content: &mut dyn Read,
    ) -> Result<(), WriteError> {
        let mut buffer = vec![0; usize::try_from(stored.min(256 * 1024)).unwrap_or(0)];
        let mut left = stored;
        while left > 0 {
            let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let n = match content.read(&mut buffer[..want]) {
                Ok(0) => {
                    return Err(WriteError::Short {
                        path: path.to_vec(),
                    });
                }
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(WriteError::Content {
                        path: path.to_vec(),
                        source,
                    });
                }
            };
            self.out
                .write_all(&buffer[..n])
                .map_err(WriteError::Write)?;
            left -= n as u64;
        }
        self.pad(stored)
    }

    fn pax(&mut self, path: &[u8], mut records: Vec<Record>) -> Result<(), WriteError> {
        records.sort();
        let mut body = Vec::new();
        for (key, value) in &records {
            push_record(&mut body, key, value);
        }
        let name = path.strip_suffix(b"/").unwrap_or(path);
        let name = crate::path::split(name).1;
        let name = [b"PaxHeaders/", &name[..name.len().min(80)]].concat();
        let meta = Meta {
            mode: 0o644,
            ..Meta::default()
        };
        let mut fields = header(
            &name,
            &[],
            &Kind::File,
            &meta,
            body.len() as u64,
            &mut Vec::new(),
        );
        fields[156] = b'x';
        checksum(&mut fields);
        self.out.write_all(&fields).map_err(WriteError::Write)?;
        self.out.write_all(&body).map_err(WriteError::Write)?;
        self.pad(body.len() as u64)
    }

    fn pad(&mut self, size: u64) -> Result<(), WriteError> {
        let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        self.out
            .write_all(&[0; BLOCK][..padding])
            .map_err(WriteError::Write)
    }
}

/// A PAX key and its value.
type Record = (Vec<u8>, Vec<u8>);

fn bytes(path: &impl AsRef<Path>) -> &[u8] {
    path.as_ref().as_os_str().as_bytes()
}

/// Fills a ustar header; what does not fit is added to `records`.
fn header(
    path: &[u8],
    link: &[u8],
    kind: &Kind,
    meta: &Meta,
    size: u64,
    records: &mut Vec<Record>,
) -> [u8; BLOCK] {
    let mut h = [0; BLOCK];
    name_fields(&mut h, path, records);
    if link.len() <= 100 {
        h[157..157 + link.len()].copy_from_slice(link);
    } else {
        records.push((b"linkpath".to_vec(), link.to_vec()));
    }
    octal(&mut h[100..108], u64::from(meta.mode & 0o7777));
    number(&mut h[108..116], meta.uid.into(), "uid", records);
    number(&mut h[116..124], meta.gid.into(), "gid", records);
    number(&mut h[124..136], size, "size", records);
    match u64::try_from(meta.mtime.seconds) {
        Ok(seconds) if meta.mtime.nanoseconds == 0 && seconds < 1 << 33 => {
            octal(&mut h[136..148], seconds);
        }
        _ => {
            octal(&mut h[136..148], 0);
            records.push((b"mtime".to_vec(), time_text(meta.mtime).into_bytes()));
        }
    }
    for (key, value) in &meta.xattrs {
        records.push(([b"SCHILY.xattr.", &key[..]].concat(), value.clone()));
    }
    let (flag, major, minor) = match *kind {
        Kind::File | Kind::Sparse { .. } => (b'0', 0, 0),
        Kind::Hardlink(_) => (b'1', 0, 0),
        Kind::Symlink(_) => (b'2', 0, 0),
        Kind::Char { major, minor } => (b'3', major, minor),
        Kind::Block { major, minor } => (b'4', major, minor),
        Kind::Directory => (b'5', 0, 0),
        Kind::Fifo => (b'6', 0, 0),
    };
    h[156] = flag;
    h[257..265].copy_from_slice(b"ustar\x0000");
    // Linux device numbers are 12 and 20 bits: they fit.
    octal(&mut h[329..337], u64::from(major & 0o7_777_777));
    octal(&mut h[337..345], u64::from(minor & 0o7_777_777));
    checksum(&mut h);
    h
}

/// The name whole, or split at a slash between the prefix and name fields, or as a record.
fn name_fields(h: &mut [u8; BLOCK], path: &[u8], records: &mut Vec<Record>) {
    if path.len() <= 100 {
        h[..path.len()].copy_from_slice(path);
        return;
    }
    let split = (path.len().saturating_sub(101)..path.len().min(156))
        .find(|at| path[*at] == b'/' && *at > 0 && at + 1 < path.len());
    if let Some(at) = split {
        h[345..345 + at].copy_from_slice(&path[..at]);
        let name = &path[at + 1..];
        h[..name.len()].copy_from_slice(name);
    } else {
        h[..100].copy_from_slice(&path[..100]);
        records.push((b"path".to_vec(), path.to_vec()));
    }
}

fn number(field: &mut [u8], value: u64, key: &str, records: &mut Vec<Record>) {
    if value < 1 << (3 * (field.len() - 1)) {
        octal(field, value);
    } else {
        octal(field, 0);
        records.push((key.as_bytes().to_vec(), value.to_string().into_bytes()));
    }
}

/// Octal digits filling the field but for its final NUL.
fn octal(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + u8::try_from(value & 7).unwrap_or(0);
        value >>= 3;
    }
}

fn checksum(h: &mut [u8; BLOCK]) {
    h[148..156].fill(b' ');
    let sum: u64 = h.iter().map(|b| u64::from(*b)).sum();
    octal(&mut h[148..155], sum);
    h[155] = b' ';
}
