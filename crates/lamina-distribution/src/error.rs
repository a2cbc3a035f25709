//! What can go wrong between a reference and its bytes.

use std::io;
use std::time::Duration;

use lamina_types::{Digest, ErrorKind};

use crate::credentials::CredentialsError;
use crate::dns::DnsError;
use crate::document::DocumentError;

/// Why something could not be fetched from a registry.
///
/// Texts from a registry are cut to a line and stripped of control characters before they get in
/// here; no variant ever carries a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The registry's name has no address.
    #[error("cannot resolve host {host}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        source: DnsError,
    },
    /// No connection: refused, unreachable.
    #[error("cannot connect to {host}")]
    Connect {
        /// `host:port`.
        host: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// TLS failed: an untrusted certificate, another name, no TLS at all.
    #[error("cannot make a secure connection to {host}")]
    Tls {
        /// `host:port`.
        host: String,
        /// What the TLS library said.
        source: io::Error,
    },
    /// The certificate files of the configuration cannot be used.
    #[error("cannot use the certificates for {host}: {detail}")]
    Certificates {
        /// `host:port`.
        host: String,
        /// Which file and why.
        detail: String,
    },
    /// The registry did not answer, or its data stopped, for too long.
    #[error("{host} did not {act} within {} s", after.as_secs_f32())]
    Timeout {
        /// `host:port`.
        host: String,
        /// What was waited for.
        act: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The connection broke before the end.
    #[error("connection to {host} was interrupted")]
    Interrupted {
        /// `host:port`.
        host: String,
        /// How.
        source: io::Error,
    },
    /// The other side does not speak HTTP as we know it.
    #[error("{host} sent a malformed answer: {detail}")]
    Protocol {
        /// `host:port`.
        host: String,
        /// What is wrong.
        detail: String,
    },
    /// A status without a meaning of its own here.
    #[error("unexpected status {status} from {host}{}", colon(detail))]
    Status {
        /// `host:port`.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The registry's message, if any.
        detail: String,
    },
    /// The registry is broken or overloaded (5xx).
    #[error("{host} failed with status {status}{}", colon(detail))]
    Server {
        /// `host:port`.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The registry's message, if any.
        detail: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Too many requests (429).
    #[error("{host} refuses for too many requests{}", colon(detail))]
    TooManyRequests {
        /// `host:port`.
        host: String,
        /// The registry's message, if any.
        detail: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Credentials are missing or wrong (401).
    #[error(
        "{act} access denied for {repository}, repository does not exist or may require \
         authorization: unauthorized: {detail}"
    )]
    Unauthorized {
        /// `pull` or `push`.
        act: &'static str,
        /// The repository.
        repository: String,
        /// What was tried, and the registry's message.
        detail: String,
    },
    /// A login does not open the registry.
    #[error("{registry} refuses the login: {detail}")]
    LoginRefused {
        /// The registry.
        registry: String,
        /// What was tried, and the registry's message.
        detail: String,
    },
    /// The credentials are good and this is still not allowed (403).
    #[error("access to {repository} denied by {host}{}", colon(detail))]
    Denied {
        /// `host:port`.
        host: String,
        /// The repository.
        repository: String,
        /// The registry's message, if any.
        detail: String,
    },
    /// There is no such tag or manifest.
    #[error("manifest for {reference} not found: manifest unknown")]
    ManifestUnknown {
        /// The whole reference.
        reference: String,
    },
    /// There is no such repository.
    #[error("repository {repository} not found: name unknown to registry")]
    RepositoryUnknown {
        /// The repository.
        repository: String,
    },
    /// A manifest names a blob that is not there.
    #[error("blob {digest} not found in {repository}: blob unknown to registry")]
    BlobUnknown {
        /// The repository.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// What is to be sent cannot be read.
    #[error("cannot read what is to be sent")]
    Source {
        /// Why.
        source: io::Error,
    },
    /// The registry does not take a blob or manifest.
    #[error("{host} refuses {what}: status {status}{}", colon(detail))]
    Refused {
        /// `host:port`.
        host: String,
        /// What it is.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The registry's code and message, if any.
        detail: String,
    },
    /// A redirect that is not followed.
    #[error("refused a redirect from {host}: {detail}")]
    Redirect {
        /// `host:port` of the endpoint first asked.
        host: String,
        /// Why.
        detail: String,
    },
    /// The registry asks for its token at a place where its credentials must not go.
    #[error("refused to authenticate to {host} at {realm}: {detail}")]
    Realm {
        /// `host:port` of the registry.
        host: String,
        /// The token server.
        realm: String,
        /// Which rule.
        detail: String,
    },
    /// Credentials could not be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A document is larger than any honest one.
    #[error("{what} from {host} is larger than {limit} bytes")]
    TooLarge {
        /// `host:port`.
        host: String,
        /// What it is.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not what their digest says.
    #[error("{what} from {host} has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// `host:port`.
        host: String,
        /// What it is.
        what: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The length is not what the descriptor says.
    #[error("{what} from {host} has {actual} bytes, its descriptor says {expected}")]
    SizeMismatch {
        /// `host:port`.
        host: String,
        /// What it is.
        what: String,
        /// The descriptor's size.
        expected: u64,
        /// What the registry announces.
        actual: u64,
    },
    /// The manifest or index cannot be read.
    #[error("invalid manifest for {reference}")]
    Document {
        /// The whole reference.
        reference: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// The index has nothing for the wanted platform.
    #[error("no image for platform {wanted} in {reference}; it has: {available}")]
    NoPlatform {
        /// The whole reference.
        reference: String,
        /// The platform that was asked for.
        wanted: String,
        /// Those that exist.
        available: String,
    },
    /// The configuration forbids this registry.
    #[error("registry {host} is blocked by the configuration")]
    Blocked {
        /// The registry.
        host: String,
    },
    /// The configuration names something that is no host.
    #[error("invalid registry address {text:?} in the configuration")]
    Address {
        /// As written.
        text: String,
    },
    /// The mirrors failed and then the registry itself.
    #[error("the registry and its mirrors failed ({})", mirrors.join("; "))]
    Mirrors {
        /// `mirror: why`, in order.
        mirrors: Vec<String>,
        /// The registry's own failure.
        source: Box<FetchError>,
    },
    /// [`Client::cancel`](crate::Client::cancel) was called.
    #[error("the transfer was cancelled")]
    Cancelled,
}

/// What to do with a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It would fail again.
    Never,
    /// After a while.
    Backoff,
    /// After what the server asks for.
    After(Duration),
}

impl FetchError {
    /// Returns the class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Dns { source, .. } => source.kind(),
            Self::Connect { .. }
            | Self::Interrupted { .. }
            | Self::Server { .. }
            | Self::TooManyRequests { .. } => ErrorKind::Unavailable,
            Self::Tls { .. } | Self::Redirect { .. } | Self::Realm { .. } => {
                ErrorKind::PermissionDenied
            }
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Protocol { .. } | Self::Status { .. } => ErrorKind::Internal,
            Self::Unauthorized { .. } | Self::LoginRefused { .. } => ErrorKind::Unauthenticated,
            Self::Denied { .. } | Self::Blocked { .. } => ErrorKind::PermissionDenied,
            Self::ManifestUnknown { .. }
            | Self::RepositoryUnknown { .. }
            | Self::BlobUnknown { .. }
            | Self::NoPlatform { .. } => ErrorKind::NotFound,
            Self::Credentials(error) => error.kind(),
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => ErrorKind::DataLoss,
            Self::Document { source, .. } => source.kind(),
            Self::Address { .. } | Self::Certificates { .. } => ErrorKind::InvalidArgument,
            Self::Mirrors { source, .. } => source.kind(),
            Self::Source { source } => ErrorKind::of_io(source),
            Self::Refused { .. } => ErrorKind::FailedPrecondition,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// Returns the error that a [`BlobStream`](crate::BlobStream) put into an `io::Error`, or the
    /// `io::Error` itself if it came from elsewhere.
    pub fn from_io(error: io::Error) -> Result<Self, io::Error> {
        error.downcast::<Self>()
    }

    /// Says whether and when the same request may be tried again.
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Timeout { .. } | Self::Interrupted { .. } => Retry::Backoff,
            Self::Dns { source, .. } if source.is_temporary() => Retry::Backoff,
            Self::Server { retry_after, .. } | Self::TooManyRequests { retry_after, .. } => {
                retry_after.map_or(Retry::Backoff, Retry::After)
            }
            _ => Retry::Never,
        }
    }

    /// Says whether this may pass while a download is under way: besides what [`Self::retry`]
    /// says, a registry that is being restarted refuses connections for a moment.
    pub(crate) fn retry_midway(&self) -> Retry {
        match self {
            Self::Connect { .. } => Retry::Backoff,
            Self::Protocol { .. } => Retry::Backoff,
            _ => self.retry(),
        }
    }
}

impl From<FetchError> for io::Error {
    fn from(error: FetchError) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => {
                io::ErrorKind::PermissionDenied
            }
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::DataLoss => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

fn colon(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    }
}

/// Makes one harmless line of a text from the other side.
pub(crate) fn one_line(text: &str) -> String {
    const LIMIT: usize = 300;
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LIMIT)
        .collect();
    clean.trim().to_owned()
}
