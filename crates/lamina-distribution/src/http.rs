//! The HTTP client under everything: one agent, no redirects of its own, our resolver and TLS,
//! and its errors in our words.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::{HeaderMap, Method, Request};
use ureq::unversioned::transport::{ConnectProxyConnector, TcpConnector};
use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};
use ureq::{Agent, AsSendBody, Body, BodyReader, Proxy, SendBody, Timeout};

use crate::config::{ClientConfig, Timeouts};
use crate::dns::{DnsError, Stub};
use crate::error::{FetchError, one_line};
use crate::hosts::HostRules;
use crate::tls::{TlsConnector, TlsFailure};
use crate::url::Url;

/// Read buffer per connection; large, because a blob is copied through it once.
const INPUT_BUFFER: usize = 512 << 10;
/// The most headers we take in one answer.
const HEADERS_MAX: usize = 64 << 10;
/// Connections kept for the next request; layers are fetched by about this many threads.
const IDLE_PER_HOST: usize = 8;

/// Sends requests; shared by threads.
#[derive(Debug)]
pub(crate) struct Http {
    agent: Agent,
    timeouts: Timeouts,
}

impl Reply {
    /// Returns the length of the body if it was announced.
    pub(crate) fn length(&self) -> Option<u64> {
        let header = self.headers.get("content-length");
        let header = header.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        // The client library takes an announced length of 0 for none.
        self.body.content_length().or(header)
    }
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    /// Nothing, and no length either.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A stream that is opened anew for each attempt and gives exactly `length` bytes or fails.
    Stream {
        /// Its length in bytes.
        length: u64,
        /// Opens it.
        source: &'a dyn Opens,
    },
}

/// What a payload is read from.
pub(crate) trait Opens {
    /// Begins at its beginning.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

impl std::fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream { length, .. } => write!(f, "Stream({length})"),
        }
    }
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Who answered, for messages.
    pub(crate) host: String,
}

impl Http {
    pub(crate) fn new(config: &ClientConfig, rules: Arc<HostRules>) -> Result<Self, FetchError> {
        let timeouts = config.timeouts.clone();
        let agent_config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(config.user_agent.as_str())
            .accept_encoding("identity")
            .proxy(proxy(config)?)
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_send_request(Some(timeouts.response))
            .timeout_recv_response(Some(timeouts.response))
            .timeout_per_read(Some(timeouts.idle))
            .timeout_per_write(Some(timeouts.idle))
            .max_response_header_size(HEADERS_MAX)
            .input_buffer_size(INPUT_BUFFER)
            .max_idle_connections(4 * IDLE_PER_HOST)
            .max_idle_connections_per_host(IDLE_PER_HOST)
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(Boxing)
                .chain(TlsConnector::new(rules));
        let resolver = Stub::new(config.dns.clone());
        Ok(Self {
            agent: Agent::with_parts(agent_config, connector, resolver),
            timeouts,
        })
    }

    /// Sends a GET.
    pub(crate) fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Reply, FetchError> {
        let mut request = Request::get(url.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|error| malformed(url, &error))?;
        let request = self.direct_if_local(url, request);
        self.finish(url, self.agent.run(request))
    }

