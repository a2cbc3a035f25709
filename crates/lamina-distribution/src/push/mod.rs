//! Bytes to registries: blobs that are not there yet, then the manifests that lead to them.
//!
//! ```text
//! push_blob      HEAD ─► there │ mount from another repository ─► there │ upload
//! push_manifest  PUT by tag or digest, what the registry made of it compared
//! ```
//! Only the registry itself is pushed to, never a mirror. A registry may say at every step where
//! an upload goes on: at another origin it goes on without credentials.

mod session;

use std::fmt;
use std::io::{self, Read};

use lamina_types::oci::Descriptor;
use lamina_types::{Digest, Reference};
use ureq::http::Method;

use crate::auth::{Access, Subject};
use crate::client::{Client, Inner};
use crate::error::FetchError;
use crate::exchange::{Ask, Place};
use crate::hosts::Endpoint;
use crate::http::{Payload, Reply};
use crate::manifest::digest_of;
use crate::status;
use session::Session;

/// Repositories that a blob is tried to be mounted from.
const MOUNTS_MAX: usize = 3;

/// What a blob is read from, again and again where a connection breaks.
pub trait BlobSource: Sync {
    /// Opens the blob at `offset`; its bytes up to the end are those that its digest names.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>>;
}

/// A blob to be pushed.
#[derive(Clone, Copy)]
pub struct Upload<'a> {
    /// Its digest and length.
    pub descriptor: &'a Descriptor,
    /// Where its bytes are.
    pub source: &'a dyn BlobSource,
    /// Other repositories of the registry, by path, that may have it; the likeliest first.
    pub mount_from: &'a [String],
    /// Is told how many bytes have been sent, from the uploading thread, often.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("descriptor", self.descriptor)
            .field("mount_from", &self.mount_from)
            .finish_non_exhaustive()
    }
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It was there.
    Existed,
    /// The registry took it from this repository of its own.
    Mounted(String),
    /// Its bytes were sent.
    Uploaded,
}

impl Client {
    /// Says whether the repository has a blob.
    pub fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<bool, FetchError> {
        self.at_registry(reference, |inner, place| inner.has_blob(place, digest))
    }

    /// Brings a blob into the repository of `reference`, sending its bytes only if nothing else
    /// does.
    ///
    /// Retries and goes on where it broke off, for a bounded time. Idempotent; killed, it leaves
    /// nothing that can be pulled.
    pub fn push_blob(
        &self,
        reference: &Reference,
        upload: &Upload<'_>,
    ) -> Result<Sent, FetchError> {
        let digest = &upload.descriptor.digest;
        if self.has_blob(reference, digest)? {
            return Ok(Sent::Existed);
        }
        for from in upload.mount_from.iter().take(MOUNTS_MAX) {
            let mounted =
                self.at_registry(reference, |inner, place| inner.mount(place, digest, from));
            match mounted {
                Ok(true) => return Ok(Sent::Mounted(from.clone())),
                Err(FetchError::Cancelled) => return Err(FetchError::Cancelled),
                // Not being allowed to read there is no reason not to send it here.
                Ok(false) | Err(_) => {}
            }
        }
        let endpoint = self.inner.rules.registry(reference)?;
        let repository = endpoint.repository(reference);
        let place = Repository {
            endpoint: &endpoint,
            path: &repository,
            reference,
        };
        Session::new(&self.inner, place, upload).run()?;
        Ok(Sent::Uploaded)
    }

    /// Returns the digest of the manifest or index that `name`, a tag or a digest, has in the
    /// repository, if there is one and the registry tells.
    pub fn pushed_manifest(
        &self,
        reference: &Reference,
        name: &str,
    ) -> Result<Option<Digest>, FetchError> {
        self.at_registry(reference, |inner, place| {
            inner.head_manifest(place, Access::Push, name)
        })
    }

    /// As [`Self::pushed_manifest`], for whoever may only read: what a tag stands for now.
    pub fn tag_digest(&self, reference: &Reference) -> Result<Option<Digest>, FetchError> {
        let name = reference.tag().unwrap_or("latest");
        self.at_registry(reference, |inner, place| {
            inner.head_manifest(place, Access::Pull, name)
        })
    }

    /// Puts a manifest or index under `name`, a tag or its digest, byte for byte.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), FetchError> {
        self.at_registry(reference, |inner, place| {
            inner.put_manifest(place, name, media_type, bytes)
        })
    }

    fn at_registry<T>(
        &self,
        reference: &Reference,
        act: impl Fn(&Inner, Repository<'_>) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let inner = &self.inner;
        let endpoint = inner.rules.registry(reference)?;
        let path = endpoint.repository(reference);
        let place = Repository {
            endpoint: &endpoint,
            path: &path,
            reference,
        };
        inner.with_retries(&endpoint, || act(inner, place))
    }
}

/// A repository at the registry itself.
#[derive(Debug, Clone, Copy)]
struct Repository<'a> {
    endpoint: &'a Endpoint,
    path: &'a str,
    reference: &'a Reference,
}

