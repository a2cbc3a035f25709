//! One entry to one inode.
//!
//! Order per inode: create → owner → mode (chown clears set-id bits) → attributes (chown and
//! write clear file capabilities) → times.

use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};

use lamina_fs::Dir;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::attributes::{link_fd, named_meta, open_directory, reopen, set_fd_time, set_xattrs};
use super::{ApplyError, Layer, Refusal, whiteout};
use crate::TarError;
use crate::path::split;
use crate::split::INLINE_LIMIT;
use crate::tar::{Entry, Kind, SparsePart, TarReader};

impl Layer<'_> {
    pub(super) fn directory(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
        name: &[u8],
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        let at = |error| ApplyError::at(path, "create directory", error);
        let make =
            || rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(entry.meta.mode & 0o1777));
        let mut opaque = false;
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat =
                    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    // `.wh.a` and then a directory `a`: new, hiding the one below.
                    opaque = whiteout::is_whiteout(&stat);
                    self.replace(parent, path, name)?;
                    make().map_err(at)?;
                }
            }
            Err(error) => return Err(at(error)),
        }
        let fd = open_directory(parent, name).map_err(at)?;
        self.directory_meta(&fd, entry)?;
        if opaque {
            whiteout::set_opaque(&fd).map_err(at)?;
        }
        self.implied.remove(path);
        if self.times.insert(path.to_vec(), entry.meta.mtime).is_none() {
            self.times_bytes += path.len() as u64;
            let limit = self.limits.max_directory_bytes;
            if self.times_bytes > limit {
                return Err(TarError::Limit {
                    what: "bytes of directory names",
                    limit,
                }
                .into());
            }
        }
        self.parents.push(path, fd);
        Ok(())
    }

    pub(super) fn directory_meta(&self, fd: &OwnedFd, entry: &Entry) -> Result<(), ApplyError> {
        let meta = &entry.meta;
        let at = |act| move |error| ApplyError::at(&entry.path, act, error);
        let (user, group) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        rustix::fs::fchown(fd, Some(user), Some(group)).map_err(at("set the owner of"))?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(meta.mode)).map_err(at("set the mode of"))?;
        set_xattrs(fd, meta).map_err(at("set the attributes of"))
    }

    pub(super) fn file<R: BufRead>(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        reader: &mut TarReader<R>,
        entry: &Entry,
        sparse: Option<(u64, &[SparsePart])>,
    ) -> Result<(), ApplyError> {
        let size = sparse.map_or(entry.stored, |(size, _)| size);
        if size > self.limits.max_file_size {
            let limit = self.limits.max_file_size;
            return Err(TarError::Limit {
                what: "bytes of one file",
                limit,
            }
            .into());
        }
        self.count(entry.stored)?;
        let referred = sparse.is_some() || entry.stored > INLINE_LIMIT;
        let meta = &entry.meta;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(meta.mode & 0o777);
        let fd = self.fresh(parent, path, name, "create", || {
            rustix::fs::openat(parent, name, flags, mode)
        })?;
        match sparse {
            None => write_all(&fd, path, reader)?,
            Some((size, parts)) => write_parts(&fd, path, reader, size, parts)?,
        }
        let at = |act| move |error| ApplyError::at(path, act, error);
        if referred && self.replaced.is_some() {
            let stat = rustix::fs::fstat(&fd).map_err(at("stat"))?;
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
            self.applied.blocks.push(blocks);
        }
        let (user, group) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        rustix::fs::fchown(&fd, Some(user), Some(group)).map_err(at("set the owner of"))?;
        if meta.mode & (self.umask | 0o7000) != 0 {
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(meta.mode))
                .map_err(at("set the mode of"))?;
        }
        set_xattrs(&fd, meta).map_err(at("set the attributes of"))?;
        set_fd_time(fd.as_fd(), meta.mtime).map_err(at("set the time of"))
    }

    pub(super) fn symlink(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        to: &[u8],
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        if to.is_empty() {
            return Err(ApplyError::refused(&entry.path, Refusal::EmptyTarget));
        }
        if to.contains(&0) {
            return Err(ApplyError::refused(&entry.path, Refusal::BadName));
        }
        self.fresh(parent, path, name, "create symbolic link", || {
            rustix::fs::symlinkat(to, parent, name)
        })?;
        named_meta(parent, name, path, &entry.meta, false)
    }

    pub(super) fn special(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        let (kind, device) = match entry.kind {
            Kind::Char { major, minor } => {
                (FileType::CharacterDevice, rustix::fs::makedev(major, minor))
            }
            Kind::Block { major, minor } => {
                (FileType::BlockDevice, rustix::fs::makedev(major, minor))
            }
            _ => (FileType::Fifo, 0),
        };
        let mode = Mode::from_raw_mode(entry.meta.mode & 0o777);
        self.fresh(parent, path, name, "create", || {
            rustix::fs::mknodat(parent, name, kind, mode, device)
        })?;
        named_meta(parent, name, path, &entry.meta, true)
    }

    /// The target is resolved as every other path in the layer, and linked without following it if
    /// it is a symbolic link itself (CVE-2026-50163: a target validated as one path and linked as
    /// another).
    pub(super) fn hardlink(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        to: &[u8],
        entry: &Entry,
    ) -> Result<(), ApplyError> {
        let refused = |refusal| ApplyError::refused(&entry.path, refusal);
        let to = self.clean(to, &entry.path)?;
        if to.is_empty() || to == path {
            return Err(refused(Refusal::BadTarget));
        }
        let (to_parent, to_name) = split(&to);
        let target = self.links.open_existing(to_parent).and_then(|to_parent| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&*to_parent, to_name, flags, Mode::empty())
        });
        let target = target.map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => refused(Refusal::MissingTarget),
            error => ApplyError::at(path, "open the target of", error),
        })?;
        let stat = rustix::fs::fstat(&target).map_err(|e| ApplyError::at(path, "stat", e))?;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if directory || whiteout::is_whiteout(&stat) {
            return Err(refused(Refusal::BadTarget));
        }
        self.fresh(parent, path, name, "link", || {
            link_fd(&target, parent, name)
        })
    }

    /// Makes a name; what is there already gives way, as in Docker.
    fn fresh<T>(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
        name: &[u8],
        act: &'static str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, ApplyError> {
        let made = match make() {
            Err(Errno::EXIST) => {
                self.replace(parent, path, name)?;
                make()
            }
            made => made,
        };
        made.map_err(|error| ApplyError::at(path, act, error))
    }

    /// Removes what an earlier entry of this layer (or a whiteout) put at `path`.
    fn replace(&mut self, parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<(), ApplyError> {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        self.parents.forget();
        self.links.forget();
        let below = |known: &[u8]| {
            known
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        self.times.retain(|known, _| !below(known));
        self.implied.retain(|known| !below(known));
        if let Some(replaced) = &mut self.replaced {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| ApplyError::at(path, "replace", e))?;
            if !whiteout::is_whiteout(&stat) {
                replaced.count += 1;
                let number = replaced.count.to_string();
                return rustix::fs::renameat(parent, name, &replaced.to, number)
                    .map_err(|e| ApplyError::at(path, "replace", e));
            }
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            other => return other.map_err(|e| ApplyError::at(path, "replace", e)),
        }
        let parent = reopen(parent).map_err(|e| ApplyError::at(path, "replace", e))?;
        Dir::from_fd(parent, "")
            .remove_tree(OsStr::from_bytes(name))
            .map_err(|error| ApplyError::Io {
                act: "replace",
                path: path.to_vec(),
                source: error.first.source,
            })
    }

    fn count(&mut self, bytes: u64) -> Result<(), ApplyError> {
        self.applied.bytes = self.applied.bytes.saturating_add(bytes);
        let limit = self.limits.max_bytes;
        if self.applied.bytes > limit {
            return Err(TarError::Limit {
                what: "content bytes",
                limit,
            }
            .into());
        }
        Ok(())
    }
}

