//! The streaming reader: one entry at a time, content as slices of the source's own buffer.

use std::io::{self, BufRead};

use super::entry::{Entry, Kind, Meta, Time};
use super::header::Header;
use super::pax::{Pax, SparseKeys};
use super::{BLOCK, TarError};
use crate::Limits;

mod holes;
mod names;
mod record;

use names::{choose, long_name};

/// How many metadata headers may stand before one entry.
const MAX_HEADERS: u32 = 16;

/// Reads entries from a stream.
///
/// Call [`TarReader::next_entry`], then [`TarReader::chunk`] until it is empty (or not at all: the
/// next call skips the rest), and so on; after the last entry, [`TarReader::finish`] reads the
/// source to its end, so that whoever hashes it sees every byte.
#[derive(Debug)]
pub struct TarReader<R> {
    source: R,
    /// Bytes of the source's buffer that were handed out: it gives them up at the next call.
    lent: usize,
    /// Bytes taken out of the source so far: the offset in the archive.
    offset: u64,
    /// Content of the current entry not yet handed out.
    left: u64,
    /// Padding after that content.
    padding: usize,
    global: Pax,
    limits: Limits,
    headers: u64,
    done: bool,
    /// What has been taken since it was last looked at, where somebody wants to know.
    recorded: Vec<u8>,
    recording: bool,
}

/// What the metadata headers before an entry said.
#[derive(Default)]
struct Pending {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    headers: u32,
    bytes: u64,
    at: u64,
}

impl<R: BufRead> TarReader<R> {
    /// Starts reading at the first header.
    pub fn new(source: R, limits: Limits) -> Self {
        Self {
            source,
            lent: 0,
            offset: 0,
            left: 0,
            padding: 0,
            global: Pax::default(),
            limits,
            headers: 0,
            done: false,
            recorded: Vec::new(),
            recording: false,
        }
    }

