//! Between the clone and the moment when init is set up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_sys::signals;
use lamina_types::explain::Explainer;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::cgroup::Cgroup;
use crate::create::{CreateError, Created, failed};
use crate::init::orders::Order;
use crate::init::report::{self, Report};

/// A container whose init process sets itself up.
///
/// Dropped, it ends: its init process finds the channel closed. Only [`Begun::ready`] reaps it
/// where it fails.
#[derive(Debug)]
pub struct Begun {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: OwnedFd,
    pub(crate) cgroup: Option<Cgroup>,
}

impl Begun {
    /// The init process, in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The same process.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Lets the program be executed as soon as all is set up: [`start`](crate::start()) is not to
    /// be called. For a request with [`crate::Start::Ordered`].
    pub fn start(&self) -> Result<(), CreateError> {
        self.order(&Order::Start)
    }

    /// Waits until the init process is set up, or says why it cannot be.
    pub fn ready(self, explain: &mut Explainer) -> Result<Created, CreateError> {
        match ready(&self.channel, explain) {
            Ok(terminal) => Ok(Created {
                pid: self.pid,
                pidfd: self.pidfd,
                terminal,
                errors: self.channel,
                cgroup: self.cgroup,
            }),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    pub(crate) fn order(&self, order: &Order) -> Result<(), CreateError> {
        match order.send(self.channel.as_fd()) {
            // It has ended, and why is still to be read.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            other => other.map_err(failed("order the init process")),
        }
    }

    /// Ends it: nothing is left.
    pub(crate) fn abandon(self) {
        // 9 is SIGKILL. It may be gone already; then there is only the reaping to do.
        let _ = signals::kill(self.pid, 9);
        let _ = waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
        // The first failure is what is told; a cgroup that stays is found by its lease.
        let _ = self.cgroup.map(|cgroup| cgroup.remove());
    }
}

/// Waits until the child is set up, or says why not.
fn ready(channel: &OwnedFd, explain: &mut Explainer) -> Result<Option<OwnedFd>, CreateError> {
    let received = explain.step(
        "wait for init",
        "it mounts, masks and limits meanwhile",
        String::new,
        || report::receive(channel.as_fd()),
    );
    match received.map_err(failed("hear from the init process"))? {
        Some((Report::Ready, terminal)) => Ok(terminal),
        Some((Report::SetUp(failure) | Report::Start(failure), _)) => {
            Err(CreateError::Init(failure))
        }
        None => Err(CreateError::InitGone),
    }
}
