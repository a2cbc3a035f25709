//! What lies on a disk to a tar: one inode at a time, read without following or disturbing it.
//!
//! The trees are containers', so names are strangers' bytes: an inode is looked at by descriptor of
//! its directory and its own name, and only what is known to be a regular file is opened.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lamina_fs::{At, PathError, Root};
use lamina_types::ErrorKind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::apply::wanted;
use crate::tar::{Kind, Meta, SparsePart, TarWriter, Time, WriteError};

/// The most bytes the attributes' names, or one value, may have (the kernel's own limits).
const ATTRIBUTES: usize = 64 << 10;
/// Data regions of one file beyond which holes are written out as zeros.
const MOST_PARTS: usize = 1 << 16;

/// A tree could not be archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Something in the tree could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The archive could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl ArchiveError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Path(error) => error.kind(),
            Self::Write(error) => error.kind(),
        }
    }
}

/// Tells one inode with several names from others.
pub type LinkKey = (u64, u64);

/// Gives the content of a path, so many bytes of a file, to an archive's destination, which may take
/// it in a way of its own; returns whether it did.
pub type TakeContent<W> = fn(&mut W, &[u8], &File, u64) -> io::Result<bool>;

/// Writes inodes into a tar; an inode that was written before becomes a hard link to its first name.
#[derive(Debug)]
pub struct Archiver<W> {
    tar: TarWriter<W>,
    links: HashMap<LinkKey, Vec<u8>>,
    entries: u64,
    taking: Option<(Root, TakeContent<W>)>,
}

impl<W: Write> Archiver<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self {
            tar: TarWriter::new(out),
            links: HashMap::new(),
            entries: 0,
            taking: None,
        }
    }

    /// Offers the contents of files to the destination before they are read; the files are those of
    /// the same paths in `tree`, which need not be what is archived.
    #[must_use]
    pub(crate) fn offering(self, tree: Root, take: TakeContent<W>) -> Self {
        let taking = Some((tree, take));
        Self { taking, ..self }
    }

    /// Returns how many entries were written.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds the inode `name` of a directory as `path`, without what is in it. `link` tells which
    /// inode it is where that has several names. A socket is left out: a tar has no word for it;
    /// so is what has vanished. Returns what it is, if it was added.
    pub fn add(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &[u8],
        link: Option<LinkKey>,
    ) -> Result<Option<FileType>, ArchiveError> {
        let shown = || Path::new(OsStr::from_bytes(path)).to_owned();
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.at("stat", shown())?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut meta = meta_of(&stat);
        if let Some(key) = link
            && kind != FileType::Directory
            && let Some(first) = self.links.get(&key)
        {
            let target = first.clone();
            self.append(path, &Kind::Hardlink(target), &meta)?;
            return Ok(Some(kind));
        }
        meta.xattrs = attributes(parent, name).at("read the attributes of", shown())?;
        match kind {
            FileType::RegularFile => {
                if !self.file(parent, name, path, &mut meta)? {
                    return Ok(None);
                }
            }
            FileType::Directory => self.append(path, &Kind::Directory, &meta)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new());
                let target = target.at("read the link", shown())?;
                self.append(path, &Kind::Symlink(target.into_bytes()), &meta)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                let (major, minor) = (
                    rustix::fs::major(stat.st_rdev),
                    rustix::fs::minor(stat.st_rdev),
                );
                let device = match kind {
                    FileType::BlockDevice => Kind::Block { major, minor },
                    _ => Kind::Char { major, minor },
                };
                self.append(path, &device, &meta)?;
            }
            FileType::Fifo => self.append(path, &Kind::Fifo, &meta)?,
            FileType::Socket | FileType::Unknown => return Ok(None),
        }
        if let Some(key) = link {
            self.links.insert(key, path.to_vec());
        }
        Ok(Some(kind))
    }

    /// Adds an empty file that says `path` is gone, or anything else without an inode of its own.
    pub fn marker(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.append(path, &Kind::File, &Meta::default())
    }

    /// Ends the archive and gives the stream back, flushed.
    pub fn finish(self) -> Result<W, ArchiveError> {
        Ok(self.tar.finish()?)
    }

    fn append(&mut self, path: &[u8], kind: &Kind, meta: &Meta) -> Result<(), ArchiveError> {
        self.tar.append(path, kind, meta, 0, &mut io::empty())?;
        self.entries += 1;
        Ok(())
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &[u8],
        meta: &mut Meta,
    ) -> Result<bool, ArchiveError> {
        let shown = || Path::new(OsStr::from_bytes(path)).to_owned();
        // Not blocking, in case somebody has put a fifo in its place since.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            other => File::from(other.at("open", shown())?),
        };
        let stat = rustix::fs::fstat(&file).at("stat", shown())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let xattrs = std::mem::take(&mut meta.xattrs);
        *meta = Meta {
            xattrs,
            ..meta_of(&stat)
        };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        let parts = match blocks.saturating_mul(512) < size {
            true => parts(&file, size).at("find the holes of", shown())?,
            false => None,
        };
        match parts {
            None => {
                let taking = self.taking.as_ref();
                let offer = |out: &mut W| match taking {
                    Some((tree, take)) => offer(tree, *take, out, path, size),
                    None => Ok(false),
                };
                self.tar.file_taken(path, meta, size, offer, &mut &file)?;
            }
            Some(parts) => {
                let stored = parts.iter().map(|part| part.length).sum();
                let mut content = Parts {
                    file: &file,
                    parts: parts.clone(),
                    at: 0,
                };
                let kind = Kind::Sparse { size, parts };
                self.tar.append(path, &kind, meta, stored, &mut content)?;
            }
        }
        self.entries += 1;
        Ok(true)
    }
}

