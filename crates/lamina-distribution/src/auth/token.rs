//! Token servers: Docker's GET with basic authentication, OAuth 2's POST with a refresh token.

use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::HeaderMap;

use super::{Bearer, Subject, basic, realm_refusal, unauthorized};
use crate::credentials::{Credential, Secret};
use crate::error::{FetchError, one_line};
use crate::http::{Http, Reply};
use crate::status;
use crate::url::{Scheme, Url, percent_encode};

/// The longest answer of a token server.
const ANSWER_MAX: u64 = 256 << 10;
/// Docker's default and bounds for a token's life.
const LIFE_DEFAULT: u64 = 60;
const LIFE_MAX: u64 = 24 * 3600;
/// A token is renewed this long before its end, or at nine tenths of a short life.
const MARGIN: Duration = Duration::from_secs(5);
/// Redirects that a token request follows.
const REDIRECTS_MAX: u32 = 3;
/// What token servers know this program by.
const CLIENT_ID: &str = "lamina";

/// A token and when to get the next one.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) expires: Instant,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// Gets a token for what is done with the subject's repository, without credentials if there are none.
pub(super) fn fetch(
    http: &Http,
    subject: Subject<'_>,
    challenge: &Bearer,
    credential: Option<&Credential>,
) -> Result<Token, FetchError> {
    let realm = check_realm(subject, challenge, credential.is_some())?;
    let scopes = subject.scopes();
    let reply = match credential {
        Some(Credential::IdentityToken(token)) => {
            let form = form(challenge, &scopes.join(" "), token);
            http.post_form(&realm, &form)?
        }
        other => get(http, subject, challenge, &scopes, realm, other)?,
    };
    read(http, subject, credential.is_some(), reply)
}

/// Reads the realm and checks that we may speak to it at all, and show credentials to it.
fn check_realm(
    subject: Subject<'_>,
    challenge: &Bearer,
    with_credentials: bool,
) -> Result<Url, FetchError> {
    let endpoint = subject.endpoint;
    let refuse = |detail: &str| FetchError::Realm {
        host: endpoint.authority.clone(),
        realm: one_line(&challenge.realm),
        detail: detail.to_owned(),
    };
    let realm: Url = challenge
        .realm
        .parse()
        .map_err(|why: String| refuse(&why))?;
    if realm.origin.scheme == Scheme::Http && !endpoint.allows_http() {
        return Err(refuse("its token server is not https"));
    }
    check_address(subject, &realm).map_err(refuse)?;
    if with_credentials && let Some(why) = realm_refusal(endpoint, &realm) {
        return Err(refuse(why));
    }
    Ok(realm)
}

/// A registry elsewhere has no business with this machine's or this link's addresses.
fn check_address(subject: Subject<'_>, url: &Url) -> Result<(), &'static str> {
    if url.origin.is_link_local() {
        return Err("its token server is a link-local address");
    }
    let own: Result<Url, _> = Url::build(Scheme::Https, &subject.endpoint.authority, "");
    if url.origin.is_loopback() && !own.is_ok_and(|own| own.origin.is_loopback()) {
        return Err("its token server is a loopback address");
    }
    Ok(())
}

fn form(challenge: &Bearer, scope: &str, token: &Secret) -> String {
    let mut form = format!(
        "grant_type=refresh_token&client_id={CLIENT_ID}&scope={}&refresh_token={}",
        percent_encode(scope),
        percent_encode(token.expose())
    );
    if let Some(service) = &challenge.service {
        form.push_str("&service=");
        form.push_str(&percent_encode(service));
    }
    form
}

fn get(
    http: &Http,
    subject: Subject<'_>,
    challenge: &Bearer,
    scopes: &[String],
    realm: Url,
    credential: Option<&Credential>,
) -> Result<Reply, FetchError> {
    let mut url = realm;
    if let Some(service) = &challenge.service {
        url = url.with_query("service", service);
    }
    for scope in scopes {
        url = url.with_query("scope", scope);
    }
    let mut header = None;
    if let Some(Credential::Password { username, password }) = credential {
        url = url.with_query("account", username);
        header = Some(basic(username, password));
    }
    let origin = url.origin.clone();
    for _ in 0..=REDIRECTS_MAX {
        let headers: Vec<(&str, &str)> = header
            .iter()
            .map(|secret: &Secret| ("authorization", secret.expose()))
            .collect();
        let reply = http.get(&url, &headers)?;
        if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(reply);
        }
        let next = redirect(subject, &url, &reply.headers)?;
        if next.origin != origin {
            header = None;
        }
        url = next;
    }
    Err(redirect_error(
        subject,
        "too many redirects of the token server",
    ))
}

fn redirect(subject: Subject<'_>, from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    let location = headers
        .get("location")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let next = from
        .join(location)
        .map_err(|why| redirect_error(subject, &why))?;
    if next.origin.scheme == Scheme::Http && from.origin.scheme == Scheme::Https {
        return Err(redirect_error(subject, "from https to http"));
    }
    check_address(subject, &next).map_err(|why| redirect_error(subject, why))?;
    Ok(next)
}

fn redirect_error(subject: Subject<'_>, detail: &str) -> FetchError {
    FetchError::Redirect {
        host: subject.endpoint.authority.clone(),
        detail: detail.to_owned(),
    }
}

fn read(
    http: &Http,
    subject: Subject<'_>,
    with_credentials: bool,
    reply: Reply,
) -> Result<Token, FetchError> {
    let code = reply.status;
    match code {
        200 => {}
        400 | 401 | 403 => {
            let detail = status::message(http, reply);
            let what = if with_credentials {
                "incorrect username or password"
            } else {
                "authentication required"
            };
            let detail = if detail.is_empty() {
                what.to_owned()
            } else {
                format!("{what} ({detail})")
            };
            return Err(unauthorized(subject, &detail));
        }
        _ => return Err(status::other(http, reply)),
    }
    let host = reply.host.clone();
    let bytes = http.read_document(reply, "token", ANSWER_MAX)?;
    let malformed = |detail: &str| FetchError::Protocol {
        host: host.clone(),
        detail: detail.to_owned(),
    };
    // The parser's own message could quote a token.
    let answer: Answer =
        serde_json::from_slice(&bytes).map_err(|_| malformed("the token server's answer"))?;
    let value = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .ok_or_else(|| malformed("the token server gave no token"))?;
    let life = life(answer.expires_in);
    let life = if life > 10 * MARGIN {
        life - MARGIN
    } else {
        life * 9 / 10
    };
    Ok(Token {
        value: Secret::new(value),
        expires: Instant::now() + life,
    })
}

/// Returns a sane life for whatever number was sent.
fn life(expires_in: Option<f64>) -> Duration {
    let seconds = expires_in.filter(|seconds| *seconds > 0.0);
    let seconds = seconds.unwrap_or(Duration::from_secs(LIFE_DEFAULT).as_secs_f64());
    let most = Duration::from_secs(LIFE_MAX);
    Duration::try_from_secs_f64(seconds).map_or(most, |life| life.min(most))
}
