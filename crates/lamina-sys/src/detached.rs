//! Starting a program that is nobody's child, from a file no container can write to.
//!
//! ```text
//! caller ──clone(VM|VFORK)──► middle: setsid ──clone(VM|VFORK)──► execveat(program, AT_EMPTY_PATH)
//!    ▲ waits for the middle ◄── _exit
//! ```
//! Both clones share the caller's memory and suspend it, as posix_spawn(3) does, so that no page
//! table is copied however large the caller is, and it works in a process with threads. The new
//! program has its own session and no parent of ours, so a signal to the caller's process group or
//! a stopped caller does not touch it.

use std::ffi::{CStr, c_char, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::fds::cloexec_from;
use crate::signals::{SignalSet, set_blocked};
use crate::{checked, last_errno};

/// A program to start detached.
#[derive(Debug, Clone, Copy)]
pub struct Detached<'a> {
    /// The open program file; `O_PATH` is enough.
    pub program: BorrowedFd<'a>,
    /// Its arguments, the name first.
    pub argv: &'a [&'a CStr],
    /// Its environment.
    pub environment: &'a [&'a CStr],
    /// The only descriptors it gets, as 3, 4, 5, …; 0, 1 and 2 are `/dev/null`.
    pub descriptors: &'a [BorrowedFd<'a>],
}

/// What the children need, prepared before the clone: they must not allocate.
struct Plan {
    program: RawFd,
    null: RawFd,
    argv: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    descriptors: Vec<RawFd>,
    error: Option<Errno>,
}

/// Descriptors are first moved above this number, so that none is overwritten before it is placed.
const SCRATCH: RawFd = 128;
const STACK: usize = 64 << 10;

/// Starts the program in its own session, as a child of the nearest reaper, with every signal
/// blocked and no other descriptor than those given.
///
/// Returns when the program has been executed; an error says that nothing was started.
pub fn spawn(what: &Detached<'_>) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = openat(CWD, c"/dev/null", flags, Mode::empty())?;
    let mut plan = Plan {
        program: what.program.as_raw_fd(),
        null: null.as_raw_fd(),
        argv: pointers(what.argv),
        environment: pointers(what.environment),
        descriptors: what.descriptors.iter().map(AsRawFd::as_raw_fd).collect(),
        error: None,
    };
    // A handler that ran in a child would run in our memory.
    let before = set_blocked(&SignalSet::all())?;
    let result = run_middle(&mut plan);
    set_blocked(&before)?;
    result?;
    plan.error.map_or(Ok(()), Err)
}

fn pointers(strings: &[&CStr]) -> Vec<*const c_char> {
    let ends = std::iter::once(std::ptr::null());
    strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
}

fn run_middle(plan: &mut Plan) -> Result<(), Errno> {
    let (alive, held) = pipe_with(PipeFlags::CLOEXEC)?;
    // Lives until both children are done with it.
    let mut stack = Vec::<u128>::with_capacity(STACK / size_of::<u128>());
    let child = clone_vfork(
        middle,
        &mut stack,
        std::ptr::from_mut(plan).cast(),
        libc::SIGCHLD,
    )?;
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable; the pid is that of our own child.
        let waited = unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) };
        if waited >= 0 {
            if libc::WIFSIGNALED(status) {
                // Killed, it no longer stands between us and its child, which may still be running
                // on our memory: that has the pipe open until it executes the program or ends.
                drop(held);
                while rustix::io::read(&alive, &mut [0_u8; 1]) == Err(Errno::INTR) {}
            }
            return Ok(());
        }
        match last_errno() {
            Errno::INTR => {}
            // SIGCHLD is ignored in this process, so the kernel reaped it for us.
            Errno::CHILD => return Ok(()),
            error => return Err(error),
        }
    }
}

/// Runs `function` in a child that shares our memory, and returns when it has exited or executed.
fn clone_vfork(
    function: extern "C" fn(*mut c_void) -> i32,
    stack: &mut Vec<u128>,
    argument: *mut c_void,
    signal: i32,
) -> Result<libc::pid_t, Errno> {
    // SAFETY: the result is one past the end of the allocation, aligned to 16 bytes.
    let top = unsafe { stack.as_mut_ptr().add(stack.capacity()) };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | signal;
    // SAFETY: the child runs on a stack of its own, which the caller keeps until the child has
    // been waited for. CLONE_VFORK suspends this thread until the child has exited or executed
    // another program. Until then the child only makes system calls and writes to `*argument`,
    // which this thread does not touch meanwhile.
    let pid = unsafe { libc::clone(function, top.cast(), flags, argument) };
    checked(libc::c_long::from(pid))?;
    Ok(pid)
}