    /// Returns the next entry, or `None` at the end of the archive: two zero blocks, or the end of
    /// the stream where a header could begin.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_content()?;
        let mut pending = Pending {
            at: self.offset,
            ..Pending::default()
        };
        while !self.done {
            let at = self.offset;
            let Some(block) = self.header_block()? else {
                self.done = true;
                break;
            };
            self.headers += 1;
            if self.headers > self.limits.max_entries {
                return Err(limit("entries", self.limits.max_entries));
            }
            let header = Header::verified(&block).ok_or(TarError::Checksum { offset: at })?;
            if self.metadata(header, at, &mut pending)? {
                pending.headers += 1;
                if pending.headers > MAX_HEADERS {
                    return Err(pax("too many headers before one entry", at));
                }
            } else {
                return self.entry(header, at, pending).map(Some);
            }
        }
        if pending.pax.is_some() || pending.long_name.is_some() || pending.long_link.is_some() {
            return Err(pax("no entry follows", pending.at));
        }
        Ok(None)
    }

    /// Returns the next piece of the current entry's content; empty when there is no more.
    pub fn chunk(&mut self) -> Result<&[u8], TarError> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let available = self.fill()?;
        if available == 0 {
            return Err(TarError::Truncated {
                offset: self.offset,
            });
        }
        let take = usize::try_from(self.left).map_or(available, |left| left.min(available));
        self.left -= take as u64;
        self.take(take)
    }

    /// Reads what follows the archive to the end of the stream and returns how many bytes the
    /// stream had in all.
    pub fn finish(mut self) -> Result<u64, TarError> {
        self.skip_content()?;
        while self.pass()? > 0 {}
        Ok(self.offset)
    }

    /// Handles a header that only says something about what follows; false for a real entry.
    fn metadata(
        &mut self,
        header: Header<'_>,
        at: u64,
        pending: &mut Pending,
    ) -> Result<bool, TarError> {
        let flag = header.flag();
        if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
            return Ok(false);
        }
        let size = header.size().ok_or(TarError::Field {
            field: "size",
            offset: at,
        })?;
        pending.bytes = pending.bytes.saturating_add(size);
        if pending.bytes > self.limits.max_metadata {
            return Err(limit(
                "metadata bytes of one entry",
                self.limits.max_metadata,
            ));
        }
        let content = self.read_metadata(size)?;
        match flag {
            b'g' => self
                .global
                .parse_global(&content)
                .map_err(|problem| pax(problem, at))?,
            b'x' => {
                let parsed = Pax::parse(&content).map_err(|problem| pax(problem, at))?;
                if pending.pax.replace(parsed).is_some() {
                    return Err(pax("two extended headers for one entry", at));
                }
            }
            _ => {
                let slot = if flag == b'L' {
                    &mut pending.long_name
                } else {
                    &mut pending.long_link
                };
                if slot.replace(long_name(content, at)?).is_some() {
                    return Err(pax("two long names for one entry", at));
                }
            }
        }
        Ok(true)
    }

    fn entry(&mut self, header: Header<'_>, at: u64, pending: Pending) -> Result<Entry, TarError> {
        let field = |field| TarError::Field { field, offset: at };
        let pax = pending.pax.unwrap_or_default();
        let header_size = header.size().ok_or(field("size"))?;
        // The record always wins, whatever the header's own field says (CVE-2026-33055).
        let size = pax.size.unwrap_or(header_size);
        self.expect_content(size, at)?;

        let mut path = choose(pax.path, pending.long_name, at)?.unwrap_or_else(|| header.path());
        let link =
            choose(pax.link, pending.long_link, at)?.unwrap_or_else(|| header.link().to_vec());
        if let Some(name) = pax.sparse.name.clone() {
            path = name;
        }
        if path.len() > self.limits.max_path || link.len() > self.limits.max_path {
            return Err(limit("path bytes", self.limits.max_path as u64));
        }
        let mtime = match pax.mtime.or(self.global.mtime) {
            Some(mtime) => mtime,
            None => Time {
                seconds: header.mtime().ok_or(field("mtime"))?,
                nanoseconds: 0,
            },
        };
        let owner = |own: Option<u32>, global: Option<u32>, fixed: Option<u32>, name| {
            own.or(global).or(fixed).ok_or(field(name))
        };
        let meta = Meta {
            mode: header.mode().ok_or(field("mode"))?,
            uid: owner(pax.uid, self.global.uid, header.uid(), "owner")?,
            gid: owner(pax.gid, self.global.gid, header.gid(), "group")?,
            mtime,
            xattrs: pax.xattrs,
        };
        let kind = self.kind(header, at, &path, link, &pax.sparse)?;
        if size > 0 && !matches!(kind, Kind::File | Kind::Sparse { .. }) {
            // Some readers skip this content, others parse it as headers.
            return Err(field("size (an entry without content has one)"));
        }
        Ok(Entry {
            path,
            kind,
            meta,
            stored: self.left,
        })
    }

    fn kind(
        &mut self,
        header: Header<'_>,
        at: u64,
        path: &[u8],
        link: Vec<u8>,
        keys: &SparseKeys,
    ) -> Result<Kind, TarError> {
        let flag = header.flag();
        if !keys.is_empty() && !matches!(flag, 0 | b'0' | b'7') {
            return Err(TarError::Sparse {
                problem: "not a regular file",
                offset: at,
            });
        }
        let device = || {
            header.device().ok_or(TarError::Field {
                field: "device",
                offset: at,
            })
        };
        Ok(match flag {
            // Before POSIX a trailing slash was how a directory was told from a file.
            0 | b'0' if path.ends_with(b"/") && keys.is_empty() => Kind::Directory,
            0 | b'0' | b'7' if keys.is_empty() => Kind::File,
            0 | b'0' | b'7' => self.pax_sparse(keys, at)?,
            b'S' => self.gnu_sparse(header, at)?,
            b'1' => Kind::Hardlink(link),
            b'2' => Kind::Symlink(link),
            b'3' => device().map(|(major, minor)| Kind::Char { major, minor })?,
            b'4' => device().map(|(major, minor)| Kind::Block { major, minor })?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => {
                return Err(TarError::Type {
                    path: path.to_vec(),
                    flag,
                });
            }
        })
    }

    fn expect_content(&mut self, size: u64, at: u64) -> Result<(), TarError> {
        // Tar offsets are signed 64-bit numbers everywhere else.
        if size > i64::MAX.unsigned_abs() - BLOCK as u64 {
            return Err(TarError::Field {
                field: "size",
                offset: at,
            });
        }
        self.left = size;
        self.padding = padding(size);
        Ok(())
    }

    fn read_metadata(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        self.left = size;
        self.padding = padding(size);
        let mut content = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                break;
            }
            content.extend_from_slice(chunk);
        }
        self.skip_content()?;
        Ok(content)
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        while !self.chunk()?.is_empty() {}
        while self.padding > 0 {
            let take = self.padding.min(self.fill()?);
            if take == 0 {
                return Err(TarError::Truncated {
                    offset: self.offset,
                });
            }
            self.take(take)?;
            self.padding -= take;
        }
        Ok(())
    }

    /// Returns the next header block; `None` at the end of the archive.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        let at = self.offset;
        match self.block()? {
            None => Ok(None),
            Some(second) if second == [0; BLOCK] => Ok(None),
            // GNU tar goes on after a lone zero block, others stop.
            Some(_) => Err(TarError::Field {
                field: "zero block",
                offset: at,
            }),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let take = self.fill()?.min(BLOCK - filled);
            if take == 0 {
                break;
            }
            block[filled..filled + take].copy_from_slice(self.take(take)?);
            filled += take;
        }
        match filled {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(TarError::Truncated {
                offset: self.offset,
            }),
        }
    }

    /// Takes bytes that [`TarReader::fill`] has said to be there.
    fn take(&mut self, bytes: usize) -> Result<&[u8], TarError> {
        // They are in its buffer: it reads nothing.
        let taken = self.source.fill_buf().map_err(TarError::Read)?;
        let taken = &taken[..bytes];
        if self.recording {
            self.recorded.extend_from_slice(taken);
        }
        self.lent = bytes;
        self.offset += bytes as u64;
        Ok(taken)
    }

    /// Returns how many bytes are in the source's buffer; none at the end of the stream.
    fn fill(&mut self) -> Result<usize, TarError> {
        self.settle();
        loop {
            match self.source.fill_buf() {
                Ok(bytes) => return Ok(bytes.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
    }

    /// Lets the source give up what was handed out.
    fn settle(&mut self) {
        self.source.consume(std::mem::take(&mut self.lent));
    }
}

fn padding(size: u64) -> usize {
    // Below BLOCK, so it fits.
    usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0)
}

fn pax(problem: &'static str, offset: u64) -> TarError {
    TarError::Pax { problem, offset }
}

fn limit(what: &'static str, limit: u64) -> TarError {
    TarError::Limit { what, limit }
}
