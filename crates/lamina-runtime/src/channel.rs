//! One message between init and its parent, with descriptors where it has some.
//!
//! The channel is a SOCK_SEQPACKET pair: a message is whole or not there.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The most descriptors that go along with a message: three streams and a FIFO.
const FDS: usize = 4;

/// Makes a channel: the parent's end and init's.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let kind = SocketType::SEQPACKET;
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

/// Sends a message. `EPIPE` or `ECONNRESET`: the other side is gone; what it had to say is still to
/// be read.
pub(crate) fn send(
    channel: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let parts = [IoSlice::new(bytes)];
    rustix::io::retry_on_intr(|| sendmsg(channel, &parts, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Waits for a message and returns its length and descriptors, which are close-on-exec; a length of
/// zero is the end of file.
///
/// `ECONNRESET` is told once, before what the other side said itself: it ended with a message of
/// ours unread.
pub(crate) fn receive(
    channel: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(bytes)];
        recvmsg(channel, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((received.bytes, fds.flatten().collect()))
}
