//! The directories on the way to the current entry, open.
//!
//! Tars list a directory's files one after another, so the parent of an entry is nearly always
//! the parent of the one before. The chain from the root to that parent is kept open, keyed by
//! path; a new path keeps the levels it shares and opens the rest one component at a time with
//! `O_NOFOLLOW`. Only where a component is a symbolic link does the slow way run: the link is
//! followed as after a chroot, by `openat2(RESOLVE_IN_ROOT)`, or made by
//! [`lamina_fs::Root::create_dir_all_noting`] where it dangles (its target is in a lower layer).

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use lamina_fs::{PathError, Root};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::whiteout;

/// Open directories held at most; deeper ones are opened and not kept.
const DEPTH: usize = 128;

pub(super) struct Parents {
    root: Rc<OwnedFd>,
    /// The path the chain leads to.
    path: Vec<u8>,
    /// For each component of `path`, where it ends and its directory.
    chain: Vec<(usize, Rc<OwnedFd>)>,
}

impl Parents {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root: Rc::new(root),
            path: Vec::new(),
            chain: Vec::new(),
        }
    }

    /// The root, open for more than a path.
    pub(super) fn root(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.root, ".", flags, Mode::empty())
    }

    /// Opens a directory, making what is missing; `implied` hears of each one that was.
    pub(super) fn open(
        &mut self,
        path: &[u8],
        mut implied: impl FnMut(&[u8]),
    ) -> rustix::io::Result<Rc<OwnedFd>> {
        self.walk(path, Some(&mut implied))
    }

    /// Opens an existing directory and makes nothing.
    pub(super) fn open_existing(&mut self, path: &[u8]) -> rustix::io::Result<Rc<OwnedFd>> {
        self.walk(path, None)
    }

    fn walk(&mut self, path: &[u8], mut implied: Implied<'_>) -> rustix::io::Result<Rc<OwnedFd>> {
        self.keep_common(path);
        let mut at = self.chain.last().map_or(0, |(end, _)| *end);
        let mut fd = self.current();
        while at < path.len() {
            let start = if at == 0 { 0 } else { at + 1 };
            let end = path[start..]
                .iter()
                .position(|&b| b == b'/')
                .map_or(path.len(), |n| start + n);
            let next = match (open_directory(&fd, &path[start..end]), &mut implied) {
                (Err(Errno::NOENT), Some(implied)) => {
                    make(&fd, &path[start..end], || implied(&path[..end]))?
                }
                (Err(Errno::NOTDIR | Errno::LOOP), implied) => {
                    self.not_a_directory(&fd, &path[..end], start, implied)?
                }
                (other, _) => other?,
            };
            fd = Rc::new(next);
            if self.chain.len() < DEPTH {
                self.path.truncate(at);
                self.path.extend_from_slice(&path[at..end]);
                self.chain.push((end, Rc::clone(&fd)));
            }
            at = end;
        }
        Ok(fd)
    }

    /// Adds a directory just made or opened below the current parent to the chain: its own entries
    /// usually follow.
    pub(super) fn push(&mut self, path: &[u8], fd: OwnedFd) {
        let (parent, _) = crate::path::split(path);
        if self.path == parent && self.chain.len() < DEPTH {
            self.path = path.to_vec();
            self.chain.push((path.len(), Rc::new(fd)));
        }
    }

    /// Forgets everything: something that was there has been replaced.
    pub(super) fn forget(&mut self) {
        self.path.clear();
        self.chain.clear();
    }

    fn current(&self) -> Rc<OwnedFd> {
        Rc::clone(self.chain.last().map_or(&self.root, |(_, fd)| fd))
    }

    fn keep_common(&mut self, path: &[u8]) {
        while let Some((end, _)) = self.chain.last() {
            let shared = path.len() >= *end
                && path[..*end] == self.path[..*end]
                && (path.len() == *end || path[*end] == b'/');
            if shared {
                break;
            }
            self.chain.pop();
        }
        let end = self.chain.last().map_or(0, |(end, _)| *end);
        self.path.truncate(end);
    }

    /// The last component of `path`, which begins at `start`, exists and is no directory.
    fn not_a_directory(
        &self,
        parent: &OwnedFd,
        path: &[u8],
        start: usize,
        implied: &mut Implied<'_>,
    ) -> rustix::io::Result<OwnedFd> {
        let name = &path[start..];
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let errno = |error: PathError| error.errno().unwrap_or(Errno::IO);
        let root = || {
            self.root
                .try_clone()
                .map(Root::from_fd)
                .map_err(|_| Errno::MFILE)
        };
        let path = Path::new(OsStr::from_bytes(path));
        match implied {
            Some(implied) if whiteout::is_whiteout(&stat) => {
                // `.wh.a` and then `a/b`: the directory is new and hides the one below.
                rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
                let fd = make(parent, name, || implied(path.as_os_str().as_bytes()))?;
                whiteout::set_opaque(&fd)?;
                Ok(fd)
            }
            Some(implied) if link => {
                let mut made = Vec::new();
                let fd = root()?.create_dir_all_noting(path, 0o755, None, &mut made);
                made.iter()
                    .for_each(|path| implied(path.as_os_str().as_bytes()));
                fd.map_err(errno)
            }
            None if link => root()?
                .open(path, OFlags::PATH | OFlags::DIRECTORY)
                .map_err(errno),
            _ => Err(Errno::NOTDIR),
        }
    }
}

/// Who hears of directories that were made; nobody: none are.
type Implied<'i> = Option<&'i mut dyn FnMut(&[u8])>;

fn open_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn make(parent: &OwnedFd, name: &[u8], noted: impl FnOnce()) -> rustix::io::Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    noted();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    // Whatever the umask, and whatever a set-group-id parent hands down.
    rustix::fs::fchown(
        &fd,
        Some(rustix::fs::Uid::ROOT),
        Some(rustix::fs::Gid::ROOT),
    )?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755))?;
    Ok(fd)
}
