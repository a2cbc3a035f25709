//! Frames on sockets: sent whole or in part, received with descriptors perhaps.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lamina_fs::Dir;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    listen, recvmsg, sendmsg, socket_with, socketpair,
};

use super::codec::{HEADER, Kind, header};

/// The socket's name in the bundle.
pub(crate) const MONITOR_SOCK: &str = "monitor.sock";

/// The most descriptors that go with a frame.
const MOST_FDS: usize = 3;

/// Makes a connected pair of sockets, close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// A socket's path has 107 bytes at most; one through our descriptor of the directory always fits.
fn address(dir: &Dir) -> Result<SocketAddrUnix, Errno> {
    use std::os::fd::AsRawFd;
    let fd = dir.as_fd().as_raw_fd();
    SocketAddrUnix::new(format!("/proc/self/fd/{fd}/{MONITOR_SOCK}").as_str())
}

/// Makes the monitor's listening socket, replacing one that a killed monitor left behind.
///
/// The caller holds the monitor's lock, so no living one is replaced.
pub(crate) fn listen_in(dir: &Dir) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = address(dir)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            let unlink = rustix::fs::AtFlags::empty();
            rustix::fs::unlinkat(dir, MONITOR_SOCK, unlink)?;
            bind(&socket, &address)?;
        }
        other => other?,
    }
    listen(&socket, 16)?;
    Ok(socket)
}

/// Connects to the socket of the monitor of a bundle.
pub(crate) fn connect_in(dir: &Dir) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address(dir)?)?;
    Ok(socket)
}

/// Sends as much of a frame as the socket takes; returns the number of bytes, header included.
pub(crate) fn send_some(
    socket: BorrowedFd<'_>,
    kind: Kind,
    payload: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<usize, Errno> {
    let header = header(kind, payload.len());
    let pieces = [IoSlice::new(&header), IoSlice::new(payload)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL;
    retry_on_intr(|| sendmsg(socket, &pieces, &mut control, flags))
}

/// Sends a whole frame on a blocking socket.
pub(crate) fn send(socket: BorrowedFd<'_>, kind: Kind, payload: &[u8]) -> Result<(), Errno> {
    let sent = send_some(socket, kind, payload, &[])?;
    let head = header(kind, payload.len());
    let mut rest = head.get(sent..).unwrap_or_default();
    let mut body = payload
        .get(sent.saturating_sub(HEADER)..)
        .unwrap_or_default();
    while !rest.is_empty() || !body.is_empty() {
        let piece = if rest.is_empty() {
            &mut body
        } else {
            &mut rest
        };
        let sent = send_bytes(socket, piece)?;
        *piece = &piece[sent..];
    }
    Ok(())
}

/// Sends some of `bytes`.
pub(crate) fn send_bytes(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    retry_on_intr(|| rustix::net::send(socket, bytes, SendFlags::NOSIGNAL))
}

/// Receives some bytes, and the descriptors that came with them. 0 bytes: the other side is gone.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message =
        retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags))?;
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            received = fds.collect();
        }
    }
    Ok((message.bytes, received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Decoder;

    #[test]
    fn descriptors_travel_with_their_frame() {
        let (a, b) = pair().unwrap();
        let (read, write) = std::io::pipe().unwrap();
        let fds = [write.as_fd(), read.as_fd()];
        send_some(a.as_fd(), Kind::Created, b"{}", &fds).unwrap();
        let mut buffer = [0; 64];
        let (length, mut fds) = receive(b.as_fd(), &mut buffer).unwrap();
        let mut decoder = Decoder::default();
        decoder.push(&buffer[..length]);
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!((frame.kind, frame.payload), (Kind::Created, &b"{}"[..]));
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(rustix::io::read(fds.pop().unwrap(), &mut buffer), Ok(1));
    }

    #[test]
    fn a_deep_directory_has_a_socket_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let dir = Dir::open(&deep).unwrap();
        let first = listen_in(&dir).unwrap();
        drop(first);
        let _second = listen_in(&dir).unwrap();
        connect_in(&dir).unwrap();
    }
}
