//! What is made before the spec is known.
//!
//! Namespaces are the dearest part of a container, and the same for nearly every one, so whoever
//! waits for a bundle makes them meanwhile, and the init process in them. Where that one would not
//! fit, there is at least the network namespace: the kernel takes a third of a millisecond for it,
//! more than for all others and the clone together.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lamina_types::explain::Explainer;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::cgroup::hierarchy::{Hierarchies, Version};
use crate::create::CreateError;
use crate::newborn::Newborn;

const OWN: &str = "/proc/self/ns/net";

/// What [`create`](crate::create()) needs whatever the spec says, and what it may use.
#[derive(Debug)]
pub struct Ahead {
    pub(crate) hierarchies: Hierarchies,
    /// A new network namespace with loopback up.
    pub(crate) network: Option<OwnedFd>,
    /// An init process.
    pub(crate) newborn: Option<Newborn>,
    /// A CPU that is free for now: init begins there.
    pub(crate) idle_cpu: Option<usize>,
}

/// What is known of a container before its bundle is there. Where it turns out otherwise, the
/// container only starts later.
#[derive(Debug, Default, Clone, Copy)]
pub struct Expected<'a> {
    /// Whether it has a network namespace of its own.
    pub network: bool,
    /// Where its bundle is going to be, if it has all other namespaces of its own too.
    pub bundle: Option<&'a Path>,
    /// The pipe the init process writes its step records to, as JSON lines.
    pub explain_pipe: Option<BorrowedFd<'a>>,
}

impl Ahead {
    /// Looks at the host, and makes what can be made for a container that is expected. It goes with
    /// this value, if no container uses it.
    ///
    /// The caller must have one thread: it enters a new namespace and comes back, or clones.
    pub fn prepare(expected: Expected<'_>, explain: &mut Explainer) -> Result<Self, CreateError> {
        let hierarchies = Hierarchies::discover()?;
        let newborn = match expected.bundle {
            // There it would have to be born into its cgroup, which only the bundle names.
            Some(bundle) if expected.network && hierarchies.version != Version::V2 => {
                Some(Newborn::clone(bundle, expected.explain_pipe, explain)?)
            }
            _ => None,
        };
        let network = match expected.network && newborn.is_none() {
            false => None,
            true => Some(explain.step(
                "network namespace",
                "the container's own, made while its bundle is written; its one interface, loopback, \
                 is brought up",
                || "unshare --net; ip link set lo up".to_owned(),
                new_network,
            )?),
        };
        Ok(Self {
            hierarchies,
            network,
            newborn,
            idle_cpu: None,
        })
    }

    /// Says that the bundle is there, and a CPU that is free for now.
    pub fn bundle_is_there(&mut self, idle_cpu: usize) -> Result<(), CreateError> {
        self.idle_cpu = Some(idle_cpu);
        match &mut self.newborn {
            Some(newborn) => newborn.read_bundle(idle_cpu),
            None => Ok(()),
        }
    }
}

fn new_network() -> Result<OwnedFd, CreateError> {
    let failed = |errno: Errno| CreateError::Io {
        act: "make a network namespace".to_owned(),
        source: errno.into(),
    };
    let open = || {
        openat(
            CWD,
            Path::new(OWN),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    let own = open().map_err(failed)?;
    lamina_sys::namespace::unshare(UnshareFlags::NEWNET).map_err(failed)?;
    let made = lamina_sys::link::loopback_up().and_then(|()| open());
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network)).map_err(failed)?;
    made.map_err(failed)
}