impl Repository<'_> {
    /// Sends a request about this repository.
    fn send(
        &self,
        inner: &Inner,
        access: Access<'_>,
        method: Method,
        place: Place<'_>,
        headers: Vec<(&'static str, String)>,
        payload: Payload<'_>,
    ) -> Result<Reply, FetchError> {
        let name = self.reference.familiar_repository();
        inner.ask(&Ask {
            subject: Subject {
                endpoint: self.endpoint,
                repository: self.path,
                name: &name,
                access,
            },
            method,
            place,
            headers,
            payload,
            patience: inner.config.timeouts.commit,
        })
    }

    fn below(&self, rest: &str) -> Place<'static> {
        Place::Path(format!("{}/{rest}", self.path))
    }

    /// Returns the error of an answer to something that was to be written.
    fn refusal(&self, inner: &Inner, what: &str, reply: Reply) -> FetchError {
        let (status, host) = (reply.status, reply.host.clone());
        match status {
            403 => FetchError::Denied {
                host,
                repository: self.reference.familiar_repository(),
                detail: status::message(&inner.http, reply),
            },
            408 | 425 | 429 | 500.. => status::other(&inner.http, reply),
            _ => {
                let report = status::report(&inner.http, reply);
                let detail = match (report.code.as_str(), report.message) {
                    ("", message) => message,
                    (code, message) => format!("{code}: {message}"),
                };
                FetchError::Refused {
                    host,
                    what: what.to_owned(),
                    status,
                    detail,
                }
            }
        }
    }
}

impl Inner {
    fn has_blob(&self, place: Repository<'_>, digest: &Digest) -> Result<bool, FetchError> {
        let path = place.below(&format!("blobs/{digest}"));
        let reply = place.send(
            self,
            Access::Push,
            Method::HEAD,
            path,
            Vec::new(),
            Payload::None,
        )?;
        match reply.status {
            200 => Ok(true),
            // Some registries answer 405 or 307 to a place that does not do HEAD.
            404 | 405 | 400 => Ok(false),
            _ => Err(place.refusal(self, &format!("blob {digest}"), reply)),
        }
    }

    /// Asks for a blob of another repository; says whether it came.
    fn mount(
        &self,
        place: Repository<'_>,
        digest: &Digest,
        from: &str,
    ) -> Result<bool, FetchError> {
        let path = place.below(&format!("blobs/uploads/?mount={digest}&from={from}"));
        let reply = place.send(
            self,
            Access::Mount(from),
            Method::POST,
            path,
            Vec::new(),
            Payload::Bytes(&[]),
        )?;
        match reply.status {
            201 => Ok(true),
            202 => {
                // An upload was begun instead. Another is begun where its turn comes, with a
                // token for this repository alone.
                self.give_up(place, &reply);
                Ok(false)
            }
            _ => Err(place.refusal(self, &format!("blob {digest}"), reply)),
        }
    }

    /// Ends an upload that an answer has begun; a registry would keep it for days.
    fn give_up(&self, place: Repository<'_>, reply: &Reply) {
        let Ok(base) = self.base(place.endpoint) else {
            return;
        };
        if let Ok(url) = self.located(place.endpoint, &base, reply) {
            // It costs the registry a little space, nothing else.
            let _ = place.send(
                self,
                Access::Push,
                Method::DELETE,
                Place::Url(&url),
                Vec::new(),
                Payload::None,
            );
        }
    }

    fn head_manifest(
        &self,
        place: Repository<'_>,
        access: Access<'_>,
        name: &str,
    ) -> Result<Option<Digest>, FetchError> {
        let accept = vec![("accept", crate::manifest::ACCEPT.to_owned())];
        let path = place.below(&format!("manifests/{name}"));
        let reply = place.send(self, access, Method::HEAD, path, accept, Payload::None)?;
        match reply.status {
            200 => Ok(claimed_digest(&reply)),
            400 | 404 | 405 => Ok(None),
            _ => Err(place.refusal(self, &format!("manifest {name}"), reply)),
        }
    }

    fn put_manifest(
        &self,
        place: Repository<'_>,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), FetchError> {
        let reply = place.send(
            self,
            Access::Push,
            Method::PUT,
            place.below(&format!("manifests/{name}")),
            vec![("content-type", media_type.to_owned())],
            Payload::Bytes(bytes),
        )?;
        if !matches!(reply.status, 200..=202) {
            return Err(place.refusal(self, &format!("manifest {name}"), reply));
        }
        if let Some(claimed) = claimed_digest(&reply) {
            let ours = digest_of(claimed.algorithm(), bytes);
            if claimed != ours {
                return Err(FetchError::DigestMismatch {
                    host: reply.host,
                    what: format!("pushed manifest {name}"),
                    expected: ours,
                    actual: claimed,
                });
            }
        }
        Ok(())
    }
}

fn claimed_digest(reply: &Reply) -> Option<Digest> {
    let value = reply.headers.get("docker-content-digest")?;
    value.to_str().ok()?.trim().parse().ok()
}
