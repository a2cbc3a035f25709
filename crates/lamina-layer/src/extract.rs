//! A plain tar into a tree that is in use: what `cp` does. No whiteouts, nothing is special.
//!
//! The tree may be a running container's, whose processes change it meanwhile, and the tar may be
//! anybody's: every entry's directory is resolved inside the tree by the kernel, and what is made
//! is made and given its metadata by name in that directory, without following a link.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lamina_fs::{At, PathError, Root};
use lamina_types::ErrorKind;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::apply::{ApplyError, named_meta, set_time, write_all, write_parts};
use crate::limits::Limits;
use crate::path::{Shown, clean_path, split};
use crate::tar::{Entry, Kind, TarError, TarReader, Time};

/// A tar could not be extracted; what came before is there.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive is damaged.
    #[error("read the archive")]
    Tar(#[from] TarError),
    /// An entry's name leads out of the directory.
    #[error("{} leads out of the archive", Shown(path))]
    Escapes {
        /// The name.
        path: Vec<u8>,
    },
    /// A directory stands where something else is to be.
    #[error("cannot overwrite directory {} with non-directory", Shown(path))]
    OverDirectory {
        /// The entry.
        path: Vec<u8>,
    },
    /// Something else stands where a directory is to be.
    #[error("cannot overwrite non-directory {} with directory", Shown(path))]
    OverOther {
        /// The entry.
        path: Vec<u8>,
    },
    /// Something is mounted where something else is to be.
    #[error("unlinkat {}: device or resource busy", Shown(path))]
    Busy {
        /// The entry.
        path: Vec<u8>,
    },
    /// A path cannot be worked on.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file cannot be made or written.
    #[error(transparent)]
    Entry(#[from] ApplyError),
}

impl ExtractError {
    /// Returns the class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tar(error) => error.kind(),
            Self::Escapes { .. } | Self::OverDirectory { .. } | Self::OverOther { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::Busy { .. } => ErrorKind::FailedPrecondition,
            Self::Path(error) => error.kind(),
            Self::Entry(error) => error.kind(),
        }
    }
}

/// Extracts a tar below the directory `base` of a tree, with `owner` (user, group) in the place of
/// what the archive says, if given. Returns how many bytes of content there were.
pub fn extract(
    tar: impl Read,
    root: &Root,
    base: &Path,
    owner: Option<(u32, u32)>,
) -> Result<u64, ExtractError> {
    extract_with(tar, root, base, owner, false)
}

/// The same for a directory that is the archive's own: it gets the owner, mode and times of the
/// entry `./`, if there is one.
pub fn extract_whole(tar: impl Read, root: &Root, base: &Path) -> Result<u64, ExtractError> {
    extract_with(tar, root, base, None, true)
}

fn extract_with(
    tar: impl Read,
    root: &Root,
    base: &Path,
    owner: Option<(u32, u32)>,
    whole: bool,
) -> Result<u64, ExtractError> {
    let mut reader = TarReader::new(BufReader::with_capacity(1 << 18, tar), Limits::default());
    let mut extraction = Extraction {
        root,
        base,
        whole,
        times: Vec::new(),
        bytes: 0,
    };
    while let Some(mut entry) = reader.next_entry()? {
        if let Some((user, group)) = owner {
            (entry.meta.uid, entry.meta.gid) = (user, group);
        }
        extraction.entry(&mut reader, &entry)?;
    }
    extraction.finish();
    Ok(extraction.bytes)
}

struct Extraction<'a> {
    root: &'a Root,
    base: &'a Path,
    /// Whether the directory itself is given what the archive says of it.
    whole: bool,
    /// Times of directories, which are set when nothing is made in them any more.
    times: Vec<(PathBuf, Time)>,
    bytes: u64,
}

