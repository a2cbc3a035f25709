//! An init that is cloned before its bundle is there.
//!
//! Nearly every container gets the same namespaces, and making them, with the clone, is the longest
//! step of a start that needs to know nothing. Whoever waits for a bundle takes it meanwhile; init
//! leaves its parent behind, and then reads the bundle by itself, while the parent reads it too and
//! makes what is the parent's to make.
//!
//! It does not fit every container. One with other namespaces, on another view of the host's
//! mounts, or of a machine with cgroup2 only, where a process is born into its cgroup, is cloned
//! when its bundle is known.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use lamina_sys::clone::{CloneRequest, Cloned, clone3};
use lamina_types::explain::Explainer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::UnshareFlags;

use crate::begun::Begun;
use crate::channel;
use crate::create::{CreateError, failed};
use crate::init;
use crate::init::orders::Order;
use crate::placement::Placed;
use crate::plan::namespaces::{NamespacePlan, as_unshare};

/// The namespaces it has.
pub(crate) const NAMESPACES: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWPID)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWNET);

/// An init process without a bundle. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Newborn {
    begun: Begun,
    /// The caller's mount table, which says whether it has changed since the clone.
    mounts: OwnedFd,
    placed: Option<Placed>,
}

impl Newborn {
    /// Clones it; its bundle will be at `bundle`.
    pub(crate) fn clone(
        bundle: &Path,
        explain_pipe: Option<BorrowedFd<'_>>,
        explain: &mut Explainer,
    ) -> Result<Self, CreateError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mounts = openat(CWD, c"/proc/self/mounts", flags, Mode::empty())
            .map_err(failed("open /proc/self/mounts"))?;
        let (ours, theirs) =
            channel::pair().map_err(failed("make the channel to the init process"))?;
        let request = CloneRequest {
            namespaces: u64::from(NAMESPACES.bits()),
            ..CloneRequest::default()
        };
        let begun = Instant::now();
        match clone3(&request).map_err(failed("clone the init process"))? {
            Cloned::Child => init::newborn::main(bundle, theirs, explain_pipe),
            Cloned::Parent { pid, pidfd } => {
                let why =
                    "a new process in namespaces of its own, made while its bundle is written";
                explain.report("clone", why, as_unshare(NAMESPACES), begun.elapsed());
                Ok(Self {
                    begun: Begun {
                        pid,
                        pidfd: rustix::io::fcntl_dupfd_cloexec(&pidfd, 3).unwrap_or(pidfd),
                        channel: ours,
                        cgroup: None,
                    },
                    mounts,
                    placed: None,
                })
            }
        }
    }

    /// Has it read its bundle, on `idle_cpu` if that is one.
    pub(crate) fn read_bundle(&mut self, idle_cpu: usize) -> Result<(), CreateError> {
        self.placed = Placed::on(idle_cpu, self.begun.pid);
        self.begun.order(&Order::Read)
    }

    /// Returns it as the init process of a container with these namespaces, or ends it: nothing is
    /// left of it then.
    pub(crate) fn fitting(self, plan: &NamespacePlan) -> Option<(Begun, Option<Placed>)> {
        if !is_for(plan) || has_changed(&self.mounts) {
            self.begun.abandon();
            return None;
        }
        Some((self.begun, self.placed))
    }
}

/// Returns whether these are the namespaces that a newborn has.
pub(crate) fn is_for(plan: &NamespacePlan) -> bool {
    plan.create == NAMESPACES && plan.join.is_empty() && plan.join_pid.is_none()
}

/// Returns whether something was mounted or unmounted since a mount table was opened: a bind source
/// may be below, and where mounts are private the new process does not see it.
fn has_changed(mounts: &OwnedFd) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(mounts.as_fd(), PollFlags::PRI)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    !matches!(poll(&mut watched, Some(&now)), Ok(0))
}
