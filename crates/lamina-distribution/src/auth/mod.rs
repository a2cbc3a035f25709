//! Proving who we are: challenges, tokens, and whom credentials may be shown to.
//!
//! The rules, each of which has been a hole in another client:
//! - A challenge counts only if it comes from the endpoint itself, not from where it redirects to
//!   (CVE-2020-15157).
//! - A password goes to the endpoint (basic) or to a token server on the endpoint's host, on a
//!   domain above it, or named in the configuration; nowhere else (CVE-2026-48978).
//! - A verified https endpoint has no http token server (CVE-2019-10214).
//! - The token asked for is for what is done here with this repository, whatever scope the
//!   challenge names.

mod challenge;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use data_encoding::BASE64;
use ureq::http::HeaderMap;

#[doc(hidden)]
pub use challenge::is_known_challenge;
pub(crate) use challenge::{Bearer, Challenge};

use crate::config::ClientConfig;
use crate::credentials::{Credential, Secret};
use crate::error::FetchError;
use crate::hosts::{Endpoint, host_of};
use crate::http::Http;
use crate::url::{Scheme, Url};

/// What is known about access to one repository at one endpoint.
#[derive(Debug, Default)]
struct Grant {
    /// The `Authorization` header.
    header: Option<Secret>,
    /// Until when; `None` means until the endpoint says otherwise.
    expires: Option<Instant>,
    /// How to get the next one.
    challenge: Option<Challenge>,
    /// Counts renewals, so that threads which fail together renew once.
    generation: u64,
}

/// The grants of a client. A grant is locked while it is renewed: other threads that need the same
/// one wait for it instead of asking too.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    by_place: Mutex<HashMap<Place, Arc<Mutex<Grant>>>>,
}

/// An endpoint's authority, a repository's path there, and the scopes of the token.
type Place = (String, String, Vec<String>);

/// What is done with a repository, and so what a token must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access<'a> {
    /// Nothing: only who we are is asked.
    Login,
    /// Reading.
    Pull,
    /// Writing, and reading what is there.
    Push,
    /// Writing what this other repository has.
    Mount(&'a str),
}

/// Whom a request speaks to, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// The repository's path at the endpoint.
    pub(crate) repository: &'a str,
    /// The repository as people know it, for messages.
    pub(crate) name: &'a str,
    pub(crate) access: Access<'a>,
}

impl Subject<'_> {
    /// Returns the scopes of the token for this.
    fn scopes(&self) -> Vec<String> {
        let of = |repository: &str, actions: &str| format!("repository:{repository}:{actions}");
        match self.access {
            Access::Login => Vec::new(),
            Access::Pull => vec![of(self.repository, "pull")],
            Access::Push => vec![of(self.repository, "pull,push")],
            Access::Mount(from) => vec![of(self.repository, "pull,push"), of(from, "pull")],
        }
    }
}

/// An `Authorization` header and which generation it is of.
#[derive(Debug, Default)]
pub(crate) struct Authorization {
    pub(crate) header: Option<Secret>,
    pub(crate) generation: u64,
}

/// Who renewed a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// This call.
    Ours,
    /// Another thread, since the request that failed was sent.
    ByAnother,
}

impl Grants {
    fn grant(&self, subject: Subject<'_>) -> Arc<Mutex<Grant>> {
        let key = (
            subject.endpoint.authority.clone(),
            subject.repository.to_owned(),
            subject.scopes(),
        );
        let mut all = lock(&self.by_place);
        Arc::clone(all.entry(key).or_default())
    }

    /// Returns the header to send now, renewing an expired token first.
    pub(crate) fn current(
        &self,
        config: &ClientConfig,
        http: &Http,
        subject: Subject<'_>,
    ) -> Result<Authorization, FetchError> {
        let grant = self.grant(subject);
        let mut grant = lock(&grant);
        let expired = grant.expires.is_some_and(|at| Instant::now() >= at);
        if expired && let Some(challenge) = grant.challenge.clone() {
            obtain(config, http, subject, &mut grant, challenge)?;
        }
        Ok(Authorization {
            header: grant.header.clone(),
            generation: grant.generation,
        })
    }

    /// Answers the challenge of a 401 that was given to generation `seen`.
    pub(crate) fn renew(
        &self,
        config: &ClientConfig,
        http: &Http,
        subject: Subject<'_>,
        headers: &HeaderMap,
        seen: u64,
    ) -> Result<Renewal, FetchError> {
        let grant = self.grant(subject);
        let mut grant = lock(&grant);
        if grant.generation != seen {
            return Ok(Renewal::ByAnother);
        }
        let Some(challenge) = Challenge::choose(headers) else {
            return Err(unauthorized(subject, "no way to authenticate is offered"));
        };
        obtain(config, http, subject, &mut grant, challenge)?;
        Ok(Renewal::Ours)
    }
}

