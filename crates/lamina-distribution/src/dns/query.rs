//! One question to one name server: A and AAAA together over UDP, over TCP what was cut short.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

/// The longest UDP answer: without EDNS a server sends 512 bytes; some send more.
const UDP_MAX: usize = 4096;
/// The longest chain of aliases that is followed within an answer.
const ALIASES_MAX: usize = 16;

/// What a server said about a name.
#[derive(Debug)]
pub(super) enum Answer {
    /// These addresses; none if the name exists without any.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The server cannot say.
    Failure(String),
}

/// A name to be asked for.
#[derive(Debug)]
pub(super) struct Question {
    name: Name,
}

impl Question {
    /// Returns `None` for what cannot be a host's name.
    pub(super) fn new(name: &str) -> Option<Self> {
        let mut name = Name::from_ascii(name).ok()?;
        name.set_fqdn(true);
        Some(Self { name })
    }

    /// Asks `server` for both kinds of address within `limit`.
    ///
    /// One kind's failure does not spoil the other's addresses: servers exist that fail for AAAA.
    pub(super) fn ask(&self, server: SocketAddr, limit: Duration) -> io::Result<Answer> {
        let deadline = Instant::now() + limit;
        let queries = [self.query(RecordType::A)?, self.query(RecordType::AAAA)?];
        let (answers, trouble) = self.exchange(server, &queries, deadline);
        let mut addresses = Vec::new();
        let (mut missing, mut failure) = (false, None);
        let complete = answers.iter().all(Option::is_some);
        for message in answers.into_iter().flatten() {
            match message.metadata.response_code {
                ResponseCode::NoError => addresses.extend(self.addresses(&message)),
                ResponseCode::NXDomain => missing = true,
                code => failure = Some(format!("{code}")),
            }
        }
        if !addresses.is_empty() {
            return Ok(Answer::Addresses(addresses));
        }
        if let Some(code) = failure {
            return Ok(Answer::Failure(code));
        }
        if missing {
            return Ok(Answer::NoSuchName);
        }
        match trouble {
            Some(error) if !complete => Err(error),
            _ => Ok(Answer::Addresses(Vec::new())),
        }
    }

    fn query(&self, kind: RecordType) -> io::Result<Message> {
        let mut id = [0; 2];
        getrandom::fill(&mut id)?;
        let mut message = Message::new(u16::from_ne_bytes(id), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), kind));
        Ok(message)
    }

    /// Sends all queries from one socket and gathers the answers, with what stopped it early.
    fn exchange(
        &self,
        server: SocketAddr,
        queries: &[Message; 2],
        deadline: Instant,
    ) -> ([Option<Message>; 2], Option<io::Error>) {
        let mut answers = [None, None];
        let result = self.over_udp(server, queries, deadline, &mut answers);
        for (answer, query) in answers.iter_mut().zip(queries) {
            if answer.as_ref().is_some_and(|m| m.metadata.truncation) {
                match over_tcp(server, query, deadline) {
                    Ok(whole) => *answer = Some(whole),
                    Err(error) => return (answers, Some(error)),
                }
            }
        }
        (answers, result.err())
    }

    fn over_udp(
        &self,
        server: SocketAddr,
        queries: &[Message; 2],
        deadline: Instant,
        answers: &mut [Option<Message>; 2],
    ) -> io::Result<()> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        // Connected: the kernel drops what others send, and says so if nobody listens.
        socket.connect(server)?;
        for query in queries {
            socket.send(&encode(query)?)?;
        }
        let mut buffer = [0; UDP_MAX];
        while answers.iter().any(Option::is_none) {
            socket.set_read_timeout(Some(left(deadline)?))?;
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
                Err(error) => return Err(error),
            };
            let Ok(message) = Message::from_vec(&buffer[..length]) else {
                continue;
            };
            for (answer, query) in answers.iter_mut().zip(queries) {
                if answer.is_none() && belongs(&message, query) {
                    *answer = Some(message.clone());
                }
            }
        }
        Ok(())
    }

    /// Collects the addresses of the name, through its aliases.
    fn addresses(&self, message: &Message) -> Vec<IpAddr> {
        let mut names = vec![self.name.clone()];
        for _ in 0..ALIASES_MAX {
            let next = message
                .answers
                .iter()
                .find_map(|record| match &record.data {
                    RData::CNAME(alias) if same(&names[names.len() - 1], &record.name) => {
                        Some(alias.0.clone())
                    }
                    _ => None,
                });
            match next {
                Some(alias) if !names.contains(&alias) => names.push(alias),
                _ => break,
            }
        }
        let ours = |owner: &Name| names.iter().any(|name| same(name, owner));
        let address = |data: &RData| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(a) => Some(IpAddr::V6(a.0)),
            _ => None,
        };
        message
            .answers
            .iter()
            .filter(|record| ours(&record.name))
            .filter_map(|record| address(&record.data))
            .collect()
    }
}

fn same(one: &Name, other: &Name) -> bool {
    one.eq_ignore_root_case(other) || one.to_lowercase() == other.to_lowercase()
}

/// Says whether `message` answers `query`: same id, same question.
fn belongs(message: &Message, query: &Message) -> bool {
    let same_question = match (message.queries.as_slice(), query.queries.as_slice()) {
        ([theirs], [ours]) => {
            theirs.query_type() == ours.query_type() && same(theirs.name(), ours.name())
        }
        _ => false,
    };
    message.metadata.message_type == MessageType::Response
        && message.metadata.id == query.metadata.id
        && same_question
}

fn over_tcp(server: SocketAddr, query: &Message, deadline: Instant) -> io::Result<Message> {
    let mut stream = TcpStream::connect_timeout(&server, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let bytes = encode(query)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat())?;
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact(&mut stream, &mut answer, deadline)?;
    let message = Message::from_vec(&answer).map_err(io::Error::other)?;
    if belongs(&message, query) {
        Ok(message)
    } else {
        Err(io::Error::other("answer to another question"))
    }
}

/// Reads all of `buffer`, however slowly it comes, before the deadline.
fn read_exact(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer[done..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn encode(message: &Message) -> io::Result<Vec<u8>> {
    message.to_vec().map_err(io::Error::other)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(timed_out());
    }
    Ok(left)
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "timed out")
}
