//! Logs that go to a daemon of the host's: the protocols of journald and syslog, one datagram an
//! entry.
//!
//! Nothing here waits: a daemon that does not keep up, or is not there, loses entries, which are
//! counted.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

use super::Stream;
use crate::config::{SinkAddress, SinkConfig, SinkProtocol};
use crate::time::Time;

/// Where entries are sent.
#[derive(Debug)]
pub(super) struct Sink {
    config: SinkConfig,
    socket: Option<OwnedFd>,
    message: Vec<u8>,
    host: String,
}

impl Sink {
    pub(super) fn new(config: SinkConfig) -> Self {
        let system = rustix::system::uname();
        Self {
            config,
            socket: None,
            message: Vec::new(),
            host: system.nodename().to_string_lossy().into_owned(),
        }
    }

    /// Sends an entry; false if it is lost.
    pub(super) fn send(&mut self, stream: Stream, content: &[u8], time: Time) -> bool {
        self.message.clear();
        match self.config.protocol {
            SinkProtocol::Journald => self.journal_entry(stream, content),
            SinkProtocol::Syslog { facility } => self.syslog_line(facility, stream, content, time),
        }
        let sent = self.try_send();
        self.message.shrink_to(4096);
        match sent {
            Ok(_) => true,
            Err(Errno::AGAIN | Errno::MSGSIZE) => false,
            // The daemon was started anew: its socket is another one.
            Err(_) => {
                self.socket = None;
                self.try_send().is_ok()
            }
        }
    }

    fn try_send(&mut self) -> Result<usize, Errno> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open(&self.config.address)?,
        };
        let sent = send(
            &socket,
            &self.message,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
        self.socket = Some(socket);
        sent
    }

    /// The native protocol: a field a line, and where a value could have a newline its length.
    fn journal_entry(&mut self, stream: Stream, content: &[u8]) {
        let text = content.strip_suffix(b"\n");
        let priority = severity(stream).to_string();
        let own = [("PRIORITY", &*priority)];
        let given = self.config.fields.iter();
        let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
        let partial = text
            .is_none()
            .then_some(("CONTAINER_PARTIAL_MESSAGE", "true"));
        let fields = own.into_iter().chain(given).chain(partial);
        for (name, value) in fields.map(|(name, value)| (name, value.as_bytes())) {
            field(&mut self.message, name, value);
        }
        field(&mut self.message, "MESSAGE", text.unwrap_or(content));
    }

    /// What syslogd stamps itself where it is a local one, RFC 5424 elsewhere.
    fn syslog_line(&mut self, facility: u8, stream: Stream, content: &[u8], time: Time) {
        let priority = u32::from(facility) * 8 + u32::from(severity(stream));
        let (tag, pid) = (&self.config.tag, std::process::id());
        let head = match self.config.address {
            SinkAddress::Unix(_) => format!("<{priority}>{tag}[{pid}]: "),
            SinkAddress::Udp(_) => {
                format!("<{priority}>1 {time} {} {tag} {pid} - - ", self.host)
            }
        };
        self.message.extend_from_slice(head.as_bytes());
        let text = content.strip_suffix(b"\n").unwrap_or(content);
        self.message.extend_from_slice(text);
    }
}

fn field(message: &mut Vec<u8>, name: &str, value: &[u8]) {
    message.extend_from_slice(name.as_bytes());
    message.push(b'\n');
    let length = u64::try_from(value.len()).unwrap_or(0);
    message.extend_from_slice(&length.to_le_bytes());
    message.extend_from_slice(value);
    message.push(b'\n');
}

/// Informational for stdout, an error for stderr, as Docker has it.
fn severity(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 6,
        Stream::Stderr => 3,
    }
}

fn open(address: &SinkAddress) -> Result<OwnedFd, Errno> {
    match address {
        SinkAddress::Unix(path) => {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
            connect(&socket, &SocketAddrUnix::new(path)?)?;
            Ok(socket)
        }
        SinkAddress::Udp(address) => {
            let any = match address {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
            };
            let connected = UdpSocket::bind(any).and_then(|socket| {
                socket.connect(address)?;
                Ok(socket)
            });
            let failed = |e: std::io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO);
            Ok(connected.map_err(failed)?.into())
        }
    }
}