fn obtain(
    config: &ClientConfig,
    http: &Http,
    subject: Subject<'_>,
    grant: &mut Grant,
    challenge: Challenge,
) -> Result<(), FetchError> {
    let credential = config
        .credentials
        .lookup(&subject.endpoint.credential_key, subject.repository)?;
    let (header, expires) = match (&challenge, credential) {
        (_, Some(Credential::RegistryToken(token))) => (bearer(subject, token.expose())?, None),
        (Challenge::Basic, Some(Credential::Password { username, password })) => {
            (basic(&username, &password), None)
        }
        (Challenge::Basic, Some(Credential::IdentityToken(_))) => {
            let why = "an identity token is stored, the registry wants a password";
            return Err(unauthorized(subject, why));
        }
        (Challenge::Basic, None) => {
            return Err(unauthorized(subject, "authentication required"));
        }
        (Challenge::Bearer(challenge), credential) => {
            let token = token::fetch(http, subject, challenge, credential.as_ref())?;
            (bearer(subject, token.value.expose())?, Some(token.expires))
        }
    };
    grant.header = Some(header);
    grant.expires = expires;
    grant.challenge = Some(challenge);
    grant.generation += 1;
    Ok(())
}

/// Returns the header of basic authentication.
fn basic(username: &str, password: &Secret) -> Secret {
    let pair = format!("{username}:{}", password.expose());
    Secret::new(format!("Basic {}", BASE64.encode(pair.as_bytes())))
}

/// Returns the header of a bearer token, which comes from another side and must fit a header.
fn bearer(subject: Subject<'_>, token: &str) -> Result<Secret, FetchError> {
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(FetchError::Protocol {
            host: subject.endpoint.authority.clone(),
            detail: "malformed token".to_owned(),
        });
    }
    Ok(Secret::new(format!("Bearer {token}")))
}

pub(crate) fn unauthorized(subject: Subject<'_>, detail: &str) -> FetchError {
    let act = match subject.access {
        Access::Login => {
            return FetchError::LoginRefused {
                registry: subject.name.to_owned(),
                detail: detail.to_owned(),
            };
        }
        Access::Pull => "pull",
        Access::Push | Access::Mount(_) => "push",
    };
    FetchError::Unauthorized {
        act,
        repository: subject.name.to_owned(),
        detail: detail.to_owned(),
    }
}

/// Says why a password for `endpoint` must not go to `realm`, if so.
fn realm_refusal(endpoint: &Endpoint, realm: &Url) -> Option<&'static str> {
    let own = endpoint.authority.as_str();
    let place = realm.origin.authority();
    let host = realm.origin.host.as_str();
    let own_host = host_of(own);
    let named = endpoint
        .token_servers
        .iter()
        .any(|server| server.eq_ignore_ascii_case(&place));
    // Whoever owns a domain owns what is below it, not the reverse; `com` owns nothing.
    let above = host.contains('.')
        && realm.origin.scheme == Scheme::Https
        && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && own_host
            .strip_suffix(host)
            .is_some_and(|rest| rest.ends_with('.'));
    // Another port of the host may be another's program, except where only the owner can listen.
    let same = place == own || (host == own_host && realm.origin.port == 443);
    if named || above || same {
        return None;
    }
    Some("credentials for this registry may not go to that host")
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded here is replaced as a whole, so a thread that died left nothing half-made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(authority: &str) -> Endpoint {
        Endpoint {
            authority: authority.to_owned(),
            credential_key: authority.to_owned(),
            prefix: String::new(),
            schemes: vec![Scheme::Https],
            namespace: None,
            token_servers: vec!["auth.partner.test".to_owned()],
            is_mirror: false,
        }
    }

    #[test]
    fn passwords_go_to_the_registrys_own_token_servers_only() {
        let cases = [
            ("registry.gitlab.test", "https://gitlab.test/jwt/auth", true),
            ("r.test", "https://r.test/token", true),
            ("r.test:5000", "https://r.test:5000/token", true),
            ("r.test:5000", "https://r.test/token", true),
            ("r.test", "https://AUTH.partner.test/token", true),
            ("r.test", "https://r.test:8443/token", false),
            ("r.test", "https://test/token", false),
            ("r.test", "https://evil.test/token", false),
            ("r.test", "https://sub.r.test/token", false),
            ("ar.test", "https://r.test/token", false),
            ("a.r.test", "https://169.254.169.254/token", false),
            ("r.test", "https://auth.partner.test:444/token", false),
            ("10.0.0.1", "https://0.0.1/token", false),
        ];
        for (authority, realm, allowed) in cases {
            // A realm that is no URL at all is refused before this.
            let Ok(realm) = realm.parse::<Url>() else {
                assert!(!allowed);
                continue;
            };
            let refusal = realm_refusal(&endpoint(authority), &realm);
            assert_eq!(refusal.is_none(), allowed, "{authority} {realm}");
        }
    }
}