extern "C" fn middle(argument: *mut c_void) -> i32 {
    // SAFETY: `run_middle` passes a valid Plan that its thread does not touch while we run.
    let plan = unsafe { &mut *argument.cast::<Plan>() };
    // SAFETY: no argument; it cannot fail in a process that was just cloned.
    unsafe { libc::setsid() };
    if let Err(error) = clone_vfork_on_stack(plan) {
        plan.error = Some(error);
    }
    // SAFETY: ends this child without running the caller's exit handlers.
    unsafe { libc::_exit(0) }
}

/// The second clone, with its stack inside the first child's, because that must not allocate.
fn clone_vfork_on_stack(plan: &mut Plan) -> Result<(), Errno> {
    const WORDS: usize = (STACK / 4) / size_of::<u128>();
    let mut stack = std::mem::MaybeUninit::<[u128; WORDS]>::uninit();
    // SAFETY: one past the end of the array, aligned to 16 bytes.
    let top = unsafe { stack.as_mut_ptr().cast::<u128>().add(WORDS) };
    let argument: *mut c_void = std::ptr::from_mut(plan).cast();
    // SAFETY: as in `clone_vfork`; the array outlives the child because CLONE_VFORK suspends us.
    let pid = unsafe {
        libc::clone(
            execute,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK,
            argument,
        )
    };
    checked(libc::c_long::from(pid)).map(drop)
}

extern "C" fn execute(argument: *mut c_void) -> i32 {
    // SAFETY: as in `middle`, which is suspended while we run.
    let plan = unsafe { &mut *argument.cast::<Plan>() };
    plan.error = Some(match place_descriptors(plan) {
        Err(error) => error,
        Ok(program) => {
            // SAFETY: both arrays end with a null pointer and outlive the call; the empty path
            // with AT_EMPTY_PATH names the descriptor itself. It only returns on failure.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    program,
                    c"".as_ptr(),
                    plan.argv.as_ptr(),
                    plan.environment.as_ptr(),
                    libc::AT_EMPTY_PATH,
                );
            }
            last_errno()
        }
    });
    // SAFETY: ends this child without running the caller's exit handlers.
    unsafe { libc::_exit(127) }
}

/// Puts the descriptors at their numbers and marks all others close-on-exec. Our descriptor table
/// is a copy, so the caller's is not touched.
fn place_descriptors(plan: &mut Plan) -> Result<RawFd, Errno> {
    let program = move_up(plan.program)?;
    for fd in &mut plan.descriptors {
        *fd = move_up(*fd)?;
    }
    for standard in 0..3 {
        place(plan.null, standard)?;
    }
    let mut next = 3;
    for &fd in &plan.descriptors {
        place(fd, next)?;
        next += 1;
    }
    cloexec_from(next)?;
    Ok(program)
}

fn move_up(fd: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: takes numbers only.
    let moved = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, SCRATCH) };
    checked(libc::c_long::from(moved))?;
    Ok(moved)
}

fn place(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: takes numbers only; the table is this child's own copy.
    let result = unsafe { libc::dup2(from, to) };
    checked(libc::c_long::from(result)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn a_detached_program_gets_its_descriptors_and_no_parent_of_ours() {
        let program = File::open("/bin/busybox").or_else(|_| File::open("/bin/sh"));
        let program = program.expect("a shell");
        let (mut read, write) = std::io::pipe().expect("pipe");
        let script =
            c"exec >&3; echo $0 $$ $(cut -d' ' -f4,6 /proc/$$/stat); exec ls /proc/self/fd";
        spawn(&Detached {
            program: program.as_fd(),
            argv: &[c"sh", c"-c", script, c"name"],
            environment: &[c"PATH=/usr/bin:/bin"],
            descriptors: &[write.as_fd()],
        })
        .expect("spawn");
        drop(write);
        let mut text = String::new();
        read.read_to_string(&mut text).expect("read");
        let fields: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(fields[0], "name");
        assert_ne!(fields[2], std::process::id().to_string(), "not our child");
        assert_ne!(
            fields[1], fields[3],
            "in the middle's session, not its leader"
        );
        // The fourth is the directory being listed.
        assert_eq!(fields[4..], ["0", "1", "2", "3", "4"], "nothing else");
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_an_error() {
        let file = File::open("/etc/passwd").expect("open");
        let error = spawn(&Detached {
            program: file.as_fd(),
            argv: &[c"x"],
            environment: &[],
            descriptors: &[],
        })
        .expect_err("not executable");
        assert!(matches!(error, Errno::ACCESS | Errno::NOEXEC));
    }
}