impl Extraction<'_> {
    fn entry<R: BufRead>(
        &mut self,
        reader: &mut TarReader<R>,
        entry: &Entry,
    ) -> Result<(), ExtractError> {
        let escapes = || ExtractError::Escapes {
            path: entry.path.clone(),
        };
        let path = clean_path(&entry.path).ok_or_else(escapes)?;
        if path.is_empty() {
            // The directory itself, which is there.
            if self.whole && entry.kind == Kind::Directory {
                let directory = self.directory(b"")?;
                named_meta(&directory, b".", b".", &entry.meta, true)?;
                self.times.push((PathBuf::new(), entry.meta.mtime));
            }
            return Ok(());
        }
        let (above, name) = split(&path);
        let parent = self.directory(above)?;
        let at = |act| move |errno| ApplyError::at(&path_of(above, name), act, errno);
        if entry.kind == Kind::Directory {
            self.make_directory(&parent, name, &path)?;
        } else {
            clear(&parent, name, &path).map_err(|error| self.below_base(error))?;
        }
        let raw = |mode: u32| Mode::from_raw_mode(mode);
        match &entry.kind {
            Kind::Directory => {}
            Kind::File | Kind::Sparse { .. } => {
                write_file(&parent, name, &path, reader, &entry.kind)?;
                self.bytes += entry.stored;
            }
            Kind::Symlink(target) => {
                rustix::fs::symlinkat(&target[..], &parent, name).map_err(at("create"))?;
            }
            Kind::Hardlink(target) => {
                let target = clean_path(target).ok_or_else(escapes)?;
                let (above, first) = split(&target);
                let directory = self.directory(above)?;
                let flags = AtFlags::empty();
                let linked = rustix::fs::linkat(directory, first, &parent, name, flags);
                // It has its metadata from its first name.
                return Ok(linked.map_err(at("link"))?);
            }
            Kind::Char { major, minor } | Kind::Block { major, minor } => {
                let kind = match entry.kind {
                    Kind::Block { .. } => FileType::BlockDevice,
                    _ => FileType::CharacterDevice,
                };
                let device = rustix::fs::makedev(*major, *minor);
                rustix::fs::mknodat(&parent, name, kind, raw(0o600), device)
                    .map_err(at("create"))?;
            }
            Kind::Fifo => {
                rustix::fs::mknodat(&parent, name, FileType::Fifo, raw(0o600), 0)
                    .map_err(at("create"))?;
            }
        }
        let link = matches!(entry.kind, Kind::Symlink(_));
        named_meta(&parent, name, &path, &entry.meta, !link)?;
        if entry.kind == Kind::Directory {
            let path = PathBuf::from(OsStr::from_bytes(&path));
            self.times.push((path, entry.meta.mtime));
        }
        Ok(())
    }

    /// What is in the way is named from the root of the tree, as Docker does.
    fn below_base(&self, error: ExtractError) -> ExtractError {
        match error {
            ExtractError::Busy { path } => ExtractError::Busy {
                path: self
                    .base
                    .join(OsStr::from_bytes(&path))
                    .into_os_string()
                    .into_vec(),
            },
            other => other,
        }
    }

    /// Opens a directory of the tree, making it where the archive does not mention it.
    fn directory(&self, path: &[u8]) -> Result<OwnedFd, ExtractError> {
        let path = self.base.join(OsStr::from_bytes(path));
        Ok(self.root.create_dir_all(path, 0o755, None)?)
    }

    fn make_directory(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), ExtractError> {
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => match kind_of(parent, name) {
                Some(FileType::Directory) => Ok(()),
                _ => Err(ExtractError::OverOther {
                    path: path.to_vec(),
                }),
            },
            Err(errno) => Err(ApplyError::at(path, "create directory", errno).into()),
        }
    }

    /// Sets the times of directories; one that has vanished has none.
    fn finish(&mut self) {
        for (path, time) in self.times.drain(..).rev() {
            if let Ok((parent, name)) = self.root.open_parent(self.base.join(path)) {
                let _ = set_time(parent.as_fd(), name.as_bytes(), time);
            }
        }
    }
}

/// Makes a file, which only its owner can open until it has its own mode.
fn write_file<R: BufRead>(
    parent: &OwnedFd,
    name: &[u8],
    path: &[u8],
    reader: &mut TarReader<R>,
    kind: &Kind,
) -> Result<(), ApplyError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(0o600);
    let file = rustix::fs::openat(parent, name, flags | OFlags::CLOEXEC, mode)
        .map_err(|errno| ApplyError::at(path, "create", errno))?;
    match kind {
        Kind::Sparse { size, parts } => write_parts(&file, path, reader, *size, parts),
        _ => write_all(&file, path, reader),
    }
}

/// Takes away what stands where something new is to be made.
fn clear(parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), ExtractError> {
    if kind_of(parent, name) == Some(FileType::Directory) {
        return Err(ExtractError::OverDirectory {
            path: path.to_vec(),
        });
    }
    let busy = || ExtractError::Busy {
        path: path.to_vec(),
    };
    if is_mounted_on(parent, name) {
        return Err(busy());
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::BUSY) => Err(busy()),
        Err(errno) => Err(errno).at("replace", Path::new(OsStr::from_bytes(path)))?,
    }
}

/// Says whether something is mounted there. The kernel refuses to unlink such a name in the mount
/// namespace of whoever asks; in another's it unlinks it, and the mount goes with the name.
fn is_mounted_on(parent: &OwnedFd, name: &[u8]) -> bool {
    let (flags, mask) = (AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE);
    rustix::fs::statx(parent, name, flags, mask)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn kind_of(parent: &OwnedFd, name: &[u8]) -> Option<FileType> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn path_of(above: &[u8], name: &[u8]) -> Vec<u8> {
    match above {
        [] => name.to_vec(),
        above => [above, b"/", name].concat(),
    }
}
