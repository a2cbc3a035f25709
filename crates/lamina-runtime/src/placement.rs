//! Where init begins: beside its parent, not behind it.
//!
//! A new process is queued on its parent's CPU, and in a virtual machine it stays there even where
//! another CPU is idle: one that has halted counts as taken away by the host, so that neither a
//! fork nor a wake-up is placed on it. Init would then begin only when its parent has made the
//! cgroups and the filter and waits for it: half a millisecond, a tenth of a start. Whoever asks
//! for the container sleeps by then, so its CPU is known to be free.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// A child that was put on a CPU; it may run anywhere again when this value goes.
#[derive(Debug)]
pub(crate) struct Placed {
    child: Pid,
    anywhere: CpuSet,
}

impl Placed {
    /// Puts a child of the caller's on `cpu`, unless that is the caller's own. `None` where the
    /// kernel knows better: the CPU is offline, or not for this process.
    pub(crate) fn on(cpu: usize, child: Pid) -> Option<Self> {
        if cpu >= CpuSet::MAX_CPU || cpu == sched_getcpu() {
            return None;
        }
        let anywhere = sched_getaffinity(None).ok()?;
        let mut there = CpuSet::new();
        there.set(cpu);
        let is_allowed = anywhere.is_set(cpu) && sched_setaffinity(Some(child), &there).is_ok();
        is_allowed.then_some(Self { child, anywhere })
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // The child is not reaped yet, so the number is still its own; if it has ended, so be it.
        let _ = sched_setaffinity(Some(self.child), &self.anywhere);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_is_moved_and_let_go() {
        let here = sched_getaffinity(None).unwrap();
        let others = (0..CpuSet::MAX_CPU).filter(|cpu| here.is_set(*cpu));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let mut moved = 0;
        for cpu in others {
            // The test itself may be moved at any time, so that a CPU was its own.
            if let Some(placed) = Placed::on(cpu, pid) {
                moved += 1;
                let there = sched_getaffinity(Some(pid)).unwrap();
                assert_eq!((there.count(), there.is_set(cpu)), (1, true));
                drop(placed);
                assert_eq!(sched_getaffinity(Some(pid)).unwrap(), here);
            }
        }
        assert!(Placed::on(CpuSet::MAX_CPU, pid).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if moved == 0 {
            eprintln!("SKIP: one CPU");
        }
    }
}
