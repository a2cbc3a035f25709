//! Descriptors to bytes: a stream that goes on where it broke off.
//!
//! A connection that fails, stalls or ends early is opened again from the last byte (`Range`,
//! with `If-Range` where there is a strong tag). A server that answers with the whole blob has the
//! beginning skipped; one that cannot do ranges at all is not asked for them again. When a mirror
//! is given up, the next place continues at the same byte.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use lamina_types::Reference;
use lamina_types::oci::Descriptor;
use ureq::http::HeaderMap;

use crate::auth::{Access, Subject};
use crate::client::{Client, with_mirrors};
use crate::error::{FetchError, Retry};
use crate::exchange::Get;
use crate::hosts::Endpoint;
use crate::http::{Reply, Stream};
use crate::manifest::digest_of;
use crate::status;

/// A body that brings less than this within the idle timeout counts as stalled.
const TRICKLE: u64 = 4 << 10;
/// Bytes after which a connection counts as progress, and failures are counted anew.
const PROGRESS: u64 = 64 << 10;
/// The piece in which bytes that are already there are skipped.
const SKIP_PIECE: usize = 64 << 10;

/// The bytes of a blob from an offset to its end.
///
/// Delivers exactly `descriptor.size - offset` bytes or fails; never more. It retries and resumes
/// by itself, for a bounded time. **It does not verify the digest**: the caller hashes what it
/// reads, the part before `offset` included, and must not let the content be seen before its
/// digest is right. After a wrong digest, [`Client::blob_from_origin`] leaves the mirrors out.
///
/// As `Read` its errors carry a [`FetchError`], see [`FetchError::from_io`]. After an error every
/// further read fails.
pub struct BlobStream {
    client: Client,
    reference: Reference,
    descriptor: Descriptor,
    endpoints: Vec<Endpoint>,
    /// The endpoint in use.
    at: usize,
    /// What endpoints that were given up said.
    given_up: Vec<String>,
    /// Bytes of the blob that the caller has, from its start.
    position: u64,
    body: Option<Body>,
    /// The endpoint's strong tag.
    etag: Option<String>,
    /// The endpoint does not do ranges properly.
    no_ranges: bool,
    /// Failures without progress in between.
    failed: u32,
    /// `position` at the last failure.
    mark: u64,
    deadline: Instant,
    dead: bool,
}

/// One answer that is being read.
struct Body {
    stream: Stream,
    host: String,
    /// Bytes still to be thrown away.
    skip: u64,
    /// Whether its length was announced, so that its end can be read without waiting.
    delimited: bool,
    /// Start of the window in which `TRICKLE` bytes must come, and how many did.
    window: (Instant, u64),
}

impl Client {
    /// Opens a blob at `offset` (0, or how much of it is there already).
    ///
    /// The first answer is waited for here, so that a missing blob is an error of this call.
    pub fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<BlobStream, FetchError> {
        let endpoints = self.inner.rules.endpoints(reference)?;
        self.open(reference, descriptor, offset, endpoints)
    }