pub(crate) fn write_all<R: BufRead>(
    fd: &OwnedFd,
    path: &[u8],
    reader: &mut TarReader<R>,
) -> Result<(), ApplyError> {
    loop {
        let mut chunk = reader.chunk()?;
        if chunk.is_empty() {
            return Ok(());
        }
        while !chunk.is_empty() {
            match rustix::io::write(fd, chunk) {
                Ok(n) => chunk = &chunk[n..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(ApplyError::at(path, "write", error)),
            }
        }
    }
}

/// Writes the regions where they belong; what is between them stays a hole.
pub(crate) fn write_parts<R: BufRead>(
    fd: &OwnedFd,
    path: &[u8],
    reader: &mut TarReader<R>,
    size: u64,
    parts: &[SparsePart],
) -> Result<(), ApplyError> {
    rustix::fs::ftruncate(fd, size).map_err(|e| ApplyError::at(path, "set the size of", e))?;
    let mut parts = parts.iter();
    let (mut at, mut left) = (0, 0);
    loop {
        let mut chunk = reader.chunk()?;
        if chunk.is_empty() {
            return Ok(());
        }
        while !chunk.is_empty() {
            if left == 0 {
                // The reader has checked that the regions add up to the content.
                let Some(part) = parts.next() else {
                    return Ok(());
                };
                (at, left) = (part.offset, part.length);
                continue;
            }
            let take = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
            match rustix::io::pwrite(fd, &chunk[..take], at) {
                Ok(n) => {
                    chunk = &chunk[n..];
                    at += n as u64;
                    left -= n as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(ApplyError::at(path, "write", error)),
            }
        }
    }
}
