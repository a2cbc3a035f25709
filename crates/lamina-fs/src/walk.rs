//! Making what is missing of a path in an untrusted tree.
//!
//! `openat2` resolves but does not create, so the missing part is walked here one component at a
//! time with `O_NOFOLLOW`. The descriptors of all directories on the way are kept: `..` goes back
//! to the one we came from and never asks the kernel for a parent, which a rename could have moved
//! out of the tree (CVE-2024-45310 is the race this avoids).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::Root;

/// The kernel's own bound on symbolic links in one path.
const MAX_LINKS: usize = 40;
/// More directories than this in one path are refused; each holds a descriptor.
const MAX_DEPTH: usize = 256;

/// What the last component is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Directory,
    File,
}

/// Opens (`O_PATH`) `path`, making what is missing; `made` gets the real paths of what was.
pub(crate) fn create(
    root: &Root,
    path: &Path,
    last: Last,
    mode: u32,
    owner: Option<(u32, u32)>,
    made: &mut Vec<PathBuf>,
) -> rustix::io::Result<OwnedFd> {
    let mut names = PathBuf::new();
    let mut todo: VecDeque<OsString> = VecDeque::new();
    push_front(&mut todo, path.as_os_str().as_bytes());
    let mut stack: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            stack.pop();
            names.pop();
            continue;
        }
        let at = stack.last().map_or(root.fd.as_fd(), AsFd::as_fd);
        let kind = if todo.is_empty() {
            last
        } else {
            Last::Directory
        };
        let fd = match open_one(at, &name) {
            Err(Errno::NOENT) => {
                let fd = make_one(at, &name, kind, mode, owner)?;
                made.push(names.join(&name));
                fd
            }
            other => other?,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&fd, "", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    stack.clear();
                    names.clear();
                }
                push_front(&mut todo, &target);
            }
            FileType::Directory => {
                stack.push(fd);
                names.push(&name);
                if stack.len() > MAX_DEPTH {
                    return Err(Errno::NAMETOOLONG);
                }
            }
            _ if todo.is_empty() && last == Last::File => return Ok(fd),
            _ => return Err(Errno::NOTDIR),
        }
    }
    match stack.pop() {
        Some(fd) => Ok(fd),
        None => rustix::fs::openat(root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()),
    }
}

fn push_front(todo: &mut VecDeque<OsString>, path: &[u8]) {
    for part in path.split(|&b| b == b'/').rev() {
        if !part.is_empty() && part != b"." {
            todo.push_front(OsString::from_vec(part.to_vec()));
        }
    }
}

fn open_one(at: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn make_one(
    at: BorrowedFd<'_>,
    name: &OsStr,
    kind: Last,
    mode: u32,
    owner: Option<(u32, u32)>,
) -> rustix::io::Result<OwnedFd> {
    let fresh = match kind {
        Last::Directory => rustix::fs::mkdirat(at, name, Mode::from_raw_mode(mode)),
        Last::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(at, name, flags | OFlags::WRONLY, Mode::from_raw_mode(0o644))
                .map(drop)
        }
    };
    match fresh {
        Ok(()) => {}
        // Somebody else was quicker: take theirs, whatever it is.
        Err(Errno::EXIST) => return open_one(at, name),
        Err(error) => return Err(error),
    }
    let fd = open_one(at, name)?;
    // If the name was exchanged since, only a directory or file we can see is changed, and by
    // descriptor: `fd` is inside the tree.
    if let Some((user, group)) = owner {
        let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        rustix::fs::chownat(&fd, "", user, group, AtFlags::EMPTY_PATH)?;
    }
    if kind == Last::Directory {
        exact_mode(&fd, mode)?;
    }
    Ok(fd)
}

/// Sets the mode of a directory held by `O_PATH` only when the umask took bits away.
fn exact_mode(fd: &OwnedFd, mode: u32) -> rustix::io::Result<()> {
    let stat = rustix::fs::fstat(fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || stat.st_mode & 0o7777 == mode
    {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::openat(fd, ".", flags, Mode::empty())?;
    rustix::fs::fchmod(open, Mode::from_raw_mode(mode))
}
