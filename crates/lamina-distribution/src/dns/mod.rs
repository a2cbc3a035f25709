//! Names to addresses, without the C library.
//!
//! `getaddrinfo` in a static binary loads the name-service modules of whatever system it runs on
//! and crashes when they are not its own, so this is a stub resolver of our own: address literals,
//! `localhost` (RFC 6761), the hosts file, then the name servers of resolv.conf with its search
//! list, `ndots`, `timeout` and `attempts`, UDP first and TCP for long answers. Other sources that
//! nsswitch knows (mDNS, LDAP) are not asked.
//!
//! IPv4 addresses come first: connecting goes through them in order, and a network that swallows
//! IPv6 would otherwise cost every connection half its time limit.

mod hosts;
mod query;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lamina_types::ErrorKind;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::config::DnsConfig;
use query::Answer;

/// How long an answer is used again. A pull makes its connections within seconds.
const CACHE_FOR: Duration = Duration::from_secs(60);
/// The longest configuration file that is read.
const FILE_LIMIT: u64 = 1 << 20;
/// What a name is resolved within if nothing else bounds it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// glibc's limits for the options of resolv.conf, and its number of servers and search domains.
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 6;

/// Why a name has no address.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The name servers say that there is no such name, or no address for it.
    #[error("no such host")]
    NoSuchHost,
    /// No name server gave an answer.
    #[error("no answer from name server {server}: {why}")]
    NoAnswer {
        /// The server asked last.
        server: IpAddr,
        /// What happened there.
        why: String,
    },
    /// It cannot be a host's name.
    #[error("not a valid host name")]
    BadName,
}

impl DnsError {
    /// Returns the class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchHost => ErrorKind::NotFound,
            Self::NoAnswer { .. } => ErrorKind::Unavailable,
            Self::BadName => ErrorKind::InvalidArgument,
        }
    }

    /// Says whether asking again later may help.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
    }
}

/// The resolver that the HTTP client is given. Shared by threads; the lock is never held over I/O.
#[derive(Debug)]
pub(crate) struct Stub {
    config: DnsConfig,
    cache: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

impl Stub {
    pub(crate) fn new(config: DnsConfig) -> Self {
        Self {
            config,
            cache: Mutex::new(HashMap::new()),
        }
    }

    /// Returns the addresses of `host`, IPv4 first, within about `limit`.
    pub(crate) fn lookup(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, DnsError> {
        if let Some(address) = literal(host) {
            return Ok(vec![address]);
        }
        let name = host.to_ascii_lowercase();
        if let Some(found) = self.cached(&name) {
            return Ok(found);
        }
        let mut found = self.find(&name, Instant::now() + limit)?;
        found.sort_by_key(IpAddr::is_ipv6);
        found.dedup();
        if let Ok(mut cache) = self.cache.lock() {
            cache.insert(name, (Instant::now(), found.clone()));
        }
        Ok(found)
    }

    fn cached(&self, name: &str) -> Option<Vec<IpAddr>> {
        let cache = self.cache.lock().ok()?;
        let (at, found) = cache.get(name)?;
        (at.elapsed() < CACHE_FOR).then(|| found.clone())
    }

    fn find(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, DnsError> {
        let bare = name.trim_end_matches('.');
        let table = read_bounded(&self.config.hosts).unwrap_or_default();
        let listed = hosts::lookup(&String::from_utf8_lossy(&table), bare);
        if !listed.is_empty() {
            return Ok(listed);
        }
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let settings = self.settings();
        let servers: Vec<SocketAddr> = settings
            .get_nameservers_or_local()
            .into_iter()
            .take(SERVERS_MAX)
            .map(|server| SocketAddr::new(server.into(), self.config.port))
            .collect();
        let mut last = DnsError::NoSuchHost;
        for candidate in candidates(name, &settings) {
            match ask_all(&candidate, &servers, &settings, deadline) {
                Ok(found) => return Ok(found),
                // A server's trouble with one candidate outweighs another's "no such host".
                Err(DnsError::NoSuchHost) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn settings(&self) -> resolv_conf::Config {
        let bytes = read_bounded(&self.config.resolv_conf).unwrap_or_default();
        // Lines that cannot be read are skipped, as the C library does.
        let (settings, _) = resolv_conf::Config::parse_with_errors(&bytes);
        settings
    }
}

impl Resolver for Stub {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let authority = uri.authority().ok_or(ureq::Error::HostNotFound)?;
        let default_port = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = authority.port_u16().unwrap_or(default_port);
        let limit = if timeout.after.is_not_happening() {
            DEFAULT_TIMEOUT
        } else {
            *timeout.after
        };
        let found = self
            .lookup(authority.host(), limit)
            .map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let mut addresses = self.empty();
        for ip in found.into_iter().take(8) {
            addresses.push(SocketAddr::new(ip, port));
        }
        if addresses.is_empty() {
            return Err(ureq::Error::Other(Box::new(DnsError::NoSuchHost)));
        }
        Ok(addresses)
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse().ok()
}

/// Returns the names to ask for, in order: those with `ndots` dots as they are first, others
/// with the search list first.
fn candidates(name: &str, settings: &resolv_conf::Config) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let absolute = format!("{name}.");
    let dots = u32::try_from(name.matches('.').count()).unwrap_or(u32::MAX);
    let searched = settings
        .get_last_search_or_domain()
        .take(SEARCH_MAX)
        .map(|domain| domain.trim_matches('.'))
        .filter(|domain| !domain.is_empty())
        .map(|domain| format!("{name}.{domain}."));
    let mut all: Vec<String> = searched.collect();
    if dots >= settings.ndots.min(15) {
        all.insert(0, absolute);
    } else {
        all.push(absolute);
    }
    all
}

/// Asks the servers in turn, all of them `attempts` times, until one answers for itself.
fn ask_all(
    name: &str,
    servers: &[SocketAddr],
    settings: &resolv_conf::Config,
    deadline: Instant,
) -> Result<Vec<IpAddr>, DnsError> {
    let question = query::Question::new(name).ok_or(DnsError::BadName)?;
    let per_try = Duration::from_secs(u64::from(settings.timeout.clamp(1, 30)));
    let mut last = DnsError::NoSuchHost;
    for _ in 0..settings.attempts.clamp(1, 5) {
        for server in servers {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(last);
            }
            match question.ask(*server, per_try.min(left)) {
                Ok(Answer::Addresses(found)) if !found.is_empty() => return Ok(found),
                Ok(Answer::Addresses(_) | Answer::NoSuchName) => return Err(DnsError::NoSuchHost),
                Ok(Answer::Failure(code)) => {
                    last = no_answer(server, code);
                }
                Err(error) => last = no_answer(server, error.to_string()),
            }
        }
    }
    Err(last)
}

fn no_answer(server: &SocketAddr, why: String) -> DnsError {
    DnsError::NoAnswer {
        server: server.ip(),
        why,
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
