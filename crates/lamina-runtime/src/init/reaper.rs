//! `--init`: a reaper as pid 1, the program as its child.
//!
//! The reaper is this process, which goes on without an exec: it forwards signals, reaps what is
//! orphaned, and ends as the program ended. What a container can open as /proc/1/exe is then this
//! engine's binary, through the read-only detached clone its monitor was executed from, so it can
//! be read, which gives away nothing secret, and never written (CVE-2019-5736). It runs without
//! capabilities but CAP_KILL, with every descriptor closed, unreadable by a tracer.

use lamina_sys::clone::{CloneRequest, Cloned, clone3};
use lamina_sys::fds;
use lamina_sys::process::exit_now;
use lamina_sys::signals::{self, SignalFd, SignalSet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, set_child_subreaper, setsid, wait};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::report::{Failure, Step};

const SIGCHLD: i32 = 17;
/// Signals that are about the reaper itself, or cannot be blocked, are not forwarded.
const NOT_FORWARDED: [i32; 8] = [4, 5, 7, 8, 9, 11, 19, 31];

/// Splits in two: the caller returns as the child, which becomes the program; the parent stays
/// behind as the reaper and never returns.
pub(super) fn stay_behind() -> Result<(), Failure> {
    let forwarded: Vec<i32> = (1..=64).filter(|n| !NOT_FORWARDED.contains(n)).collect();
    let set = SignalSet::of(&forwarded);
    signals::set_blocked(&set).step(|| "block signals for the reaper".to_owned())?;
    match clone3(&CloneRequest::default()).step(|| "start the program's process".to_owned())? {
        Cloned::Child => {
            signals::set_blocked(&SignalSet::empty()).step(|| "unblock signals".to_owned())?;
            // A session of its own, so that it can take the terminal.
            setsid().step(|| "make a session".to_owned())?;
            Ok(())
        }
        Cloned::Parent { pid, .. } => reap(pid, &set),
    }
}

fn reap(program: Pid, set: &SignalSet) -> ! {
    let _ = rustix::thread::set_name(c"init");
    // In the host's pid namespace orphans would go to the host's init.
    let _ = set_child_subreaper(Some(program));
    let kill = CapabilitySets {
        effective: CapabilitySet::KILL,
        permitted: CapabilitySet::KILL,
        inheritable: CapabilitySet::empty(),
    };
    let nothing = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    if set_capabilities(None, kill).is_err() && set_capabilities(None, nothing).is_err() {
        exit_now(125);
    }
    // The standard streams as well: a reader of the program's output must see its end.
    if fds::close_all_but(0, &[]).is_err() {
        exit_now(125);
    }
    let Ok(arrivals) = SignalFd::new(set) else {
        exit_now(125);
    };
    loop {
        let _ = poll(&mut [PollFd::new(&arrivals, PollFlags::IN)], None);
        while let Ok(Some(arrived)) = arrivals.read() {
            if arrived.signal == SIGCHLD {
                collect(program);
            } else {
                let _ = signals::kill(program, arrived.signal);
            }
        }
    }
}

/// Reaps all that have ended, and ends where the program has.
fn collect(program: Pid) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid != program {
            continue;
        }
        let code = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => continue,
        };
        exit_now(u8::try_from(code).unwrap_or(255));
    }
}
