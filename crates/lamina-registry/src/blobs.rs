//! `GET` and `HEAD` of a blob, whole or a part of it.

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use hyper::{Method, Request};
use lamina_image::Images;
use lamina_types::{Digest, with_causes};

use crate::answer::{Answer, Refusal, empty, set, set_named};
use crate::body::{Body, FilePart};
use crate::connection::blocking;
use crate::route::digest;
use crate::server::{Shared, Told};

/// A part of a blob: its first byte, and how many.
type Part = (u64, u64);

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(u64, u64),
    Nothing,
}

/// Answers a request for a blob. Blobs are the store's, whatever repository they are asked for in:
/// who may read, may read all. One that a writer is told is here stays for a while.
pub(crate) async fn blob<T>(
    shared: &Arc<Shared>,
    name: String,
    text: &str,
    request: &Request<T>,
    writes: bool,
) -> Result<Answer, Refusal> {
    let digest = digest(text)?;
    let range = request.headers().get(RANGE);
    let range = range
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let wants_body = *request.method() == Method::GET;
    let opener = Arc::clone(shared);
    let wanted = digest.clone();
    let opened = blocking(move || {
        open(
            &opener,
            &name,
            &wanted,
            range.as_deref(),
            (writes, wants_body),
        )
    });
    let (file, size, part) = opened.await??;
    let Some((first, length)) = part else {
        let refusal = Refusal::new(416, "SIZE_INVALID", "there is no such range");
        return Err(refusal.header(CONTENT_RANGE, format!("bytes */{size}")));
    };
    let mut answer = empty(if length < size { 206 } else { 200 });
    if length < size {
        let last = first + length - 1;
        set(
            &mut answer,
            CONTENT_RANGE,
            &format!("bytes {first}-{last}/{size}"),
        );
    }
    set(&mut answer, CONTENT_LENGTH, &length.to_string());
    set(&mut answer, CONTENT_TYPE, "application/octet-stream");
    set(&mut answer, ACCEPT_RANGES, "bytes");
    set(&mut answer, ETAG, &format!("\"{digest}\""));
    set_named(&mut answer, "docker-content-digest", &digest.to_string());
    if let Some(file) = file {
        let file = tokio::fs::File::from_std(file);
        *answer.body_mut() = Body::File(FilePart::new(file, length));
    }
    Ok(answer)
}

fn open(
    shared: &Shared,
    name: &str,
    digest: &Digest,
    range: Option<&str>,
    (writes, wants_body): (bool, bool),
) -> Result<(Option<std::fs::File>, u64, Option<Part>), Refusal> {
    Images::new(&shared.store).hosted(name)?;
    if writes {
        let leased = shared.leases.blob(&shared.store, digest);
        leased.map_err(|error| failed(shared, &error))?;
    }
    let images = Images::new(&shared.store);
    let unknown = || Refusal::new(404, "BLOB_UNKNOWN", "blob unknown to registry");
    let size = images.blob_size(digest);
    let size = size.map_err(|error| failed(shared, &error))?;
    let size = size.ok_or_else(unknown)?;
    let part = match range.map_or(Wanted::Whole, |text| wanted(text, size)) {
        Wanted::Whole => Some((0, size)),
        Wanted::Part(first, length) => Some((first, length)),
        Wanted::Nothing => None,
    };
    let mut file = None;
    if wants_body && part.is_some() {
        let opened = images.open_blob(digest);
        file = opened.map_err(|error| failed(shared, &error))?;
        if file.is_none() {
            return Err(unknown());
        }
    }
    if let (Some((first, _)), Some(file)) = (part, &mut file) {
        let sought = file.seek(SeekFrom::Start(first));
        sought.map_err(|error| failed(shared, &error))?;
    }
    Ok((file, size, part))
}

/// Tells whoever runs the server what went wrong, and the client only that something did.
pub(crate) fn failed(shared: &Shared, error: &(dyn std::error::Error + 'static)) -> Refusal {
    (shared.tell)(Told::Failed(with_causes(error)));
    Refusal::internal()
}

/// Reads `bytes=first-last`, `bytes=first-` and `bytes=-count` (RFC 9110, section 14.1.2). What is
/// malformed, or asks for several ranges, gets everything.
fn wanted(text: &str, size: u64) -> Wanted {
    let parse = || {
        let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| text.trim().parse::<u64>().ok();
        match (first.trim(), last.trim()) {
            ("", count) => {
                let count = number(count)?.min(size);
                Some((size - count, count))
            }
            (first, "") => Some((number(first)?, u64::MAX)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then(|| (first, (last - first).saturating_add(1)))
            }
        }
    };
    match parse() {
        None => Wanted::Whole,
        Some((first, length)) if first < size && length > 0 => {
            Wanted::Part(first, length.min(size - first))
        }
        Some(_) => Wanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-9", Wanted::Part(0, 10)),
            ("bytes=5-", Wanted::Part(5, 95)),
            ("bytes=-7", Wanted::Part(93, 7)),
            ("bytes=-700", Wanted::Part(0, 100)),
            ("bytes=90-200", Wanted::Part(90, 10)),
            ("bytes=0-18446744073709551615", Wanted::Part(0, 100)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=9-5", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(text, 100), expected, "{text}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Nothing);
    }
}
