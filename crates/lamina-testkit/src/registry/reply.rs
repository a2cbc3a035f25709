//! What the registry answers, and what goes wrong while it does.

use std::time::Duration;

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length` with the true length.
    Length,
    /// `Content-Length` with this length, whatever the body has.
    Claimed(u64),
    /// Chunks, with an end.
    Chunked,
    /// Chunks, then the connection is closed without the last one.
    ChunkedWithoutEnd,
    /// Nothing; the connection is closed at the end.
    UntilClose,
}

/// What goes wrong while an answer is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// After this many bytes of the body the connection is closed.
    CloseAfter(usize),
    /// After this many bytes of the body the connection is reset.
    ResetAfter(usize),
    /// After this many bytes of the body nothing happens for this long, then it is closed.
    StallAfter(usize, Duration),
    /// The body comes in pieces of this size with this pause between them.
    Trickle(usize, Duration),
    /// Instead of an answer these bytes are sent and the connection is closed.
    Raw(Vec<u8>),
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers besides those of the framing.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How its end is marked.
    pub framing: Framing,
    /// What goes wrong.
    pub fault: Fault,
    /// How long to wait before answering.
    pub delay: Duration,
}

impl Reply {
    /// Returns an answer with an empty body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            framing: Framing::Length,
            fault: Fault::None,
            delay: Duration::ZERO,
        }
    }

    /// Returns a 200 with this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).body(body)
    }

    /// Returns an error of the distribution specification.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::status(status)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Returns a redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    /// Returns a 401 with this challenge.
    pub fn challenge(challenge: &str) -> Self {
        Self::error(401, "UNAUTHORIZED", "authentication required")
            .header("www-authenticate", challenge)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the framing.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Sets what goes wrong.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// Sets the delay.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}
