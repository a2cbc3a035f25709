//! What is made before the spec is known.
//!
//! A network namespace is the dearest part of a container: the kernel takes a third of a
//! millisecond for it, more than for all other namespaces and the clone together. It is the same
//! for every container, so whoever waits for a bundle makes it meanwhile.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lamina_types::explain::Explainer;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::cgroup::hierarchy::Hierarchies;
use crate::create::CreateError;

const OWN: &str = "/proc/self/ns/net";

/// What [`create`](crate::create()) needs whatever the spec says, and what it may use.
#[derive(Debug)]
pub struct Ahead {
    pub(crate) hierarchies: Hierarchies,
    /// A new network namespace with loopback up.
    pub(crate) network: Option<OwnedFd>,
    /// A CPU that is free for now: init begins there.
    pub idle_cpu: Option<usize>,
}

impl Ahead {
    /// Looks at the host, and with `network` makes a network namespace, for a container that is
    /// going to have one of its own. It goes with this value, if no container uses it.
    ///
    /// The caller must have one thread: it enters the new namespace and comes back.
    pub fn prepare(network: bool, explain: &mut Explainer) -> Result<Self, CreateError> {
        let network = match network {
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
            hierarchies: Hierarchies::discover()?,
            network,
            idle_cpu: None,
        })
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
