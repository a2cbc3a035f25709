//! Copies a tree with everything that belongs to it: owners, modes, times, attributes, links.
//!
//! Used to fill a new volume with what the image has in its place, and to clone a volume. Both sides are descriptors, and
//! names are single components opened without following links, so nothing in the tree can lead the
//! copy elsewhere (CVE-2022-23648).
//!
//! One thread walks and makes directories, links and files with several names; the contents of
//! other files are copied by workers. A directory gets its attributes and times from whoever has
//! made the last thing in it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

/// The deepest tree that is copied; PATH_MAX allows no deeper path either.
const DEPTH: usize = 2048;
/// How many files wait for a worker at most; each holds its two directories open.
const WAITING: usize = 64;

/// Copies the contents of the directory `from` into the empty directory `to`, and its owner, mode
/// and times onto it. Blocks are shared where the filesystem can, and holes stay holes.
pub(crate) fn tree(
    from: impl AsFd,
    to: &Dir,
    workers: Option<NonZeroUsize>,
) -> Result<(), PathError> {
    let pair = Pair {
        stat: rustix::fs::fstat(&from).at("stat", to.path())?,
        from: (from.as_fd().try_clone_to_owned()).at("duplicate", to.path())?,
        to: to.as_fd().try_clone_to_owned().at("duplicate", to.path())?,
        path: PathBuf::new(),
    };
    let state = State::default();
    let walked = thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..workers.map_or(0, NonZeroUsize::get) {
            let (receiver, state) = (Arc::clone(&receiver), &state);
            scope.spawn(move || state.work(&receiver));
        }
        let mut copy = Copy {
            linked: HashMap::new(),
            root: to,
            state: &state,
            queue: workers.map(|_| sender),
        };
        copy.directory(Arc::new(pair), 0)
    });
    // What a worker met explains why the walk was given up.
    let failed = state.failed.into_inner().unwrap_or_default();
    failed.map_or(walked, Err)
}

/// A directory and its copy.
struct Pair {
    from: OwnedFd,
    to: OwnedFd,
    stat: Stat,
    path: PathBuf,
}

impl Pair {
    /// Ends the use of a directory in which nothing more is made by the caller; the last one
    /// gives it what it is to have.
    fn leave(self: Arc<Self>) -> Result<(), PathError> {
        let Some(pair) = Arc::into_inner(self) else {
            return Ok(());
        };
        attributes(pair.from.as_fd(), pair.to.as_fd()).at("copy attributes of", &pair.path)?;
        owner_mode_times(pair.to.as_fd(), &pair.stat).at("set the owner of", &pair.path)
    }
}

/// A file that waits to be copied.
struct Waiting {
    pair: Arc<Pair>,
    name: OsString,
    stat: Stat,
}

/// What the threads of one copy share.
#[derive(Default)]
struct State {
    stop: AtomicBool,
    failed: Mutex<Option<PathError>>,
}

impl State {
    fn work(&self, queue: &Mutex<Receiver<Waiting>>) {
        loop {
            let next = match queue.lock() {
                Ok(queue) => queue.recv(),
                Err(_) => return,
            };
            let Ok(one) = next else { return };
            // The queue is emptied to its end, or the walk would wait for ever.
            if self.stop.load(Ordering::Relaxed) {
                continue;
            }
            let path = one.pair.path.join(&one.name);
            let copied = regular(&one.pair.from, &one.pair.to, &one.name, &one.stat);
            let done = copied.at("copy", path).and_then(|()| one.pair.leave());
            if let Err(error) = done {
                self.stop.store(true, Ordering::Relaxed);
                if let Ok(mut failed) = self.failed.lock() {
                    failed.get_or_insert(error);
                }
            }
        }
    }
}

struct Copy<'a> {
    /// Where the first name of each file with several names went.
    linked: HashMap<(u64, u64), PathBuf>,
    root: &'a Dir,
    state: &'a State,
    /// Where files go that the walk does not copy itself.
    queue: Option<SyncSender<Waiting>>,
}

impl Copy<'_> {
    fn directory(&mut self, pair: Arc<Pair>, depth: usize) -> Result<(), PathError> {
        let at = &pair.path;
        if depth > DEPTH {
            return Err(Errno::NAMETOOLONG).at("copy", at);
        }
        let listed = lamina_fs::list(pair.from.as_fd()).at("list", at)?;
        for entry in listed {
            if self.state.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let path = at.join(&entry.name);
            let stat = rustix::fs::statat(&pair.from, &entry.name, AtFlags::SYMLINK_NOFOLLOW)
                .at("stat", &path)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let flags = OFlags::DIRECTORY;
                    let from = open(&pair.from, &entry.name, flags).at("open", &path)?;
                    rustix::fs::mkdirat(&pair.to, &entry.name, Mode::RWXU)
                        .at("create directory", &path)?;
                    let to = open(&pair.to, &entry.name, flags).at("open", &path)?;
                    let inner = Pair {
                        from,
                        to,
                        stat,
                        path,
                    };
                    self.directory(Arc::new(inner), depth + 1)?;
                }
                FileType::RegularFile if stat.st_nlink == 1 && self.queue.is_some() => {
                    let waiting = Waiting {
                        pair: Arc::clone(&pair),
                        name: entry.name,
                        stat,
                    };
                    if let Some(queue) = &self.queue {
                        // Nobody takes it where every worker has failed.
                        drop(queue.send(waiting));
                    }
                }
                _ => self.entry(&pair.from, &pair.to, &entry.name, &stat, &path)?,
            }
        }
        pair.leave()
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &OsStr,
        stat: &Stat,
        path: &Path,
    ) -> Result<(), PathError> {
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&key) {
                return rustix::fs::linkat(self.root, first, to, name, AtFlags::empty())
                    .at("link", path);
            }
            self.linked.insert(key, path.to_owned());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => regular(from, to, name, stat).at("copy", path),
            FileType::Symlink => symlink(from, to, name, stat).at("copy", path),
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                node(to, name, stat).at("copy", path)
            }
            // A socket belongs to the process that made it.
            _ => Ok(()),
        }
    }
}

