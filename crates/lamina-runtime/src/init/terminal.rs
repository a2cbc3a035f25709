//! The terminal: a pty of the container's own devpts, and /dev/console.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_fs::Root;
use rustix::fs::{
    CWD, FileType, FsWord, Gid, Mode, OFlags, ResolveFlags, Uid, fchown, fstat, fstatfs, major,
    openat, openat2,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::mounts::attach;
use super::report::{Failure, Step};
use crate::plan::process::ProcessPlan;

/// The major numbers of Unix98 pty slaves (Documentation/admin-guide/devices.txt).
const PTY_SLAVES: std::ops::RangeInclusive<u32> = 136..=143;

/// DEVPTS_SUPER_MAGIC of linux/magic.h.
const DEVPTS: FsWord = 0x1cd1;

/// Both ends of the terminal.
pub(super) struct Console {
    /// For the monitor.
    pub(super) master: OwnedFd,
    /// For the program.
    pub(super) slave: OwnedFd,
}

/// Opens a pty and binds it on /dev/console.
///
/// The slave is taken from the master by ioctl, not by its path, which the image could have put
/// something on (CVE-2025-52565).
pub(super) fn open(
    root: &Root,
    devpts: Option<OwnedFd>,
    process: &ProcessPlan,
) -> Result<Console, Failure> {
    let devpts = devpts.ok_or_else(|| {
        Failure::invalid("a terminal needs a devpts mount on /dev/pts".to_owned())
    })?;
    let console = pair(&devpts, process)?;
    bind_console(root, &console.slave)?;
    Ok(console)
}

/// Opens a pty of a container that this process has joined.
///
/// /dev/pts is the container's to change by now, so it must be a devpts, and its multiplexer the
/// file of that name in it, not something mounted over it.
pub(super) fn open_joined(process: &ProcessPlan) -> Result<Console, Failure> {
    let act = || "open /dev/pts of the container".to_owned();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS;
    let devpts = openat2(CWD, "/dev/pts", flags, Mode::empty(), resolve).step(act)?;
    if fstatfs(&devpts).step(act)?.f_type != DEVPTS {
        return Err(Failure::invalid(
            "/dev/pts of the container is no devpts".to_owned(),
        ));
    }
    pair(&devpts, process)
}

fn pair(devpts: &OwnedFd, process: &ProcessPlan) -> Result<Console, Failure> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let master = openat2(devpts, "ptmx", flags, Mode::empty(), resolve)
        .step(|| "open the pty multiplexer".to_owned())?;
    unlockpt(&master).step(|| "unlock the pty".to_owned())?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).step(|| "open the pty".to_owned())?;
    let stat = fstat(&slave).step(|| "look at the pty".to_owned())?;
    let is_pty = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && PTY_SLAVES.contains(&major(stat.st_rdev));
    if !is_pty {
        return Err(Failure::invalid("the pty is not a terminal".to_owned()));
    }
    // The one device whose owner changes: it was made a moment ago, for this user.
    let owner = Uid::from_raw(process.uid);
    fchown(&slave, Some(owner), None::<Gid>).step(|| "give the pty to the user".to_owned())?;
    if let Some((rows, columns)) = process.size {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).step(|| "set the size of the pty".to_owned())?;
    }
    Ok(Console { master, slave })
}

fn bind_console(root: &Root, slave: &OwnedFd) -> Result<(), Failure> {
    let act = || "make /dev/console".to_owned();
    let dev = root.create_dir_all("/dev", 0o755, None).step(act)?;
    let make = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(&dev, "console", make, Mode::from_raw_mode(0o620)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Failure::new(&act(), errno)),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(&dev, "console", flags, Mode::empty()).step(act)?;
    let stat = fstat(&target).step(act)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    // An image may have the file or the device; a link or a FIFO it must not (CVE-2026-88264).
    if !matches!(kind, FileType::RegularFile | FileType::CharacterDevice) {
        return Err(Failure::invalid(
            "/dev/console is in the way: it is not a device".to_owned(),
        ));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(slave.as_fd(), "", flags).step(|| "bind the pty".to_owned())?;
    attach(&tree, &target, Path::new("/dev/console"))
}
