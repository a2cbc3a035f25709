//! Signal masks, dispositions, and signals read from a descriptor.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::{checked, last_errno};

/// A set of signals by number, 1 to 64.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries((1..=64).filter(|n| self.contains(*n)))
            .finish()
    }
}

impl SignalSet {
    /// Returns the set of no signal.
    pub fn empty() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: initialised by the call above.
        Self(unsafe { set.assume_init() })
    }

    /// Returns the set of all signals.
    pub fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the whole set it is given.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: initialised by the call above.
        Self(unsafe { set.assume_init() })
    }

    /// Returns the set of the given signals; numbers that are no signal are left out.
    pub fn of(signals: &[i32]) -> Self {
        let mut set = Self::empty();
        for signal in signals {
            // SAFETY: the set is initialised; a bad number is refused with EINVAL.
            unsafe { libc::sigaddset(&raw mut set.0, *signal) };
        }
        set
    }

    /// Returns whether `signal` is in the set.
    pub fn contains(&self, signal: i32) -> bool {
        // SAFETY: the set is initialised; a bad number gives -1.
        unsafe { libc::sigismember(&raw const self.0, signal) == 1 }
    }
}

/// Blocks exactly the signals of `set`, and returns what was blocked before.
pub fn set_blocked(set: &SignalSet) -> Result<SignalSet, Errno> {
    change(libc::SIG_SETMASK, set)
}

/// Blocks the signals of `set` too, and returns what was blocked before.
pub fn block(set: &SignalSet) -> Result<SignalSet, Errno> {
    change(libc::SIG_BLOCK, set)
}

fn change(how: libc::c_int, set: &SignalSet) -> Result<SignalSet, Errno> {
    let mut old = SignalSet::empty();
    // SAFETY: both sets are initialised and outlive the call.
    let result = unsafe { libc::pthread_sigmask(how, &raw const set.0, &raw mut old.0) };
    match result {
        0 => Ok(old),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// Sets every signal that is ignored or handled back to its default action.
///
/// exec resets handlers but keeps what is ignored: Rust ignores SIGPIPE, which a program in a
/// container must not inherit.
pub fn reset_dispositions() {
    // struct kernel_sigaction of every architecture is zero words for SIG_DFL without flags; the
    // raw call also reaches the two signals glibc keeps for itself, which a parent may ignore.
    let default = [0_u64; 8];
    for signal in 1..=64_i32 {
        // SAFETY: the kernel reads a sigaction of zeros, shorter than `default`, with a signal set
        // of 8 bytes; SIG_DFL runs no code of ours. SIGKILL and SIGSTOP are refused with EINVAL.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8_usize,
            )
        };
    }
}

/// Sets SIGPIPE alone back to its default action, where nothing else is known to be ignored.
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Signals as records read from a descriptor (signalfd(2)).
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

/// One signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The signal's number.
    pub signal: i32,
    /// Who sent it, in the reader's pid namespace; 0 for the kernel or a foreign namespace.
    pub sender: u32,
}

impl SignalFd {
    /// Opens a non-blocking, close-on-exec descriptor for `set`, which must be blocked as well.
    pub fn new(set: &SignalSet) -> Result<Self, Errno> {
        // SAFETY: the set is initialised and only read.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        checked(libc::c_long::from(fd))?;
        // SAFETY: a new descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Returns the next signal, or `None` where none is pending.
    pub fn read(&self) -> Result<Option<Arrived>, Errno> {
        // The leading fields of struct signalfd_siginfo, 128 bytes: signo, errno, code, pid.
        let mut record = [0_u8; 128];
        match rustix::io::read(&self.0, &mut record) {
            Ok(128) => Ok(Some(Arrived {
                signal: i32::from_ne_bytes([record[0], record[1], record[2], record[3]]),
                sender: u32::from_ne_bytes([record[12], record[13], record[14], record[15]]),
            })),
            Ok(_) => Err(Errno::IO),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends `signal`, real-time signals included, to every process in the caller's reach but itself
/// and pid 1 (kill(2) with pid -1): what a reaper forwards.
pub fn kill_all_others(signal: i32) -> Result<(), Errno> {
    // SAFETY: no pointers.
    if unsafe { libc::kill(-1, signal) } == -1 {
        return Err(last_errno());
    }
    Ok(())
}

/// Sends `signal`, real-time signals included, to the process of `pid`.
pub fn kill(pid: rustix::process::Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: no pointers.
    if unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) } == -1 {
        return Err(last_errno());
    }
    Ok(())
}

/// Sends `signal`, real-time signals included, to the process of `pidfd`.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // SAFETY: a null siginfo asks for the one of kill(2); no other pointer is passed.
    checked(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })?;
    Ok(())
}
