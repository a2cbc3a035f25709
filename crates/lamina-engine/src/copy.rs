//! Copies a tree with everything that belongs to it: owners, modes, times, attributes, links.
//!
//! Used to fill a new volume with what the image has in its place. Both sides are descriptors, and
//! names are single components opened without following links, so nothing in the tree can lead the
//! copy elsewhere (CVE-2022-23648).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

/// The deepest tree that is copied; PATH_MAX allows no deeper path either.
const DEPTH: usize = 2048;

/// Copies the contents of the directory `from` into the empty directory `to`, and its owner, mode
/// and times onto it.
pub(crate) fn tree(from: impl AsFd, to: &Dir) -> Result<(), PathError> {
    let mut copy = Copy {
        linked: HashMap::new(),
        root: to,
    };
    let from = from
        .as_fd()
        .try_clone_to_owned()
        .at("duplicate", to.path())?;
    let here = to.as_fd().try_clone_to_owned().at("duplicate", to.path())?;
    copy.directory(&from, &here, Path::new(""), 0)
}

struct Copy<'a> {
    /// Where the first name of each file with several names went.
    linked: HashMap<(u64, u64), PathBuf>,
    root: &'a Dir,
}

impl Copy<'_> {
    fn directory(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        at: &Path,
        depth: usize,
    ) -> Result<(), PathError> {
        if depth > DEPTH {
            return Err(Errno::NAMETOOLONG).at("copy", at);
        }
        let stat = rustix::fs::fstat(from).at("stat", at)?;
        let listed = Dir::from_fd(from.try_clone().at("duplicate", at)?, at);
        for entry in listed.entries()? {
            let path = at.join(&entry.name);
            let stat = rustix::fs::statat(from, &entry.name, AtFlags::SYMLINK_NOFOLLOW)
                .at("stat", &path)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = open(from, &entry.name, flags).at("open", &path)?;
                rustix::fs::mkdirat(to, &entry.name, Mode::RWXU).at("create directory", &path)?;
                let made = open(to, &entry.name, flags).at("open", &path)?;
                self.directory(&inner, &made, &path, depth + 1)?;
            } else {
                self.entry(from, to, &entry.name, &stat, &path)?;
            }
        }
        attributes(from.as_fd(), to.as_fd()).at("copy attributes of", at)?;
        owner_mode_times(to.as_fd(), &stat).at("set the owner of", at)
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
    // The kernel copies, or shares the blocks where it can.
    io::copy(&mut source, &mut target)?;
    attributes(source.as_fd(), target.as_fd())?;
    owner_mode_times(target.as_fd(), stat)
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_copy_keeps_modes_links_and_times() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let make = |name: &str| File::create(from.path().join(name)).unwrap();
        std::fs::create_dir(from.path().join("dir")).unwrap();
        let file = make("dir/file");
        file.set_permissions(PermissionsExt::from_mode(0o4750))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        std::fs::hard_link(from.path().join("dir/file"), from.path().join("second")).unwrap();
        symlink("/etc/passwd", from.path().join("link")).unwrap();
        std::fs::set_permissions(from.path(), PermissionsExt::from_mode(0o1777)).unwrap();

        let source = Dir::open(from.path()).unwrap();
        tree(source.as_fd(), &Dir::open(to.path()).unwrap()).unwrap();

        let meta = |name: &str| std::fs::symlink_metadata(to.path().join(name)).unwrap();
        assert_eq!(meta("dir/file").mode() & 0o7777, 0o4750);
        assert_eq!(meta("dir/file").mtime(), 0);
        assert_eq!(meta("dir/file").ino(), meta("second").ino());
        assert_eq!(
            std::fs::read_link(to.path().join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert_eq!(meta("").mode() & 0o7777, 0o1777);
    }
}
