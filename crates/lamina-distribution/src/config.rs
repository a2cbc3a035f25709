//! What a [`Client`](crate::Client) is made from. Values only; reading files is the binary's part.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::credentials::{Credentials, NoCredentials};

/// How to reach registries.
#[derive(Clone)]
pub struct ClientConfig {
    /// Per registry, under the domain that references have (`docker.io`, `localhost:5000`).
    pub registries: BTreeMap<String, RegistryConfig>,
    /// `--tls-verify`: `Some(false)` treats every registry and mirror as insecure, `Some(true)`
    /// none, loopback included; `None` leaves it to [`RegistryConfig::insecure`].
    pub tls_verify: Option<bool>,
    /// Certificates (PEM) to trust besides the system's, for every registry.
    pub ca_files: Vec<PathBuf>,
    /// Folders laid out as Docker's `certs.d`: `<folder>/<host[:port]>/*.crt` is trusted for
    /// that host. Missing folders are no error.
    pub certs_dirs: Vec<PathBuf>,
    /// Where user names and passwords come from.
    pub credentials: Arc<dyn Credentials>,
    /// Bounds in time.
    pub timeouts: Timeouts,
    /// How often and how soon to try again.
    pub retry: RetryPolicy,
    /// What the `User-Agent` header says.
    pub user_agent: String,
    /// How names become addresses.
    pub dns: DnsConfig,
    /// The proxy that connections go through, from `HTTPS_PROXY` and `NO_PROXY`.
    pub proxy: Option<ProxyConfig>,
    /// Is told of every retry, from the thread that waits.
    pub on_retry: Option<OnRetry>,
}

/// What is called before each retry.
pub type OnRetry = Arc<dyn Fn(&RetryNotice<'_>) + Send + Sync>;

/// One retry that is about to be waited for.
#[derive(Debug)]
pub struct RetryNotice<'a> {
    /// `host:port` of the endpoint that failed.
    pub host: &'a str,
    /// How.
    pub error: &'a crate::FetchError,
    /// How long will be waited.
    pub delay: Duration,
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("registries", &self.registries)
            .field("tls_verify", &self.tls_verify)
            .field("ca_files", &self.ca_files)
            .field("certs_dirs", &self.certs_dirs)
            .field("timeouts", &self.timeouts)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            registries: BTreeMap::new(),
            tls_verify: None,
            ca_files: Vec::new(),
            certs_dirs: vec![
                PathBuf::from("/etc/docker/certs.d"),
                PathBuf::from("/etc/containers/certs.d"),
            ],
            credentials: Arc::new(NoCredentials),
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            user_agent: concat!("lamina/", env!("CARGO_PKG_VERSION")).to_owned(),
            dns: DnsConfig::default(),
            proxy: None,
            on_retry: None,
        }
    }
}

/// One registry's table in the configuration: `[registries."docker.io"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistryConfig {
    /// Places to try first, in this order.
    pub mirrors: Vec<Mirror>,
    /// Whether certificates go unchecked and plain http is tried when https fails, as Docker's
    /// `insecure-registries`. Unset: only a loopback address may be plain http.
    pub insecure: Option<bool>,
    /// Certificates (PEM) to trust for this registry besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// Hosts, besides the registry's own and the domains above it, that may be sent its
    /// credentials when the registry names them as its token server.
    pub token_servers: Vec<String>,
    /// Whether nothing may be fetched from here.
    pub blocked: bool,
}

/// Another place that has a registry's images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mirror {
    /// `host[:port][/prefix]`, with `http://` or `https://` before it to force one of them.
    pub location: String,
    /// As [`RegistryConfig::insecure`].
    pub insecure: Option<bool>,
    /// Whether to add `?ns=<registry>`, which pull-through caches for several registries need.
    pub namespace: bool,
}

/// Bounds in time. Each is for one step, so the whole is bounded by the number of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, and again connecting with the TLS handshake.
    pub connect: Duration,
    /// From the request to the end of the answer's headers.
    pub response: Duration,
    /// The longest silence within a body. A body slower than 4 KiB in this time counts as silent.
    pub idle: Duration,
    /// A whole manifest, token or tag list.
    pub document: Duration,
    /// A whole blob with all its attempts.
    pub blob: Duration,
    /// From the end of what was sent to the answer: registries hash, and some move, a whole blob
    /// before they say that it is there.
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            response: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            document: Duration::from_secs(60),
            blob: Duration::from_secs(6 * 3600),
            commit: Duration::from_secs(300),
        }
    }
}

/// How to try again: exponential back-off with jitter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts per endpoint without progress, the first included.
    pub attempts: u32,
    /// The first delay.
    pub base: Duration,
    /// The longest delay of our own choice.
    pub cap: Duration,
    /// The longest delay that a `Retry-After` may ask for; more is a failure at once.
    pub retry_after_cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            base: Duration::from_millis(250),
            cap: Duration::from_secs(8),
            retry_after_cap: Duration::from_secs(60),
        }
    }
}

/// Where the resolver looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// The static table.
    pub hosts: PathBuf,
    /// Name servers, search list and options.
    pub resolv_conf: PathBuf,
    /// The port of the name servers.
    pub port: u16,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            hosts: PathBuf::from("/etc/hosts"),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            port: 53,
        }
    }
}

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// `http://[user:password@]host:port`; both http and https are tunnelled by CONNECT.
    pub url: String,
    /// Hosts to reach directly, as in `NO_PROXY`.
    pub no_proxy: String,
}
