//! What the parent tells init while that sets itself up.
//!
//! Init needs neither its cgroups nor its filter nor its standard streams at once, so the parent
//! makes them after the clone, on another CPU, and orders the next step when it may be taken:
//!
//! ```text
//! parent  clone ─[ Read ]─► cgroups made ─ Join ─► filter compiled ─ Filter ─ Outfit ─► [recorded ─ Start]
//! init    [waits for Read ─►] root ─► waits for Join ─► mounts, masks, limits ─► waits for Filter, Outfit ─► ready ─► waits
//! ```
//! Orders go over the channel on which init reports and are sent, and waited for, in this order.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_sys::seccomp::Instruction;
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::channel;
use crate::seccomp::Program;

/// The longest order: a filter of the most instructions the kernel takes.
const LIMIT: usize = 8 + 4096 * 8;

/// What goes into the program beside what the spec says.
#[derive(Debug)]
pub(crate) struct Outfit {
    /// stdin, stdout and stderr, unless there is a terminal.
    pub(crate) streams: Option<[OwnedFd; 3]>,
    /// The FIFO whose first byte means `start`; without one the parent orders the start.
    pub(crate) fifo: Option<OwnedFd>,
    /// Whether a reaper stays as pid 1 and the program is its child.
    pub(crate) reaper: bool,
}

/// One order.
#[derive(Debug)]
pub(crate) enum Order {
    /// The bundle is there: for an init that was cloned before.
    Read,
    /// The cgroups are there, if this machine has any.
    Join(Option<Cgroup>),
    /// The system call filter to load.
    Filter(Program),
    /// What the program is to have.
    Outfit(Outfit),
    /// The program may be executed: nobody will come to say so later.
    Start,
}

const JOIN: u8 = 0;
const START: u8 = 1;
const FILTER: u8 = 2;
const OUTFIT: u8 = 3;
const READ: u8 = 4;

