//! Finding out whether a user name and password open a registry, before they are kept.

use lamina_types::Reference;
use ureq::http::Method;

use crate::auth::{Access, Subject};
use crate::client::Client;
use crate::error::FetchError;
use crate::exchange::{Ask, Place};
use crate::http::Payload;
use crate::status;

impl Client {
    /// Asks `registry`, a domain as references have it, whether the client's credentials for it
    /// are good. A registry that asks nobody for credentials takes any.
    pub fn verify_login(&self, registry: &str) -> Result<(), FetchError> {
        let bad = || FetchError::Address {
            text: registry.to_owned(),
        };
        // Any repository: only its registry matters.
        let reference: Reference = format!("{registry}/x/x").parse().map_err(|_| bad())?;
        if reference.domain() != registry {
            return Err(bad());
        }
        let inner = &self.inner;
        let endpoint = inner.rules.registry(&reference)?;
        inner.with_retries(&endpoint, || {
            let reply = inner.ask(&Ask {
                subject: Subject {
                    endpoint: &endpoint,
                    repository: "",
                    name: registry,
                    access: Access::Login,
                },
                method: Method::GET,
                place: Place::Path(String::new()),
                headers: Vec::new(),
                payload: Payload::None,
                patience: inner.config.timeouts.response,
            })?;
            match reply.status {
                200 => Ok(()),
                _ => Err(status::other(&inner.http, reply)),
            }
        })
    }
}
