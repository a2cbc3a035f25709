//! One upload: begun, sent in one piece or several, continued where it broke off, committed.
//!
//! ```text
//! begin    POST uploads/                    ─► where it goes
//! small    PUT  that?digest=… with it all
//! large    PATCH that, from what is there   ─► where it goes on, and how much is there
//!          GET  that, after a failure       ─► the same
//!          PUT  that?digest=…               committed; the registry has compared the digest
//! ```
//! A large blob goes in one request, as every client does it and so every registry understands; to
//! one that answers that this is too large (413) it goes in ever smaller pieces.

use std::cell::RefCell;
use std::io::{self, Read};
use std::time::Instant;

use ureq::http::Method;

use super::{Repository, Upload};
use crate::auth::Access;
use crate::client::Inner;
use crate::error::{FetchError, Retry};
use crate::exchange::Place;
use crate::http::{Opens, Payload, Reply};
use crate::url::Url;

/// Up to this many bytes go with the request that commits them.
const SMALL: u64 = 4 << 20;
/// The pieces for a registry to which all at once is too much; halved down to the lesser.
const PIECE_FIRST: u64 = 32 << 20;
const PIECE_LEAST: u64 = 1 << 20;

pub(super) struct Session<'a> {
    inner: &'a Inner,
    place: Repository<'a>,
    upload: &'a Upload<'a>,
    /// Where it goes on; `None` before it has begun and when it must be begun anew.
    location: Option<Url>,
    /// Bytes that the registry has.
    offset: u64,
    /// The most bytes in one request.
    piece: u64,
    /// The least that a piece may have, the last one excepted.
    least: u64,
    /// Failures without progress in between.
    failed: u32,
    /// The greatest offset so far: progress is what goes beyond it.
    reached: u64,
    deadline: Instant,
}

/// What a step came to.
enum Step {
    More,
    Done,
}

impl<'a> Session<'a> {
    pub(super) fn new(inner: &'a Inner, place: Repository<'a>, upload: &'a Upload<'a>) -> Self {
        Self {
            inner,
            place,
            upload,
            location: None,
            offset: 0,
            piece: u64::MAX,
            least: 0,
            failed: 0,
            reached: 0,
            deadline: Instant::now() + inner.config.timeouts.blob,
        }
    }

