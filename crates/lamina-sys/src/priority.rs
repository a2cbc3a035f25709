//! Running when nothing else wants to: for work that nobody waits for.

use rustix::io::Errno;

use crate::checked;

/// `ioprio_set(2)`: the argument is a process, zero the calling one.
const WHO_PROCESS: libc::c_long = 1;
/// The idle class, in the upper bits of a priority (linux/ioprio.h).
const CLASS_IDLE: libc::c_long = 3 << 13;

/// Gives the calling thread, and those it will make, the processor and the disk only when nobody
/// else wants them.
///
/// Schedulers of disks that know no classes ignore the second half.
pub fn become_idle() -> Result<(), Errno> {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` outlives the call, which only reads it; zero is the calling thread.
    let scheduled = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const param) };
    checked(libc::c_long::from(scheduled))?;
    // SAFETY: three integers, no memory of ours.
    let ioprio = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0_i32, CLASS_IDLE) };
    checked(ioprio)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_becomes_idle() {
        std::thread::spawn(|| {
            become_idle().unwrap();
            // SAFETY: no memory of ours; zero is the calling thread.
            let policy = unsafe { libc::sched_getscheduler(0) };
            assert_eq!(policy, libc::SCHED_IDLE);
        })
        .join()
        .unwrap();
    }
}