    /// Sends a request of any method. The answer to a payload may take `patience`: a registry
    /// may hash or move the whole of a blob before it says anything.
    pub(crate) fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
        payload: &Payload<'_>,
        patience: Duration,
    ) -> Result<Reply, FetchError> {
        let mut request = Request::builder().method(method).uri(url.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let malformed = |error: ureq::http::Error| malformed(url, &error);
        let result = match payload {
            Payload::None => {
                let request = request.body(()).map_err(malformed)?;
                self.agent.run(self.direct_if_local(url, request))
            }
            Payload::Bytes(bytes) => {
                let request = request.body(*bytes).map_err(malformed)?;
                let request = self.patient(request, patience);
                self.agent.run(self.direct_if_local(url, request))
            }
            Payload::Stream { length, source } => {
                let mut reader = source
                    .open()
                    .map_err(|source| FetchError::Source { source })?;
                let request = request.header("content-length", *length);
                let body = SendBody::from_reader(&mut *reader);
                let request = request.body(body).map_err(malformed)?;
                let request = self.patient(request, patience);
                self.agent.run(self.direct_if_local(url, request))
            }
        };
        self.finish(url, result)
    }

    fn patient<S: AsSendBody>(&self, request: Request<S>, patience: Duration) -> Request<S> {
        let configured = self.agent.configure_request(request);
        configured
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .build()
    }

    /// Sends a POST of a form.
    pub(crate) fn post_form(&self, url: &Url, form: &str) -> Result<Reply, FetchError> {
        let request = Request::post(url.to_string())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned())
            .map_err(|error| malformed(url, &error))?;
        let request = self.direct_if_local(url, request);
        self.finish(url, self.agent.run(request))
    }

    /// Leaves the proxy out for this machine, as everyone does: there it would be another one.
    fn direct_if_local<S: AsSendBody>(&self, url: &Url, request: Request<S>) -> Request<S> {
        if !url.origin.is_loopback() || self.agent.config().proxy().is_none() {
            return request;
        }
        let configured = self.agent.configure_request(request);
        configured.proxy(None).build()
    }

    fn finish(
        &self,
        url: &Url,
        result: Result<ureq::http::Response<Body>, ureq::Error>,
    ) -> Result<Reply, FetchError> {
        let host = url.origin.authority();
        match result {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Ok(Reply {
                    status: parts.status.as_u16(),
                    headers: parts.headers,
                    body,
                    host,
                })
            }
            // The silence before the first byte is the server's whole answer.
            Err(ureq::Error::Timeout(Timeout::PerRead)) => Err(FetchError::Timeout {
                host,
                act: "answer",
                after: self.timeouts.idle,
            }),
            Err(error) => Err(self.explain(&host, error)),
        }
    }

    /// Says in our words what the HTTP client reports.
    pub(crate) fn explain(&self, host: &str, error: ureq::Error) -> FetchError {
        let host = host.to_owned();
        match error {
            ureq::Error::Timeout(which) => self.timeout(host, which),
            ureq::Error::Io(source) => explain_io(host, source),
            ureq::Error::Other(inner) => match inner.downcast::<DnsError>() {
                Ok(source) => FetchError::Dns {
                    host,
                    source: *source,
                },
                Err(inner) => match inner.downcast::<TlsFailure>() {
                    Ok(failure) => explain_tls(host, *failure),
                    Err(inner) => protocol(host, &*inner),
                },
            },
            ureq::Error::ConnectProxyFailed(why) => FetchError::Connect {
                host,
                source: io::Error::other(format!("the proxy refused: {}", one_line(&why))),
            },
            ureq::Error::Rustls(error) => FetchError::Tls {
                host,
                source: io::Error::other(error),
            },
            other => protocol(host, &other),
        }
    }

    /// As [`Self::explain`], for what reading a body reports.
    pub(crate) fn explain_read(&self, host: &str, error: io::Error) -> FetchError {
        self.explain(host, ureq::Error::from(error))
    }

    fn timeout(&self, host: String, which: Timeout) -> FetchError {
        let times = &self.timeouts;
        let (act, after) = match which {
            Timeout::Resolve => ("resolve", times.connect),
            Timeout::Connect => ("accept a connection", times.connect),
            Timeout::PerRead | Timeout::PerWrite => ("send more data", times.idle),
            _ => ("answer", times.response),
        };
        FetchError::Timeout { host, act, after }
    }

    /// Reads a whole small body, within `limit` bytes and the time for documents.
    pub(crate) fn read_document(
        &self,
        reply: Reply,
        what: &str,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let host = reply.host.clone();
        let too_large = || FetchError::TooLarge {
            host: host.clone(),
            what: what.to_owned(),
            limit,
        };
        if reply.length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let deadline = Instant::now() + self.timeouts.document;
        let mut reader = reply.body.into_reader();
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(bytes),
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(error) => return Err(self.explain_read(&host, error)),
            }
            if bytes.len() as u64 > limit {
                return Err(too_large());
            }
            if Instant::now() > deadline {
                let after: Duration = self.timeouts.document;
                return Err(FetchError::Timeout {
                    host,
                    act: "finish a document",
                    after,
                });
            }
        }
    }

    /// Closes every connection; reads blocked on one return at once, new requests fail.
    pub(crate) fn shut_down(&self) {
        self.agent.clone().shutdown();
    }
}

/// A body that is read piece by piece.
pub(crate) type Stream = BodyReader<'static>;

fn proxy(config: &ClientConfig) -> Result<Option<Proxy>, FetchError> {
    let Some(proxy) = &config.proxy else {
        return Ok(None);
    };
    // The address may hold a password: it is not repeated in the error.
    let bad = || FetchError::Address {
        text: "proxy".to_owned(),
    };
    let base = Proxy::new(&proxy.url).map_err(|_| bad())?;
    let mut builder = Proxy::builder(base.protocol())
        .host(base.host())
        .port(base.port());
    if let Some(name) = base.username() {
        builder = builder.username(name);
    }
    if let Some(password) = base.password() {
        builder = builder.password(password);
    }
    for host in proxy
        .no_proxy
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
    {
        builder = builder.no_proxy(host);
    }
    builder.build().map(Some).map_err(|_| bad())
}

fn explain_io(host: String, source: io::Error) -> FetchError {
    use io::ErrorKind as Io;
    if source
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
    {
        return FetchError::Tls { host, source };
    }
    match source.kind() {
        Io::ConnectionRefused
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::AddrNotAvailable
        | Io::PermissionDenied => FetchError::Connect { host, source },
        _ => FetchError::Interrupted { host, source },
    }
}

fn explain_tls(host: String, failure: TlsFailure) -> FetchError {
    match failure {
        TlsFailure::Files(detail) => FetchError::Certificates { host, detail },
        TlsFailure::Handshake(source) => match source.kind() {
            // Broken off rather than refused: may pass.
            io::ErrorKind::ConnectionReset => FetchError::Interrupted { host, source },
            _ => FetchError::Tls { host, source },
        },
    }
}

fn protocol(host: String, error: &dyn std::error::Error) -> FetchError {
    FetchError::Protocol {
        host,
        detail: one_line(&error.to_string()),
    }
}

fn malformed(url: &Url, error: &ureq::http::Error) -> FetchError {
    protocol(url.origin.authority(), error)
}

/// Erases the transport's type before TLS is put on it.
#[derive(Debug)]
struct Boxing;

impl<In: Transport> Connector<In> for Boxing {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(|transport| -> Box<dyn Transport> { Box::new(transport) }))
    }
}
