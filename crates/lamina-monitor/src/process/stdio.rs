//! The program's stdin, stdout and stderr, both ends of each.
//!
//! stdout and stderr are FIFOs in the bundle that the container's side holds open for reading too:
//! when the monitor is killed, writers find a full pipe, not a broken one, and a new monitor opens
//! them by name.

use std::os::fd::OwnedFd;

use lamina_fs::{At, Dir, PathError};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, mkfifoat, openat, unlinkat,
};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::log::Stream;

/// How much a program may write before anybody reads.
pub(super) const PIPE_SIZE: usize = 1 << 20;

/// The FIFOs' names in the bundle.
const FIFOS: [(&str, Stream); 2] = [("stdout", Stream::Stdout), ("stderr", Stream::Stderr)];

/// What a program writes to that writes to what somebody else has open: stdout and stderr.
pub(super) type Streams = [OwnedFd; 2];

/// The ends a program gets.
#[derive(Debug)]
pub(super) struct Theirs {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// The ends the monitor keeps.
#[derive(Debug, Default)]
pub(super) struct Ours {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) outputs: Vec<Output>,
}

/// Something the program's output is read from.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pub(super) stream: Stream,
    /// Set when nobody can write to it any more.
    pub(super) at_end: bool,
}

/// Makes pipes for a program that runs as `owner`.
pub(super) fn pipes(
    bundle: &Dir,
    owner: (u32, u32),
    stdin_open: bool,
) -> Result<(Theirs, Ours), PathError> {
    let (stdin, our_stdin) = stdin(bundle, owner, stdin_open)?;
    let [(stdout, first), (stderr, second)] = [
        fifo(bundle, FIFOS[0], owner)?,
        fifo(bundle, FIFOS[1], owner)?,
    ];
    let theirs = Theirs {
        stdin,
        stdout,
        stderr,
    };
    let ours = Ours {
        stdin: our_stdin,
        outputs: vec![first, second],
    };
    Ok((theirs, ours))
}

/// Hands a program what somebody else has open, or `/dev/null` if that has gone: nothing it writes
/// comes by here.
pub(super) fn passed(
    bundle: &Dir,
    owner: (u32, u32),
    stdin_open: bool,
    streams: Option<&Streams>,
) -> Result<(Theirs, Ours), PathError> {
    let (stdin, our_stdin) = stdin(bundle, owner, stdin_open)?;
    let [stdout, stderr] = match streams {
        Some([stdout, stderr]) => [stdout.try_clone(), stderr.try_clone()],
        None => [(); 2].map(|()| null(OFlags::WRONLY).map_err(Into::into)),
    };
    let path = || bundle.path().join(FIFOS[0].0);
    let theirs = Theirs {
        stdin,
        stdout: stdout.at("hand over", path())?,
        stderr: stderr.at("hand over", path())?,
    };
    let ours = Ours {
        stdin: our_stdin,
        outputs: Vec::new(),
    };
    Ok((theirs, ours))
}

fn null(mode: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, c"/dev/null", mode | OFlags::CLOEXEC, Mode::empty())
}

/// Opens the pipes of a program that another monitor has begun, as far as they are there: a
/// terminal has gone with that monitor.
pub(super) fn reopen(bundle: &Dir) -> Vec<Output> {
    let reopened = FIFOS.into_iter().filter_map(|(name, stream)| {
        let fd = open_ours(bundle, name).ok()?;
        let kind = FileType::from_raw_mode(fstat(&fd).ok()?.st_mode);
        (kind == FileType::Fifo).then_some(Output {
            fd,
            stream,
            at_end: false,
        })
    });
    reopened.collect()
}

fn open_ours(bundle: &Dir, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::NONBLOCK;
    openat(bundle, name, flags, Mode::empty())
}

fn stdin(
    bundle: &Dir,
    owner: (u32, u32),
    is_open: bool,
) -> Result<(OwnedFd, Option<OwnedFd>), PathError> {
    if !is_open {
        let null = null(OFlags::RDONLY).at("open", "/dev/null")?;
        return Ok((null, None));
    }
    let path = || bundle.path().join("stdin");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).at("make a pipe for", path())?;
    rustix::io::ioctl_fionbio(&write, true).at("make a pipe for", path())?;
    give(&read, owner).at("change the owner of", path())?;
    Ok((read, Some(write)))
}

fn fifo(
    bundle: &Dir,
    (name, stream): (&str, Stream),
    owner: (u32, u32),
) -> Result<(OwnedFd, Output), PathError> {
    let path = || bundle.path().join(name);
    let mode = Mode::RUSR | Mode::WUSR;
    match mkfifoat(bundle, name, mode) {
        // Of a former run.
        Err(Errno::EXIST) => {
            unlinkat(bundle, name, AtFlags::empty()).at("remove", path())?;
            mkfifoat(bundle, name, mode)
        }
        other => other,
    }
    .at("make", path())?;
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let both = openat(bundle, name, flags | OFlags::RDWR, Mode::empty()).at("open", path())?;
    let ours = open_ours(bundle, name).at("open", path())?;
    // Refused past a limit per user; the default size works too.
    let _ = fcntl_setpipe_size(&both, PIPE_SIZE);
    // Otherwise opening /dev/stdout is refused to a program that is not root.
    give(&both, owner).at("change the owner of", path())?;
    let output = Output {
        fd: ours,
        stream,
        at_end: false,
    };
    Ok((both, output))
}

fn give(fd: &OwnedFd, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}
