//! Blobs on their way in: sessions that are begun, sent to in order, and committed.
//!
//! The bytes go to a file without a name on the store's filesystem and are hashed on their way.
//! Only a commit with the right digest gives the file a name; whatever else happens, it is gone
//! with its descriptor.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, LOCATION, RANGE};
use hyper::{Method, Request};
use lamina_image::Images;
use lamina_types::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::answer::{Answer, Refusal, empty, set, set_named, set_place};
use crate::blobs::failed;
use crate::connection::blocking;
use crate::route::Query;
use crate::server::{Limits, Shared};

/// What is gathered before it is written.
const PIECE: usize = 1 << 20;
/// How often, in bytes, the free space is looked at.
const SPACE_INTERVAL: u64 = 64 << 20;

/// The uploads of a server, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    repository: String,
    touched: Instant,
    session: Arc<AsyncMutex<Session>>,
}

/// What has come of one.
#[derive(Debug)]
struct Session {
    file: File,
    hash: Sha256,
    length: u64,
    /// The length at which the free space is looked at next.
    check_at: u64,
}

type Held = OwnedMutexGuard<Session>;

/// Why bytes could not be kept.
enum Full {
    TooLarge,
    NoSpace,
    Io(io::Error),
}

impl Uploads {
    fn begin(&self, repository: &str, file: File, limits: &Limits) -> Result<String, Refusal> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Refusal::internal())?;
        let id = HEXLOWER.encode(&random);
        let session = Session {
            file,
            hash: Sha256::new(),
            length: 0,
            check_at: 0,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= limits.uploads {
            return Err(Refusal::new(429, "TOOMANYREQUESTS", "too many uploads"));
        }
        let entry = Entry {
            repository: repository.to_owned(),
            touched: Instant::now(),
            session: Arc::new(AsyncMutex::new(session)),
        };
        all.insert(id.clone(), entry);
        Ok(id)
    }

    /// Returns an upload for the only request that may be at it.
    fn take(&self, repository: &str, id: &str) -> Result<Held, Refusal> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all
            .get_mut(id)
            .filter(|entry| entry.repository == repository);
        let unknown = || Refusal::new(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown to registry");
        let entry = entry.ok_or_else(unknown)?;
        entry.touched = Instant::now();
        let held = Arc::clone(&entry.session).try_lock_owned();
        held.map_err(|_| {
            Refusal::new(
                409,
                "BLOB_UPLOAD_INVALID",
                "another request is at this upload",
            )
        })
    }

    fn forget(&self, id: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(id);
    }

    /// Ends what nobody has sent to for so long.
    pub(crate) fn forget_old(&self, age: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |entry: &Entry| Arc::strong_count(&entry.session) > 1;
        all.retain(|_, entry| entry.touched.elapsed() < age || busy(entry));
    }
}

/// `POST`: mounts a blob, takes a whole one, or begins an upload.
pub(crate) async fn begin(
    shared: &Arc<Shared>,
    name: String,
    query: Query,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (mount, whole) = (query.digest("mount"), query.digest("digest")?);
    let opener = Arc::clone(shared);
    let repository = name.clone();
    let opened = blocking(move || -> Result<Result<Digest, File>, Refusal> {
        Images::new(&opener.store).hosted(&repository)?;
        // A digest that is none is no blob of ours.
        if let Ok(Some(digest)) = mount {
            let leased = opener.leases.blob(&opener.store, &digest);
            leased.map_err(|error| failed(&opener, &error))?;
            let here = Images::new(&opener.store).blob_size(&digest);
            if here.map_err(|error| failed(&opener, &error))?.is_some() {
                return Ok(Ok(digest));
            }
        }
        let file = opener.store.blobs().unnamed();
        Ok(Err(file.map_err(|error| failed(&opener, &error))?))
    });
    let file = match opened.await?? {
        Ok(digest) => return Ok(created(&name, &digest)),
        Err(file) => file,
    };
    let id = shared.uploads.begin(&name, file, &shared.limits)?;
    if let Some(digest) = whole {
        let session = shared.uploads.take(&name, &id)?;
        let committed = commit(shared, &name, digest, session, request).await;
        shared.uploads.forget(&id);
        return committed;
    }
    Ok(state(202, &name, &id, 0))
}

/// `PATCH`, `PUT`, `GET` and `DELETE` of an upload.
pub(crate) async fn go_on(
    shared: &Arc<Shared>,
    name: String,
    id: String,
    query: Query,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let session = shared.uploads.take(&name, &id)?;
    match *request.method() {
        Method::GET => Ok(state(204, &name, &id, session.length)),
        Method::DELETE => {
            drop(session);
            shared.uploads.forget(&id);
            Ok(empty(204))
        }
        Method::PUT => {
            let missing = || Refusal::new(400, "DIGEST_INVALID", "the digest is missing");
            let digest = query.digest("digest")?.ok_or_else(missing)?;
            fits(request.headers(), &name, &id, session.length)?;
            let committed = commit(shared, &name, digest, session, request).await;
            shared.uploads.forget(&id);
            committed
        }
        _ => {
            fits(request.headers(), &name, &id, session.length)?;
            let session = receive(shared, session, request.into_body()).await?;
            Ok(state(202, &name, &id, session.length))
        }
    }
}