    /// As [`Self::blob`], from the registry itself and no mirror.
    pub fn blob_from_origin(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<BlobStream, FetchError> {
        let mut endpoints = self.inner.rules.endpoints(reference)?;
        endpoints.retain(|endpoint| !endpoint.is_mirror);
        self.open(reference, descriptor, offset, endpoints)
    }

    /// Fetches a small blob whole, such as a configuration, and verifies it; at most `limit`
    /// bytes.
    pub fn blob_bytes(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError> {
        if descriptor.size > limit {
            return Err(FetchError::TooLarge {
                host: reference.domain().to_owned(),
                what: format!("blob {}", descriptor.digest),
                limit,
            });
        }
        let bytes = self.blob(reference, descriptor, 0)?.read_all()?;
        let algorithm = descriptor.digest.algorithm();
        if digest_of(algorithm, &bytes) == descriptor.digest {
            return Ok(bytes);
        }
        let bytes = self
            .blob_from_origin(reference, descriptor, 0)?
            .read_all()?;
        let actual = digest_of(algorithm, &bytes);
        if actual == descriptor.digest {
            return Ok(bytes);
        }
        Err(FetchError::DigestMismatch {
            host: reference.domain().to_owned(),
            what: "blob".to_owned(),
            expected: descriptor.digest.clone(),
            actual,
        })
    }

    fn open(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
        endpoints: Vec<Endpoint>,
    ) -> Result<BlobStream, FetchError> {
        let mut stream = BlobStream {
            client: self.clone(),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            endpoints,
            at: 0,
            given_up: Vec::new(),
            position: offset.min(descriptor.size),
            body: None,
            etag: None,
            no_ranges: false,
            failed: 0,
            mark: offset,
            deadline: Instant::now() + self.inner.config.timeouts.blob,
            dead: false,
        };
        while stream.body.is_none() && stream.position < descriptor.size {
            match stream.request() {
                Ok(body) => stream.body = Some(body),
                Err(error) => stream.recover(error)?,
            }
        }
        Ok(stream)
    }
}

impl BlobStream {
    /// Returns how much of the blob has been delivered, the offset it was opened at included.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads into `buffer`; 0 means that the blob is complete (or `buffer` empty).
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        if self.dead {
            return Err(FetchError::Cancelled);
        }
        let result = self.advance(buffer);
        if result.is_err() {
            self.dead = true;
            self.body = None;
        }
        result
    }

    fn advance(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        while self.position < self.descriptor.size && !buffer.is_empty() {
            let result = match self.body.take() {
                None => self.request().map(|body| (body, 0)),
                Some(body) => self.read_body(body, buffer),
            };
            match result {
                Ok((body, count)) => {
                    self.body = Some(body);
                    if count > 0 {
                        self.position += count as u64;
                        self.release();
                        return Ok(count);
                    }
                }
                Err(error) => self.recover(error)?,
            }
        }
        Ok(0)
    }

    /// Reads once from the open answer. The answer is given back unless it failed.
    fn read_body(
        &mut self,
        mut body: Body,
        buffer: &mut [u8],
    ) -> Result<(Body, usize), FetchError> {
        let left = usize::try_from(self.descriptor.size - self.position).unwrap_or(usize::MAX);
        let mut piece = buffer.len().min(left);
        if body.skip > 0 {
            let skip = usize::try_from(body.skip).unwrap_or(usize::MAX);
            piece = piece.min(skip).min(SKIP_PIECE);
        }
        let count = match body.stream.read(&mut buffer[..piece]) {
            Ok(0) => {
                return Err(FetchError::Interrupted {
                    host: body.host,
                    source: io::ErrorKind::UnexpectedEof.into(),
                });
            }
            Ok(count) => count,
            Err(error) => {
                let http = &self.client.inner.http;
                return Err(http.explain_read(&body.host, error));
            }
        };
        self.check_pace(&mut body, count as u64)?;
        if body.skip > 0 {
            body.skip -= count as u64;
            return Ok((body, 0));
        }
        Ok((body, count))
    }

    /// Fails a body that only trickles, and any body past the deadline for the whole.
    fn check_pace(&self, body: &mut Body, count: u64) -> Result<(), FetchError> {
        let timeouts = &self.client.inner.config.timeouts;
        body.window.1 += count;
        // The clock is looked at once per window's worth of bytes, or when less has come.
        let now = Instant::now();
        let late = |act: &'static str, after: Duration| FetchError::Timeout {
            host: body.host.clone(),
            act,
            after,
        };
        if now > self.deadline {
            return Err(late("finish a blob", timeouts.blob));
        }
        if body.window.1 >= TRICKLE {
            body.window = (now, 0);
        } else if now.duration_since(body.window.0) > timeouts.idle {
            return Err(late("send more data", timeouts.idle));
        }
        Ok(())
    }

    /// At the end of the blob, hands the connection back for the next request.
    fn release(&mut self) {
        if self.position < self.descriptor.size {
            return;
        }
        if let Some(mut body) = self.body.take().filter(|body| body.delimited) {
            // Its announced length has been read: this sees the end and does not wait.
            let _ = body.stream.read(&mut [0]);
        }
    }

    /// After a failure: waits to try the same endpoint again, or goes on to the next.
    fn recover(&mut self, error: FetchError) -> Result<(), FetchError> {
        let inner = &self.client.inner;
        if inner.pause.is_cancelled() {
            return Err(FetchError::Cancelled);
        }
        if self.position.saturating_sub(self.mark) >= PROGRESS {
            self.failed = 0;
        }
        self.mark = self.position;
        self.failed += 1;
        let underway = self.position > 0 || self.etag.is_some();
        let retry = match &error {
            _ if Instant::now() > self.deadline => Retry::Never,
            error if underway => error.retry_midway(),
            error => error.retry(),
        };
        let Some(endpoint) = self.endpoints.get(self.at) else {
            return Err(error);
        };
        match inner.wait_after(endpoint, self.failed, error, retry) {
            Ok(()) => Ok(()),
            Err(error) => self.next_endpoint(error),
        }
    }

    fn next_endpoint(&mut self, error: FetchError) -> Result<(), FetchError> {
        let cancelled = matches!(error, FetchError::Cancelled);
        if cancelled || self.at + 1 >= self.endpoints.len() {
            return Err(with_mirrors(std::mem::take(&mut self.given_up), error));
        }
        let authority = &self.endpoints[self.at].authority;
        self.given_up.push(format!("{authority}: {error}"));
        self.at += 1;
        self.failed = 0;
        self.etag = None;
        self.no_ranges = false;
        Ok(())
    }

    fn read_all(mut self) -> Result<Vec<u8>, FetchError> {
        let size = usize::try_from(self.descriptor.size).unwrap_or(usize::MAX);
        let mut bytes = vec![0; size];
        let mut done = 0;
        while done < size {
            match self.read_some(&mut bytes[done..])? {
                0 => break,
                count => done += count,
            }
        }
        Ok(bytes)
    }
}

impl Read for BlobStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::from)
    }
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream")
            .field("digest", &self.descriptor.digest)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

mod request;
