//! One connection: reads requests, sends answers and their faults.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use super::reply::{Fault, Framing, Reply};
use super::{Recorded, State};

/// The longest body that is read from a client.
const BODY_MAX: u64 = 64 << 20;
/// The piece in which bodies are sent.
const PIECE: usize = 1 << 20;

/// Serves a connection until either side closes it.
pub(super) fn serve(stream: TcpStream, state: &State) {
    let Ok(reading) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(reading);
    let mut stream = stream;
    // A client that goes away ends its connection, nothing else.
    while let Ok(Some(request)) = read_request(&mut reader, state) {
        let head_only = request.method == "HEAD";
        let reply = state.answer(request);
        thread::sleep(reply.delay);
        match send(&mut stream, &reply, head_only) {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

fn read_request(reader: &mut impl BufRead, state: &State) -> io::Result<Option<Recorded>> {
    let mut line = String::new();
    if reader.take(64 << 10).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut request = Recorded {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        nth: 0,
    };
    loop {
        let mut line = String::new();
        reader.take(64 << 10).read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let pair = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push(pair);
    }
    let length = request
        .header("content-length")
        .and_then(|text| text.parse().ok());
    if let Some(length) = length {
        let length: u64 = length;
        if let Some(count) = state.breaks(&request) {
            reader
                .take(count.min(length))
                .read_to_end(&mut request.body)?;
            state.broken(request);
            return Ok(None);
        }
        reader
            .take(length.min(BODY_MAX))
            .read_to_end(&mut request.body)?;
    }
    Ok(Some(request))
}

/// Sends an answer; says whether the connection stays open.
fn send(stream: &mut TcpStream, reply: &Reply, head_only: bool) -> io::Result<bool> {
    if let Fault::Raw(bytes) = &reply.fault {
        stream.write_all(bytes)?;
        return Ok(false);
    }
    stream.write_all(head(reply).as_bytes())?;
    if head_only {
        return Ok(true);
    }
    match &reply.fault {
        Fault::None | Fault::Raw(_) => send_body(stream, reply, reply.body.len())?,
        Fault::CloseAfter(count) => {
            send_body(stream, reply, *count)?;
            return Ok(false);
        }
        Fault::ResetAfter(count) => {
            send_body(stream, reply, *count)?;
            // Lets the client have what was sent; the reset would overtake it.
            thread::sleep(Duration::from_millis(10));
            sockopt::set_socket_linger(&*stream, Some(Duration::ZERO))?;
            return Ok(false);
        }
        Fault::StallAfter(count, time) => {
            send_body(stream, reply, *count)?;
            thread::sleep(*time);
            return Ok(false);
        }
        Fault::Trickle(piece, pause) => {
            for chunk in reply.body.chunks((*piece).max(1)) {
                stream.write_all(chunk)?;
                thread::sleep(*pause);
            }
        }
    }
    Ok(matches!(reply.framing, Framing::Length | Framing::Chunked))
}

fn head(reply: &Reply) -> String {
    use std::fmt::Write as _;
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
    for (name, value) in &reply.headers {
        // Writing to a string does not fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let framing = match reply.framing {
        Framing::Length => format!("content-length: {}\r\n", reply.body.len()),
        Framing::Claimed(length) => format!("content-length: {length}\r\n"),
        Framing::Chunked | Framing::ChunkedWithoutEnd => {
            "transfer-encoding: chunked\r\n".to_owned()
        }
        Framing::UntilClose => "connection: close\r\n".to_owned(),
    };
    head + &framing + "\r\n"
}

fn send_body(stream: &mut TcpStream, reply: &Reply, count: usize) -> io::Result<()> {
    let body = &reply.body[..count.min(reply.body.len())];
    let chunked = matches!(reply.framing, Framing::Chunked | Framing::ChunkedWithoutEnd);
    for piece in body.chunks(PIECE) {
        if chunked {
            write!(stream, "{:x}\r\n", piece.len())?;
        }
        stream.write_all(piece)?;
        if chunked {
            stream.write_all(b"\r\n")?;
        }
    }
    if reply.framing == Framing::Chunked && count >= reply.body.len() {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}
