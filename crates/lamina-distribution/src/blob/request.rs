//! Asking for the rest of a blob, and judging what comes.

use super::*;

impl BlobStream {
    /// Asks the present endpoint for the blob from `position` on.
    pub(super) fn request(&mut self) -> Result<Body, FetchError> {
        let from = if self.no_ranges { 0 } else { self.position };
        let mut headers = Vec::new();
        if from > 0 {
            headers.push(("range", format!("bytes={from}-")));
            if let Some(etag) = &self.etag {
                headers.push(("if-range", etag.clone()));
            }
        }
        let endpoint = &self.endpoints[self.at];
        let repository = endpoint.repository(&self.reference);
        let name = self.reference.familiar_repository();
        let reply = self.client.inner.get(&Get {
            subject: Subject {
                endpoint,
                repository: &repository,
                name: &name,
                access: Access::Pull,
            },
            path: format!("blobs/{}", self.descriptor.digest),
            headers,
        })?;
        match reply.status {
            200 => self.accept(reply, 0),
            206 if from > 0 => self.accept_part(reply, from),
            416 if from > 0 => Err(self.without_ranges(reply)),
            _ => Err(self.failure(reply)),
        }
    }

    fn accept_part(&mut self, reply: Reply, from: u64) -> Result<Body, FetchError> {
        let range = reply
            .headers
            .get("content-range")
            .and_then(|value| value.to_str().ok())
            .and_then(ContentRange::parse);
        let size = self.descriptor.size;
        match range {
            Some(range) if range.fits(from, size) => self.accept(reply, from),
            _ => Err(self.without_ranges(reply)),
        }
    }

    /// Takes an answer whose first byte is the blob's byte number `start`.
    fn accept(&mut self, reply: Reply, start: u64) -> Result<Body, FetchError> {
        let announced = reply.length();
        if let Some(length) = announced {
            let total = start.saturating_add(length);
            // A part may be shorter than what is left; the rest is then asked for.
            let wrong = if start == 0 {
                total != self.descriptor.size
            } else {
                total > self.descriptor.size
            };
            if wrong {
                return Err(FetchError::SizeMismatch {
                    host: reply.host,
                    what: format!("blob {}", self.descriptor.digest),
                    expected: self.descriptor.size,
                    actual: total,
                });
            }
        }
        self.etag = strong_etag(&reply.headers);
        Ok(Body {
            host: reply.host,
            skip: self.position - start,
            delimited: announced.is_some(),
            stream: reply.body.into_reader(),
            window: (Instant::now(), 0),
        })
    }

    /// Remembers that this endpoint's ranges are of no use; the next request is for the whole.
    fn without_ranges(&mut self, reply: Reply) -> FetchError {
        self.no_ranges = true;
        FetchError::Interrupted {
            host: reply.host,
            source: io::Error::other("it cannot resume where it broke off"),
        }
    }

    fn failure(&self, reply: Reply) -> FetchError {
        let http = &self.client.inner.http;
        match reply.status {
            404 => FetchError::BlobUnknown {
                repository: self.reference.familiar_repository(),
                digest: self.descriptor.digest.clone(),
            },
            403 => FetchError::Denied {
                host: reply.host.clone(),
                repository: self.reference.familiar_repository(),
                detail: status::message(http, reply),
            },
            _ => status::other(http, reply),
        }
    }
}

/// `bytes first-last/total` (RFC 9110, section 14.4).
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix("bytes ")?;
        let (range, total) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = match total.trim() {
            "*" => None,
            digits => Some(digits.parse().ok()?),
        };
        Some(Self {
            first: first.trim().parse().ok()?,
            last: last.trim().parse().ok()?,
            total,
        })
    }

    /// Says whether this is a part from `from` on of something `size` long.
    fn fits(&self, from: u64, size: u64) -> bool {
        self.first == from
            && self.last >= from
            && self.last < size
            && self.total.is_none_or(|total| total == size)
    }
}

fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get("etag")?.to_str().ok()?;
    let strong = tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"');
    strong.then(|| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn believes_only_the_range_that_was_asked_for() {
        let fits = |text: &str| ContentRange::parse(text).is_some_and(|range| range.fits(10, 100));
        assert!(fits("bytes 10-99/100"));
        assert!(fits("bytes 10-49/*"));
        for bad in [
            "bytes 0-99/100",
            "bytes 11-99/100",
            "bytes 10-100/101",
            "bytes 10-99/200",
            "bytes 10-9/100",
            "bytes */100",
            "10-99/100",
            "bytes 10-99",
            "bytes 99999999999999999999-1/2",
            "",
        ] {
            assert!(!fits(bad), "{bad:?}");
        }
    }
}
