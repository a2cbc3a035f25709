//! What the parent tells init while that sets itself up.
//!
//! Init needs neither its cgroups nor its filter at once, so the parent makes them after the
//! clone, on another CPU, and orders the next step when it may be taken:
//!
//! ```text
//! parent  clone ─► cgroups made ─ Join ─► filter compiled ─ Filter ─► [recorded ─ Start]
//! init    root ─► waits for Join ─► mounts, masks, limits ─► waits for Filter ─► ready ─► waits
//! ```
//! Orders go over the channel on which init reports (SOCK_SEQPACKET: a message is whole or not
//! there) and are sent, and waited for, in this order.

use std::os::fd::BorrowedFd;

use lamina_sys::seccomp::Instruction;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::seccomp::Program;

/// The longest order: a filter of the most instructions the kernel takes.
const LIMIT: usize = 8 + 4096 * 8;

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// The cgroups are there.
    Join,
    /// The system call filter to load.
    Filter(Program),
    /// The program may be executed: nobody will come to say so later.
    Start,
}

impl Order {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Join => vec![0],
            Self::Start => vec![1],
            Self::Filter(program) => {
                let mut bytes = vec![2, 0, 0, 0];
                bytes.extend(program.flags.to_le_bytes());
                for Instruction { code, jt, jf, k } in &program.instructions {
                    bytes.extend(code.to_le_bytes());
                    bytes.extend([*jt, *jf]);
                    bytes.extend(k.to_le_bytes());
                }
                bytes
            }
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(Self::Join),
            [1] => Some(Self::Start),
            [2, 0, 0, 0, a, b, c, d, rest @ ..] => {
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
            _ => None,
        }
    }

    /// Sends the order. `EPIPE` or `ECONNRESET` says that init has ended; what it had to say is
    /// still to be read.
    pub(crate) fn send(&self, channel: BorrowedFd<'_>) -> Result<(), Errno> {
        let bytes = self.to_bytes();
        retry_on_intr(|| send(channel, &bytes, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Waits for the next order. `EPIPE`: the parent is gone, and nobody will order anything.
    pub(crate) fn receive(channel: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut bytes = vec![0_u8; LIMIT];
        let (length, _) =
            match retry_on_intr(|| recv(channel, bytes.as_mut_slice(), RecvFlags::empty())) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return Err(Errno::PIPE),
                other => other?,
            };
        Self::parse(&bytes[..length]).ok_or(Errno::BADMSG)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn orders_arrive_whole_and_in_order() {
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
        let instruction = |k| Instruction {
            code: 0x15,
            jt: 1,
            jf: 255,
            k,
        };
        let filter = |length| {
            Order::Filter(Program {
                instructions: (0..length).map(instruction).collect(),
                flags: 6,
            })
        };
        let orders = [
            Order::Join,
            filter(0),
            filter(3),
            filter(4096),
            Order::Start,
        ];
        for order in &orders {
            order.send(ours.as_fd()).unwrap();
        }
        for order in &orders {
            assert_eq!(Order::receive(theirs.as_fd()).as_ref(), Ok(order));
        }
        drop(ours);
        assert_eq!(Order::receive(theirs.as_fd()), Err(Errno::PIPE));
    }

    #[test]
    fn half_an_order_is_none() {
        for bytes in [&[][..], &[3], &[2], &[2, 0, 0, 0, 1, 0, 0, 0, 9], &[0, 0]] {
            assert_eq!(Order::parse(bytes), None, "{bytes:?}");
        }
    }
}