/// Checks that a piece goes on where the upload is, and is as long as it says.
fn fits(headers: &HeaderMap, name: &str, id: &str, at: u64) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(CONTENT_RANGE) else {
        return Ok(());
    };
    let range = range.trim().strip_prefix("bytes ").unwrap_or(range.trim());
    let parsed = range.split('/').next().and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    });
    let wrong = || {
        let refusal = Refusal::new(416, "BLOB_UPLOAD_INVALID", "it goes on elsewhere");
        refusal
            .header(RANGE, format!("0-{}", at.saturating_sub(1)))
            .header(LOCATION, place(name, id))
    };
    let (first, last) = parsed.ok_or_else(wrong)?;
    if first != at || last < first {
        return Err(wrong());
    }
    let length = text(CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length != last - first + 1) {
        let text = "the range has another length than the body";
        return Err(Refusal::new(400, "SIZE_INVALID", text));
    }
    Ok(())
}

/// Adds a body to an upload. What has come of one that breaks off stays.
async fn receive(
    shared: &Arc<Shared>,
    mut session: Held,
    mut body: Incoming,
) -> Result<Held, Refusal> {
    let mut gathered = Vec::new();
    loop {
        let frame = match timeout(shared.limits.idle, body.frame()).await {
            Ok(frame) => frame,
            Err(_) => {
                append(shared, session, gathered).await?;
                return Err(Refusal::new(408, "BLOB_UPLOAD_INVALID", "the body stopped"));
            }
        };
        match frame {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    gathered.extend_from_slice(&bytes);
                }
            }
            Some(Err(_)) => {
                append(shared, session, gathered).await?;
                let text = "the body ended early";
                return Err(Refusal::new(400, "BLOB_UPLOAD_INVALID", text));
            }
            None => return append(shared, session, gathered).await,
        }
        if gathered.len() >= PIECE {
            let full = std::mem::take(&mut gathered);
            session = append(shared, session, full).await?;
        }
    }
}

async fn append(shared: &Arc<Shared>, mut session: Held, bytes: Vec<u8>) -> Result<Held, Refusal> {
    let writer = Arc::clone(shared);
    let written = blocking(move || {
        let result = session.append(&bytes, &writer);
        result.map(|()| session).map_err(|full| match full {
            Full::TooLarge => Refusal::new(413, "SIZE_INVALID", "the blob is too large"),
            Full::NoSpace => Refusal::new(507, "UNKNOWN", "the store is full"),
            Full::Io(error) => failed(&writer, &error),
        })
    });
    written.await?
}

/// Takes the rest and, if everything has the digest, makes it a blob.
async fn commit(
    shared: &Arc<Shared>,
    name: &str,
    digest: Digest,
    session: Held,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let session = receive(shared, session, request.into_body()).await?;
    let writer = Arc::clone(shared);
    let wanted = digest.clone();
    let committed = blocking(move || {
        let mut session = session;
        let found = session.digest(wanted.algorithm());
        if found.map_err(|error| failed(&writer, &error))? != wanted {
            let text = "the digest is not that of the content";
            return Err(Refusal::new(400, "DIGEST_INVALID", text));
        }
        let adopted = writer.leases.with(&writer.store, |op| {
            writer.store.blobs().adopt(op, &session.file, &wanted)
        });
        adopted.map_err(|error| failed(&writer, &error))
    });
    committed.await??;
    Ok(created(name, &digest))
}

impl Session {
    fn append(&mut self, bytes: &[u8], shared: &Shared) -> Result<(), Full> {
        let length = self.length + bytes.len() as u64;
        if length > shared.limits.blob {
            return Err(Full::TooLarge);
        }
        if length >= self.check_at {
            self.check_at = length + SPACE_INTERVAL;
            let stat = rustix::fs::fstatvfs(&self.file);
            let free = stat.map_or(u64::MAX, |s| s.f_bavail.saturating_mul(s.f_frsize));
            if free < shared.limits.keep_free {
                return Err(Full::NoSpace);
            }
        }
        // A write that fails half-way must not stay: the hash does not know of it.
        let written = self.file.write_all(bytes);
        if written.is_ok() {
            self.hash.update(bytes);
            self.length = length;
        }
        written.map_err(|error| {
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Full::NoSpace,
                _ => Full::Io(error),
            }
        })
    }

    fn digest(&mut self, algorithm: Algorithm) -> io::Result<Digest> {
        match algorithm {
            Algorithm::Sha256 => Ok(Digest::from_sha256(self.hash.clone().finalize().into())),
            Algorithm::Sha512 => {
                self.file.seek(SeekFrom::Start(0))?;
                let mut hash = Sha512::new();
                let mut buffer = vec![0; 256 << 10];
                loop {
                    match self.file.read(&mut buffer)? {
                        0 => return Ok(Digest::from_sha512(hash.finalize().into())),
                        count => hash.update(&buffer[..count]),
                    }
                }
            }
        }
    }
}

fn place(name: &str, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

fn state(status: u16, name: &str, id: &str, length: u64) -> Answer {
    let mut answer = empty(status);
    set(&mut answer, LOCATION, &place(name, id));
    set(
        &mut answer,
        RANGE,
        &format!("0-{}", length.saturating_sub(1)),
    );
    set_named(&mut answer, "docker-upload-uuid", id);
    answer
}

fn created(name: &str, digest: &Digest) -> Answer {
    let mut answer = empty(201);
    set_place(&mut answer, &format!("/v2/{name}/blobs/{digest}"), digest);
    answer
}
