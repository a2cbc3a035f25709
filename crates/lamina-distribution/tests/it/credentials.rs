//! Credentials for the tests, and a gate that wants them.

use std::sync::Arc;

use lamina_distribution::{
    Client, ClientConfig, Credential, Credentials, CredentialsError, FetchError, Secret,
};
use lamina_testkit::registry::{Recorded, Reply};
use lamina_types::Reference;

use crate::support::config;

/// `user:pass` in base64.
pub(crate) const BASIC: &str = "Basic dXNlcjpwYXNz";

/// The same credential for every registry, so that whatever leaks shows.
#[derive(Clone)]
pub(crate) struct Always(pub(crate) Credential);

impl Credentials for Always {
    fn lookup(&self, _: &str, _: &str) -> Result<Option<Credential>, CredentialsError> {
        Ok(Some(self.0.clone()))
    }
}

pub(crate) fn password() -> Credential {
    Credential::Password {
        username: "user".to_owned(),
        password: Secret::new("pass"),
    }
}

pub(crate) fn with(credential: Credential) -> ClientConfig {
    ClientConfig {
        credentials: Arc::new(Always(credential)),
        ..config()
    }
}

pub(crate) fn resolve(config: ClientConfig, reference: &Reference) -> Result<(), FetchError> {
    Client::new(config).unwrap().resolve(reference).map(drop)
}

/// Wants `expected` as `Authorization` for everything but `/v2/` and `/token`.
pub(crate) fn guard(request: &Recorded, expected: &str, challenge: &str) -> Option<Reply> {
    let open = request.path == "/v2/" || request.path.starts_with("/token");
    let known = request.header("authorization") == Some(expected);
    (!open && !known).then(|| Reply::challenge(challenge))
}