    /// Uploads the blob.
    pub(super) fn run(mut self) -> Result<(), FetchError> {
        loop {
            let failure = match self.step() {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::More) => continue,
                Err(error) => error,
            };
            match self.recover(failure) {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::More) => {}
                Err(error) => {
                    self.abandon(&error);
                    return Err(error);
                }
            }
        }
    }

    fn size(&self) -> u64 {
        self.upload.descriptor.size
    }

    fn what(&self) -> String {
        format!("blob {}", self.upload.descriptor.digest)
    }

    fn step(&mut self) -> Result<Step, FetchError> {
        let Some(location) = self.location.clone() else {
            return self.begin();
        };
        let size = self.size();
        if self.offset == size || (self.offset == 0 && size <= SMALL.min(self.piece)) {
            return self.commit(&location);
        }
        self.patch(&location)
    }

    fn begin(&mut self) -> Result<Step, FetchError> {
        let reply = self.send(
            Method::POST,
            self.place.below("blobs/uploads/"),
            Vec::new(),
            Payload::Bytes(&[]),
        )?;
        if reply.status != 202 {
            return Err(self.refusal(reply));
        }
        let least = reply.headers.get("oci-chunk-min-length");
        let least = least.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        self.least = least.unwrap_or(0);
        self.offset = 0;
        let base = self.inner.base(self.place.endpoint)?;
        self.location = Some(self.inner.located(self.place.endpoint, &base, &reply)?);
        Ok(Step::More)
    }

    /// Sends the next piece.
    fn patch(&mut self, location: &Url) -> Result<Step, FetchError> {
        let length = self.piece.max(self.least).min(self.size() - self.offset);
        let mut headers = vec![("content-type", "application/octet-stream".to_owned())];
        // One that begins at the beginning and has everything needs no range, and there are
        // registries that know none.
        if self.offset > 0 || length < self.size() {
            let last = self.offset + length - 1;
            headers.push(("content-range", format!("{}-{last}", self.offset)));
        }
        let reply = self.send_bytes(Method::PATCH, location, headers, length)?;
        if !matches!(reply.status, 201 | 202 | 204) {
            return Err(self.refusal(reply));
        }
        let sent = self.offset + length;
        let end = arrived(&reply).unwrap_or(sent);
        if end > sent {
            return Err(FetchError::Protocol {
                host: reply.host,
                detail: "it has more of the upload than was sent".to_owned(),
            });
        }
        self.go_on(location, &reply, end)?;
        Ok(Step::More)
    }

    /// Commits the upload, sending the bytes along if none were sent before.
    fn commit(&mut self, location: &Url) -> Result<Step, FetchError> {
        let digest = self.upload.descriptor.digest.to_string();
        let url = location.clone().with_query("digest", &digest);
        let headers = vec![("content-type", "application/octet-stream".to_owned())];
        let length = self.size() - self.offset;
        let reply = self.send_bytes(Method::PUT, &url, headers, length)?;
        if !matches!(reply.status, 201 | 204) {
            return Err(self.refusal(reply));
        }
        (self.upload.progress)(self.size());
        Ok(Step::Done)
    }

    fn go_on(&mut self, from: &Url, reply: &Reply, end: u64) -> Result<(), FetchError> {
        // Without a location it goes on where it was.
        if reply.headers.contains_key("location") {
            let endpoint = self.place.endpoint;
            self.location = Some(self.inner.located(endpoint, from, reply)?);
        }
        self.offset = end;
        (self.upload.progress)(end);
        if end > self.reached {
            self.reached = end;
            self.failed = 0;
        }
        Ok(())
    }

    /// After a failure: waits, and asks how much has arrived.
    fn recover(&mut self, error: FetchError) -> Result<Step, FetchError> {
        match &error {
            FetchError::Refused { status: 413, .. } if self.piece > PIECE_LEAST => {
                self.smaller_pieces();
                self.ask_again();
                return Ok(Step::More);
            }
            _ => {}
        }
        self.failed += 1;
        if self.failed > 1 && matches!(error, FetchError::Interrupted { .. }) {
            // One that breaks off a request that is too large, instead of answering it.
            self.smaller_pieces();
        }
        let retry = match &error {
            _ if Instant::now() > self.deadline => Retry::Never,
            // The registry does not know the upload, or where it is: it begins anew.
            FetchError::Refused {
                status: 404 | 416, ..
            } if self.location.is_some() => Retry::Backoff,
            error if self.location.is_some() => error.retry_midway(),
            error => error.retry(),
        };
        self.inner
            .wait_after(self.place.endpoint, self.failed, error, retry)?;
        if self.location.is_some() && self.is_there()? {
            return Ok(Step::Done);
        }
        self.ask_again();
        Ok(Step::More)
    }

    fn smaller_pieces(&mut self) {
        self.piece = (self.piece / 2).clamp(PIECE_LEAST, PIECE_FIRST);
    }

    /// Says whether the blob has arrived after all: the answer to a commit may have been lost.
    fn is_there(&self) -> Result<bool, FetchError> {
        match self
            .inner
            .has_blob(self.place, &self.upload.descriptor.digest)
        {
            Err(FetchError::Cancelled) => Err(FetchError::Cancelled),
            other => Ok(other.unwrap_or(false)),
        }
    }

    /// Asks how much the registry has; where it does not tell, the upload begins anew.
    fn ask_again(&mut self) {
        let Some(location) = self.location.take() else {
            return;
        };
        let place = Place::Url(&location);
        let reply = self.send(Method::GET, place, Vec::new(), Payload::None);
        let known = reply.ok().filter(|reply| reply.status == 204);
        self.offset = 0;
        let Some(reply) = known else {
            return;
        };
        let end = arrived(&reply).unwrap_or(0);
        if end > self.size() {
            return;
        }
        self.location = Some(location.clone());
        if self.go_on(&location, &reply, end).is_err() {
            self.location = None;
            self.offset = 0;
        }
    }

    /// Has the registry forget what it has of an upload that failed.
    fn abandon(&self, error: &FetchError) {
        if let Some(location) = &self.location
            && !matches!(error, FetchError::Cancelled)
        {
            let place = Place::Url(location);
            let _ = self.send(Method::DELETE, place, Vec::new(), Payload::None);
        }
    }

    fn send(
        &self,
        method: Method,
        place: Place<'_>,
        headers: Vec<(&'static str, String)>,
        payload: Payload<'_>,
    ) -> Result<Reply, FetchError> {
        self.place
            .send(self.inner, Access::Push, method, place, headers, payload)
    }

    /// Sends `length` bytes of the blob from `offset` on.
    fn send_bytes(
        &self,
        method: Method,
        url: &Url,
        headers: Vec<(&'static str, String)>,
        length: u64,
    ) -> Result<Reply, FetchError> {
        if length == 0 {
            return self.send(method, Place::Url(url), headers, Payload::Bytes(&[]));
        }
        let failure = RefCell::new(None);
        let piece = Piece {
            upload: self.upload,
            from: self.offset,
            length,
            failure: &failure,
        };
        let payload = Payload::Stream {
            length,
            source: &piece,
        };
        let result = self.send(method, Place::Url(url), headers, payload);
        match failure.take() {
            // The connection broke because there was nothing to send.
            Some(source) => Err(FetchError::Source { source }),
            None => result,
        }
    }

    fn refusal(&self, reply: Reply) -> FetchError {
        self.place.refusal(self.inner, &self.what(), reply)
    }
}

/// Reads `Range: 0-LAST` of an answer: how much has arrived. Registries say `0-0` of nothing.
fn arrived(reply: &Reply) -> Option<u64> {
    let text = reply.headers.get("range")?.to_str().ok()?.trim();
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let (first, last) = text.split_once('-')?;
    match (first.parse().ok()?, last.parse().ok()?) {
        (0_u64, 0_u64) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// Some of the blob's bytes.
struct Piece<'a> {
    upload: &'a Upload<'a>,
    from: u64,
    length: u64,
    failure: &'a RefCell<Option<io::Error>>,
}

impl Opens for Piece<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Counted {
            source: self.upload.source.open(self.from)?,
            left: self.length,
            position: self.from,
            progress: self.upload.progress,
            failure: self.failure,
        }))
    }
}

/// Gives exactly as many bytes as were announced, or fails: a request that ends early would wait
/// for ever.
struct Counted<'a> {
    source: Box<dyn Read + 'a>,
    left: u64,
    position: u64,
    progress: &'a (dyn Fn(u64) + Sync),
    failure: &'a RefCell<Option<io::Error>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let result = match self.source.read(&mut buffer[..most]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        match result {
            Ok(count) => {
                self.left -= count as u64;
                self.position += count as u64;
                (self.progress)(self.position);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failure.replace(Some(error));
                Err(kind.into())
            }
        }
    }
}