/// Offers a content to the destination as the file that it has in `tree`, where it has one of its
/// own: what only has other metadata there has its content elsewhere.
fn offer<W>(
    tree: &Root,
    take: TakeContent<W>,
    out: &mut W,
    path: &[u8],
    size: u64,
) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let Ok(file) = tree.open(OsStr::from_bytes(path), flags) else {
        return Ok(false);
    };
    let is_file =
        FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::RegularFile;
    if !is_file || is_metadata_only(&file) {
        return Ok(false);
    }
    take(out, path, &File::from(file), size)
}

/// Says whether overlayfs has only copied a file's metadata up.
fn is_metadata_only(file: &impl AsFd) -> bool {
    rustix::fs::fgetxattr(file, "trusted.overlay.metacopy", &mut [0; 0]).is_ok()
}

/// Returns the key of an inode that has several names, as long as it is no directory.
pub fn link_key(stat: &Stat) -> Option<LinkKey> {
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    (stat.st_nlink > 1 && !directory).then_some((stat.st_dev, stat.st_ino))
}

pub(crate) fn meta_of(stat: &Stat) -> Meta {
    Meta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        xattrs: Vec::new(),
    }
}

/// Reads the attributes that a layer may have, sorted. A label is the host's matter.
pub(crate) fn attributes(
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut path = format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    let mut names = vec![0_u8; ATTRIBUTES];
    let length = match rustix::fs::llistxattr(&path[..], &mut names[..]) {
        Err(Errno::OPNOTSUPP | Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    let mut value = vec![0_u8; if length > 0 { ATTRIBUTES } else { 0 }];
    for name in names[..length].split(|&b| b == 0).filter(|n| !n.is_empty()) {
        if !wanted(name) || name == b"security.selinux" {
            continue;
        }
        match rustix::fs::lgetxattr(&path[..], name, &mut value[..]) {
            Ok(length) => found.push((name.to_vec(), value[..length].to_vec())),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the regions of a file that have content; `None` where it is better written whole.
fn parts(file: &File, size: u64) -> rustix::io::Result<Option<Vec<SparsePart>>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            // Nothing but a hole to the end.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            other => other?,
        };
        if offset >= size {
            break;
        }
        let end = rustix::fs::seek(file, SeekFrom::Hole(offset))?.min(size);
        if end <= offset || parts.len() == MOST_PARTS {
            return Ok(None);
        }
        parts.push(SparsePart {
            offset,
            length: end - offset,
        });
        at = end;
    }
    rustix::fs::seek(file, SeekFrom::Start(0))?;
    let whole = matches!(parts[..], [part] if part.length == size);
    Ok((!whole).then_some(parts))
}

/// Reads the regions of a file one after the other.
struct Parts<'f> {
    file: &'f File,
    parts: Vec<SparsePart>,
    at: usize,
}

impl Read for Parts<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(part) = self.parts.get_mut(self.at) else {
            return Ok(0);
        };
        let most = usize::try_from(part.length).map_or(into.len(), |left| left.min(into.len()));
        let count = self.file.read_at(&mut into[..most], part.offset)?;
        part.offset += count as u64;
        part.length -= count as u64;
        if part.length == 0 {
            self.at += 1;
        }
        Ok(count)
    }
}
