//! Answers, and the specification's error documents.

use hyper::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use lamina_image::HostedError;
use lamina_types::{Digest, ErrorKind};

use crate::access::Refused;
use crate::body::Body;

pub(crate) type Answer = Response<Body>;

/// An answer that is an error (distribution-spec, "Error Codes").
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    /// Returns what is said where something of ours failed: nothing about the machine.
    pub(crate) fn internal() -> Self {
        Self::new(500, "UNKNOWN", "the store failed")
    }

    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn into_answer(self) -> Answer {
        let document = serde_json::json!({
            "errors": [{"code": self.code, "message": self.message, "detail": null}],
        });
        let mut answer = json(self.status.as_u16(), &document);
        for (name, value) in self.headers {
            set(&mut answer, name, &value);
        }
        answer
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unauthorized => Self::new(401, "UNAUTHORIZED", "authentication required")
                .header(WWW_AUTHENTICATE, "Basic realm=\"lamina\"".to_owned()),
            Refused::Denied => Self::new(403, "DENIED", "this registry is read-only"),
        }
    }
}

impl From<HostedError> for Refusal {
    fn from(error: HostedError) -> Self {
        use HostedError as E;
        let message = match &error {
            // Nothing about the machine.
            E::Store(_) => String::new(),
            E::Name(source) => format!("{error}: {source}"),
            E::Manifest(source) => format!("{error}: {source}"),
            other => other.to_string(),
        };
        match &error {
            E::Name(_) | E::Reserved => Self::new(400, "NAME_INVALID", message),
            E::Pointer => Self::new(400, "TAG_INVALID", message),
            E::RepositoryUnknown(_) => Self::new(404, "NAME_UNKNOWN", message),
            E::ManifestUnknown(_) => Self::new(404, "MANIFEST_UNKNOWN", message),
            E::InUse(_) => Self::new(405, "UNSUPPORTED", message),
            E::Manifest(_) => Self::new(400, "MANIFEST_INVALID", message),
            E::TooLarge(_) => Self::new(413, "SIZE_INVALID", message),
            E::BlobUnknown(_) => Self::new(404, "MANIFEST_BLOB_UNKNOWN", message),
            E::Size { .. } => Self::new(400, "SIZE_INVALID", message),
            E::Digest(_) => Self::new(400, "DIGEST_INVALID", message),
            E::Store(fault) if fault.kind() == ErrorKind::ResourceExhausted => {
                Self::new(507, "UNKNOWN", "the store is full")
            }
            E::Store(_) => Self::internal(),
        }
    }
}

/// Returns an answer without a body.
pub(crate) fn empty(status: u16) -> Answer {
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status != 204 {
        set(&mut answer, CONTENT_LENGTH, "0");
    }
    answer
}

/// Returns an answer with these bytes.
pub(crate) fn bytes(status: u16, media_type: &str, bytes: Vec<u8>) -> Answer {
    let mut answer = empty(status);
    set(&mut answer, CONTENT_LENGTH, &bytes.len().to_string());
    set(&mut answer, CONTENT_TYPE, media_type);
    *answer.body_mut() = Body::Bytes(bytes.into());
    answer
}

/// Returns an answer with this document.
pub(crate) fn json(status: u16, document: &serde_json::Value) -> Answer {
    bytes(
        status,
        "application/json",
        document.to_string().into_bytes(),
    )
}

/// Sets a header; a value that cannot stand in one is left out.
pub(crate) fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Sets a header by its name.
pub(crate) fn set_named(answer: &mut Answer, name: &'static str, value: &str) {
    set(answer, HeaderName::from_static(name), value);
}

/// Sets where something is, and its digest.
pub(crate) fn set_place(answer: &mut Answer, location: &str, digest: &Digest) {
    set(answer, LOCATION, location);
    set_named(answer, "docker-content-digest", &digest.to_string());
}
