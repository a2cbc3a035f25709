//! The client: what its parts share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use lamina_types::Reference;

use crate::auth::Grants;
use crate::config::ClientConfig;
use crate::error::FetchError;
use crate::hosts::{Endpoint, HostRules};
use crate::http::Http;
use crate::retry::Pause;
use crate::url::Scheme;

/// Attempts at a mirror: there is somewhere else to go.
const MIRROR_ATTEMPTS: u32 = 2;

/// Fetches from registries. Cloning is cheap; clones share connections and tokens, and may be
/// used from different threads.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) rules: Arc<HostRules>,
    pub(crate) http: Http,
    pub(crate) grants: Grants,
    /// Which scheme answered, for endpoints that may have either.
    pub(crate) schemes: Mutex<HashMap<String, Scheme>>,
    pub(crate) pause: Pause,
}

impl Client {
    /// Makes a client. Opens nothing: the first request reads certificates and name servers.
    pub fn new(config: ClientConfig) -> Result<Self, FetchError> {
        let config = Arc::new(config);
        let rules = Arc::new(HostRules::new(Arc::clone(&config)));
        let http = Http::new(&config, Arc::clone(&rules))?;
        let inner = Inner {
            config,
            rules,
            http,
            grants: Grants::default(),
            schemes: Mutex::default(),
            pause: Pause::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Ends everything that this client and its clones are doing: waits and reads in other
    /// threads return [`FetchError::Cancelled`] at once, and so does every later call.
    pub fn cancel(&self) {
        self.inner.pause.cancel();
        self.inner.http.shut_down();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Inner {
    /// Tries `act` at each place that has `reference`, each with its retries.
    pub(crate) fn over_endpoints<T>(
        &self,
        reference: &Reference,
        act: impl Fn(&Endpoint) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let mut mirrors = Vec::new();
        for endpoint in self.rules.endpoints(reference)? {
            match self.with_retries(&endpoint, || act(&endpoint)) {
                Ok(value) => return Ok(value),
                Err(FetchError::Cancelled) => return Err(FetchError::Cancelled),
                Err(error) if endpoint.is_mirror => {
                    mirrors.push(format!("{}: {error}", endpoint.authority));
                }
                Err(error) => return Err(with_mirrors(mirrors, error)),
            }
        }
        // The registry itself is always the last endpoint.
        Err(FetchError::Cancelled)
    }

    /// Tries `act` at one place, with its retries.
    pub(crate) fn with_retries<T>(
        &self,
        endpoint: &Endpoint,
        act: impl Fn() -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let mut failed = 0;
        loop {
            match act() {
                Ok(value) => return Ok(value),
                Err(error) => {
                    failed += 1;
                    let retry = error.retry();
                    self.wait_after(endpoint, failed, error, retry)?;
                }
            }
        }
    }

    /// Returns how many attempts `endpoint` is worth.
    pub(crate) fn attempts(&self, endpoint: &Endpoint) -> u32 {
        let attempts = self.config.retry.attempts.max(1);
        if endpoint.is_mirror {
            attempts.min(MIRROR_ATTEMPTS)
        } else {
            attempts
        }
    }
}

/// Adds what mirrors said before to the error of the registry itself.
pub(crate) fn with_mirrors(mirrors: Vec<String>, error: FetchError) -> FetchError {
    if mirrors.is_empty() {
        return error;
    }
    FetchError::Mirrors {
        mirrors,
        source: Box::new(error),
    }
}