fn open(dir: &OwnedFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(
        dir,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn regular(from: &OwnedFd, to: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let mut source = File::from(open(from, name, OFlags::RDONLY | OFlags::NONBLOCK)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut target = File::from(target);
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        content(&mut source, &mut target, stat)?;
    }
    attributes(source.as_fd(), target.as_fd())?;
    owner_mode_times(target.as_fd(), stat)
}

/// Copies what a file holds; the kernel does it, or shares the blocks where it can.
fn content(source: &mut File, target: &mut File, stat: &Stat) -> io::Result<()> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let stored = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    if stored >= size {
        io::copy(source, target)?;
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(&*source, SeekFrom::Data(at)) {
            Ok(data) => data,
            // A hole up to the end.
            Err(Errno::NXIO) => break,
            // One that does not know of holes has none.
            Err(Errno::INVAL) => at,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(&*source, SeekFrom::Hole(data)).unwrap_or(size);
        rustix::fs::seek(&*source, SeekFrom::Start(data))?;
        rustix::fs::seek(&*target, SeekFrom::Start(data))?;
        io::copy(&mut io::Read::take(&*source, end - data), target)?;
        at = end.max(data + 1);
    }
    target.set_len(size)
}

fn symlink(from: &OwnedFd, to: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let target = rustix::fs::readlinkat(from, name, Vec::new())?;
    rustix::fs::symlinkat(&target, to, name)?;
    let (uid, gid) = owner(stat);
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(to, name, Some(uid), Some(gid), nofollow)?;
    Ok(rustix::fs::utimensat(to, name, &times(stat), nofollow)?)
}

fn node(to: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
    let (uid, gid) = owner(stat);
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(to, name, Some(uid), Some(gid), nofollow)?;
    Ok(rustix::fs::utimensat(to, name, &times(stat), nofollow)?)
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, tv_nsec: u64| Timespec {
        tv_sec,
        tv_nsec: i64::try_from(tv_nsec).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// The owner first: chown(2) clears the set-user-id bits that chmod(2) then restores.
fn owner_mode_times(fd: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(rustix::fs::futimens(fd, &times(stat))?)
}

/// Copies extended attributes, but for overlayfs's own and the labels of the filesystem below.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = vec![0_u8; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut value = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        let private = name.is_empty()
            || name.starts_with(b"trusted.overlay.")
            || name.starts_with(b"user.overlay.")
            || name == b"security.selinux";
        if private {
            continue;
        }
        value.resize(64 << 10, 0);
        let name = OsStr::from_bytes(name);
        let size = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(to, name, &value[..size], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{FileExt as _, MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_copy_keeps_modes_links_and_times() {
        let from = tempfile::tempdir().unwrap();
        let make = |name: &str| File::create(from.path().join(name)).unwrap();
        std::fs::create_dir(from.path().join("dir")).unwrap();
        let file = make("dir/file");
        file.set_permissions(PermissionsExt::from_mode(0o4750))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        std::fs::hard_link(from.path().join("dir/file"), from.path().join("second")).unwrap();
        symlink("/etc/passwd", from.path().join("link")).unwrap();
        std::fs::set_permissions(from.path(), PermissionsExt::from_mode(0o1777)).unwrap();

        let sparse = make("sparse");
        sparse.set_len(8 << 20).unwrap();
        sparse.write_all_at(b"end", 5 << 20).unwrap();
        for number in 0..200 {
            let mut file = make(&format!("dir/{number}"));
            file.write_all(&vec![b'x'; number * 100]).unwrap();
        }
        let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        let dir = File::open(from.path().join("dir")).unwrap();
        dir.set_times(times).unwrap();

        let source = Dir::open(from.path()).unwrap();
        let workers = [None, NonZeroUsize::new(3)];
        for workers in workers {
            let to = tempfile::tempdir().unwrap();
            let target = Dir::open(to.path()).unwrap();
            tree(source.as_fd(), &target, workers).unwrap();
            let meta = |name: &str| std::fs::symlink_metadata(to.path().join(name)).unwrap();
            assert_eq!(meta("dir/file").mode() & 0o7777, 0o4750);
            assert_eq!(meta("dir/file").mtime(), 0);
            assert_eq!(meta("dir").mtime(), 0);
            assert_eq!(meta("dir/file").ino(), meta("second").ino());
            assert_eq!(meta("dir/150").len(), 15000);
            assert_eq!(
                std::fs::read_link(to.path().join("link")).unwrap(),
                Path::new("/etc/passwd")
            );
            assert_eq!(meta("").mode() & 0o7777, 0o1777);
            assert!(meta("sparse").blocks() * 512 < 1 << 20);
            let read = |dir: &Path| std::fs::read(dir.join("sparse")).unwrap();
            assert_eq!(read(to.path()), read(from.path()));
        }
    }

    #[test]
    fn a_copy_that_fails_ends_and_says_why() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for number in 0..500 {
            File::create(from.path().join(format!("{number}"))).unwrap();
        }
        // What is in the way.
        File::create(to.path().join("250")).unwrap();
        let target = Dir::open(to.path()).unwrap();
        let source = Dir::open(from.path()).unwrap();
        for workers in [None, NonZeroUsize::new(2)] {
            let error = tree(source.as_fd(), &target, workers).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EXIST));
            for number in 0..500 {
                if number != 250 {
                    let _ = std::fs::remove_file(to.path().join(format!("{number}")));
                }
            }
        }
    }
}