impl Order {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Join(cgroup) => {
                let mut bytes = vec![JOIN];
                // A value of paths and names always has a text.
                bytes.extend(serde_json::to_vec(cgroup).unwrap_or_default());
                bytes
            }
            Self::Read => vec![READ],
            Self::Start => vec![START],
            Self::Filter(program) => {
                let mut bytes = vec![FILTER, 0, 0, 0];
                bytes.extend(program.flags.to_le_bytes());
                for Instruction { code, jt, jf, k } in &program.instructions {
                    bytes.extend(code.to_le_bytes());
                    bytes.extend([*jt, *jf]);
                    bytes.extend(k.to_le_bytes());
                }
                bytes
            }
            Self::Outfit(outfit) => {
                let has = [outfit.streams.is_some(), outfit.fifo.is_some()];
                vec![OUTFIT, has[0].into(), has[1].into(), outfit.reaper.into()]
            }
        }
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let Self::Outfit(Outfit { streams, fifo, .. }) = self else {
            return Vec::new();
        };
        let streams = streams.iter().flatten();
        streams.chain(fifo).map(AsFd::as_fd).collect()
    }

    fn parse(bytes: &[u8], fds: Vec<OwnedFd>) -> Option<Self> {
        match bytes {
            [JOIN, json @ ..] => serde_json::from_slice(json).ok().map(Self::Join),
            [READ] => Some(Self::Read),
            [START] => Some(Self::Start),
            [FILTER, 0, 0, 0, a, b, c, d, rest @ ..] => {
                let (instructions, []) = rest.as_chunks::<8>() else {
                    return None;
                };
                let instruction = |[a, b, jt, jf, e, f, g, h]: &[u8; 8]| Instruction {
                    code: u16::from_le_bytes([*a, *b]),
                    jt: *jt,
                    jf: *jf,
                    k: u32::from_le_bytes([*e, *f, *g, *h]),
                };
                Some(Self::Filter(Program {
                    instructions: instructions.iter().map(instruction).collect(),
                    flags: u32::from_le_bytes([*a, *b, *c, *d]),
                }))
            }
            [OUTFIT, streams, fifo, reaper] => {
                let mut fds = fds.into_iter();
                let streams = match streams {
                    0 => None,
                    _ => Some([fds.next()?, fds.next()?, fds.next()?]),
                };
                let fifo = match fifo {
                    0 => None,
                    _ => Some(fds.next()?),
                };
                Some(Self::Outfit(Outfit {
                    streams,
                    fifo,
                    reaper: *reaper != 0,
                }))
            }
            _ => None,
        }
    }

    /// Sends the order. `EPIPE` or `ECONNRESET` says that init has ended; what it had to say is
    /// still to be read.
    pub(crate) fn send(&self, channel: BorrowedFd<'_>) -> Result<(), Errno> {
        channel::send(channel, &self.to_bytes(), &self.descriptors())
    }

    /// Waits for the next order. `EPIPE`: the parent is gone, and nobody will order anything.
    pub(crate) fn receive(channel: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut bytes = vec![0_u8; LIMIT];
        let (length, fds) = match channel::receive(channel, &mut bytes) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Err(Errno::PIPE),
            other => other?,
        };
        Self::parse(&bytes[..length], fds).ok_or(Errno::BADMSG)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn arrives(order: &Order) -> Order {
        let (ours, theirs) = channel::pair().unwrap();
        order.send(ours.as_fd()).unwrap();
        drop(ours);
        let arrived = Order::receive(theirs.as_fd()).unwrap();
        assert_eq!(Order::receive(theirs.as_fd()).unwrap_err(), Errno::PIPE);
        arrived
    }

    #[test]
    fn a_filter_arrives_whole() {
        for length in [0, 3, 4096] {
            let instruction = |k| Instruction {
                code: 0x15,
                jt: 1,
                jf: 255,
                k,
            };
            let program = Program {
                instructions: (0..length).map(instruction).collect(),
                flags: 6,
            };
            let Order::Filter(arrived) = arrives(&Order::Filter(program.clone())) else {
                panic!("another order");
            };
            assert_eq!(arrived, program);
        }
    }

    #[test]
    fn what_the_program_is_to_have_arrives_with_its_descriptors() {
        let (first, second) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let inode = |file: &OwnedFd| {
            let file = File::from(file.try_clone().unwrap());
            file.metadata().unwrap().ino()
        };
        let [a, b]: [OwnedFd; 2] = [first.into(), second.into()];
        let copy = |fd: &OwnedFd| fd.try_clone().unwrap();
        for has_streams in [true, false] {
            for has_fifo in [true, false] {
                let outfit = Outfit {
                    streams: has_streams.then(|| [copy(&a), copy(&b), copy(&a)]),
                    fifo: has_fifo.then(|| copy(&b)),
                    reaper: has_fifo,
                };
                let Order::Outfit(arrived) = arrives(&Order::Outfit(outfit)) else {
                    panic!("another order");
                };
                let streams = arrived.streams.map(|fds| fds.map(|fd| inode(&fd)));
                let expected = [inode(&a), inode(&b), inode(&a)];
                assert_eq!(streams, has_streams.then_some(expected));
                let fifo = arrived.fifo.map(|fd| inode(&fd));
                assert_eq!(fifo, has_fifo.then(|| inode(&b)));
                assert_eq!(arrived.reaper, has_fifo);
            }
        }
    }

    #[test]
    fn the_bundle_the_cgroups_and_the_start_arrive() {
        assert!(matches!(arrives(&Order::Read), Order::Read));
        assert!(matches!(arrives(&Order::Start), Order::Start));
        assert!(matches!(arrives(&Order::Join(None)), Order::Join(None)));
    }

    #[test]
    fn half_an_order_is_none() {
        for bytes in [
            &[][..],
            &[9],
            &[FILTER],
            &[FILTER, 0, 0, 0, 1, 0, 0, 0, 9],
            &[START, 0],
            &[JOIN],
            &[JOIN, b'{'],
            &[OUTFIT],
            &[OUTFIT, 1, 0, 0],
            &[OUTFIT, 0, 1, 0],
        ] {
            assert!(Order::parse(bytes, Vec::new()).is_none(), "{bytes:?}");
        }
    }
}
