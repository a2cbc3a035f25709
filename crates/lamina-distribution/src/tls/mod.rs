//! TLS under the HTTP client: rustls with ring, and which certificates to believe per host.
//!
//! Nothing is read before the first https connection. The system's roots come from its files;
//! where it has none, Mozilla's, which are built in, take their place.

mod roots;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use crate::hosts::HostRules;
use crate::url::Url;

/// What stopped a TLS connection before it stood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFailure {
    /// Between the two sides.
    #[error(transparent)]
    Handshake(io::Error),
    /// With our own files.
    #[error("{0}")]
    Files(String),
}

/// Puts TLS on connections to https hosts.
pub(crate) struct TlsConnector {
    rules: Arc<HostRules>,
    /// One configuration per host, made at its first connection.
    configs: Mutex<HashMap<String, Arc<ClientConfig>>>,
}

impl TlsConnector {
    pub(crate) fn new(rules: Arc<HostRules>) -> Self {
        Self {
            rules,
            configs: Mutex::new(HashMap::new()),
        }
    }

    fn config(&self, authority: &str) -> Result<Arc<ClientConfig>, TlsFailure> {
        // Held while files are read, so that parallel downloads read them once.
        let mut configs = self
            .configs
            .lock()
            .map_err(|_| TlsFailure::Files("a thread died while it read them".to_owned()))?;
        if let Some(config) = configs.get(authority) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(authority)?);
        configs.insert(authority.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn build(&self, authority: &str) -> Result<ClientConfig, TlsFailure> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFailure::Files(error.to_string()))?;
        let files = roots::HostFiles::find(&self.rules, authority);
        let builder = if self.rules.is_insecure(authority) {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAll { provider }))
        } else {
            let store = Arc::new(files.store()?);
            let verifier = WebPkiServerVerifier::builder_with_provider(store, provider)
                .build()
                .map_err(|error| TlsFailure::Files(error.to_string()))?;
            builder.with_webpki_verifier(verifier)
        };
        match files.client_pair()? {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsFailure::Files(error.to_string())),
            None => Ok(builder.with_no_client_auth()),
        }
    }

    fn wrap(
        &self,
        details: &ConnectionDetails<'_>,
        transport: Box<dyn Transport>,
    ) -> Result<TlsTransport, ureq::Error> {
        let url: Url = details
            .uri
            .to_string()
            .parse()
            .map_err(ureq::Error::BadUri)?;
        let failure = |failure: TlsFailure| ureq::Error::Other(Box::new(failure));
        let config = self.config(&url.origin.authority()).map_err(failure)?;
        let bare = url.origin.host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(bare)
            .map_err(|error| failure(TlsFailure::Handshake(io::Error::other(error))))?;
        let mut conn = ClientConnection::new(config, name)
            .map_err(|error| failure(TlsFailure::Handshake(io::Error::other(error))))?;
        let mut sock = TransportAdapter::new(transport, Arc::clone(&details.current_time));
        sock.set_timeout(details.timeout);
        while conn.is_handshaking() {
            if let Err(error) = conn.complete_io(&mut sock) {
                return Err(match ureq::Error::from(error) {
                    ureq::Error::Io(error) => failure(TlsFailure::Handshake(error)),
                    other => other,
                });
            }
        }
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        let stream = StreamOwned { conn, sock };
        Ok(TlsTransport { buffers, stream })
    }
}

impl Connector<Box<dyn Transport>> for TlsConnector {
    type Out = Either<Box<dyn Transport>, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<Box<dyn Transport>>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        self.wrap(details, transport)
            .map(|tls| Some(Either::B(tls)))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

/// A connection with TLS on it.
pub(crate) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

/// Believes any certificate: only for registries that the user has declared insecure.
#[derive(Debug)]
struct AcceptAll {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
