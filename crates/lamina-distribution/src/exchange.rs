//! One request at an endpoint: which scheme, redirects, and the answer to a 401.

use std::time::Duration;

use ureq::http::Method;

use crate::auth::{Authorization, Renewal, Subject, lock, unauthorized};
use crate::client::Inner;
use crate::error::FetchError;
use crate::hosts::Endpoint;
use crate::http::{Payload, Reply};
use crate::status;
use crate::url::{Scheme, Url};

/// Redirects that are followed, Go's number.
const REDIRECTS_MAX: usize = 10;
/// Times that one request is authenticated anew, where other threads do the same.
const RENEWALS_MAX: u32 = 3;
/// What is read of the answer to a probe.
const PROBE_MAX: u64 = 64 << 10;

/// A GET below a repository.
#[derive(Debug)]
pub(crate) struct Get<'a> {
    pub(crate) subject: Subject<'a>,
    /// `manifests/latest`, `blobs/sha256:…`: made of checked parts.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Any request of a registry's.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) method: Method,
    pub(crate) place: Place<'a>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Payload<'a>,
    /// How long an answer to the payload may take.
    pub(crate) patience: Duration,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// Below `/v2/` of the endpoint; made of checked parts.
    Path(String),
    /// Where the registry said that an upload goes on, perhaps at another origin: then without
    /// credentials.
    Url(&'a Url),
}

impl Inner {
    /// Sends `get` and returns the answer, whatever its status except 401 and redirects.
    pub(crate) fn get(&self, get: &Get<'_>) -> Result<Reply, FetchError> {
        self.ask(&Ask {
            subject: get.subject,
            method: Method::GET,
            place: Place::Path(format!("{}/{}", get.subject.repository, get.path)),
            headers: get.headers.clone(),
            payload: Payload::None,
            patience: self.config.timeouts.response,
        })
    }

    /// As [`Self::get`], for any method. Only what has no effect follows redirects that change the
    /// method; a payload goes again to where 307 and 308 point.
    pub(crate) fn ask(&self, ask: &Ask<'_>) -> Result<Reply, FetchError> {
        let subject = ask.subject;
        let start = self.start(ask)?;
        let mut renewed = false;
        for _ in 0..=RENEWALS_MAX {
            if self.pause.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            let authorization = self.grants.current(&self.config, &self.http, subject)?;
            let reply = self.follow(ask, &start, &authorization)?;
            if reply.status != 401 {
                return Ok(reply);
            }
            if renewed {
                return Err(self.refused(subject, reply));
            }
            let headers = reply.headers.clone();
            let seen = authorization.generation;
            let renewal = self
                .grants
                .renew(&self.config, &self.http, subject, &headers, seen)?;
            renewed = renewal == Renewal::Ours;
            // Read to its end, so that the connection can be used again.
            let _ = status::message(&self.http, reply);
        }
        Err(unauthorized(subject, "each new token is refused"))
    }

    fn start(&self, ask: &Ask<'_>) -> Result<Url, FetchError> {
        let endpoint = ask.subject.endpoint;
        let path = match &ask.place {
            Place::Path(path) => path,
            Place::Url(url) => return Ok((*url).clone()),
        };
        let url = self.base(endpoint)?;
        let url = url.join(&format!("/v2/{path}"));
        let mut url = url.map_err(|detail| FetchError::Protocol {
            host: endpoint.authority.clone(),
            detail,
        })?;
        if let Some(namespace) = &endpoint.namespace {
            url = url.with_query("ns", namespace);
        }
        Ok(url)
    }

    /// Returns `/v2/` of the endpoint: the origin that its credentials are for.
    pub(crate) fn base(&self, endpoint: &Endpoint) -> Result<Url, FetchError> {
        let scheme = self.scheme(endpoint)?;
        Url::build(scheme, &endpoint.authority, "v2/").map_err(|detail| FetchError::Protocol {
            host: endpoint.authority.clone(),
            detail,
        })
    }

    /// Returns where a `Location` leads that came in an answer from `from`, if it may be followed.
    pub(crate) fn located(
        &self,
        endpoint: &Endpoint,
        from: &Url,
        reply: &Reply,
    ) -> Result<Url, FetchError> {
        let next = joined(endpoint, from, reply)?;
        check_redirect(endpoint, &self.base(endpoint)?, from, &next)?;
        Ok(next)
    }

    fn refused(&self, subject: Subject<'_>, reply: Reply) -> FetchError {
        let detail = status::message(&self.http, reply);
        let detail = if detail.is_empty() {
            "authentication required"
        } else {
            &detail
        };
        unauthorized(subject, detail)
    }

    /// Sends the request and follows redirects. The authorization stays with the origin it is for:
    /// once a redirect has left it, it is not sent again, even back there.
    fn follow(
        &self,
        ask: &Ask<'_>,
        start: &Url,
        authorization: &Authorization,
    ) -> Result<Reply, FetchError> {
        let endpoint = ask.subject.endpoint;
        let home = self.base(endpoint)?.origin;
        let mut secret = authorization.header.as_ref();
        let mut seen = vec![start.clone()];
        let mut url = start.clone();
        loop {
            if url.origin != home {
                secret = None;
            }
            let mut headers: Vec<(&str, &str)> = ask
                .headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            if let Some(secret) = secret {
                headers.push(("authorization", secret.expose()));
            }
            let reply = self
                .http
                .send(&ask.method, &url, &headers, &ask.payload, ask.patience)?;
            if !is_redirect(&ask.method, reply.status) {
                // Its challenge is not the registry's: nothing is to be answered there.
                if reply.status == 401 && url.origin != home {
                    let detail = format!("{} asks for credentials", url.origin.authority());
                    return Err(redirect(endpoint, &detail));
                }
                return Ok(reply);
            }
            let next = joined(endpoint, &url, &reply)?;
            check_redirect(endpoint, start, &url, &next)?;
            if seen.contains(&next) {
                return Err(redirect(endpoint, "redirect loop"));
            }
            if seen.len() > REDIRECTS_MAX {
                return Err(redirect(endpoint, "too many redirects"));
            }
            seen.push(next.clone());
            url = next;
        }
    }

    /// Returns the scheme that `endpoint` answers, finding out once where both are allowed.
    fn scheme(&self, endpoint: &Endpoint) -> Result<Scheme, FetchError> {
        if let [only] = endpoint.schemes.as_slice() {
            return Ok(*only);
        }
        // Held while probing: other threads would only ask the same.
        let mut known = lock(&self.schemes);
        if let Some(scheme) = known.get(&endpoint.authority) {
            return Ok(*scheme);
        }
        let scheme = self.probe(endpoint)?;
        known.insert(endpoint.authority.clone(), scheme);
        Ok(scheme)
    }

    /// Tries the schemes in order. No credentials are involved.
    fn probe(&self, endpoint: &Endpoint) -> Result<Scheme, FetchError> {
        let mut first: Option<FetchError> = None;
        for scheme in &endpoint.schemes {
            let url = Url::build(*scheme, &endpoint.authority, "v2/").map_err(|_| {
                FetchError::Address {
                    text: endpoint.authority.clone(),
                }
            })?;
            match self.http.get(&url, &[]) {
                Ok(reply) => {
                    if !(self.wants_tls(reply) && *scheme == Scheme::Http) {
                        return Ok(*scheme);
                    }
                }
                Err(error) if is_certificate(&error) && *scheme == Scheme::Https => {
                    // It does speak TLS; whatever http said before is beside the point.
                    if endpoint.schemes[0] == Scheme::Http {
                        return Err(error);
                    }
                    first = first.or(Some(error));
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| FetchError::Protocol {
            host: endpoint.authority.clone(),
            detail: "it answers neither http nor https".to_owned(),
        }))
    }

    /// Says whether this is what servers answer to http on their https port; reads the body.
    fn wants_tls(&self, reply: Reply) -> bool {
        let suspect = reply.status == 400;
        let body = self.http.read_document(reply, "answer", PROBE_MAX);
        let text = body.unwrap_or_default().to_ascii_lowercase();
        suspect && text.windows(5).any(|word| word == b"https")
    }
}

fn is_redirect(method: &Method, status: u16) -> bool {
    match status {
        307 | 308 => true,
        // A client that followed these would have to change the method (RFC 9110, section 15.4).
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

fn joined(endpoint: &Endpoint, from: &Url, reply: &Reply) -> Result<Url, FetchError> {
    let location = reply
        .headers
        .get("location")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    from.join(location).map_err(|why| redirect(endpoint, &why))
}

/// Refuses redirects that no honest registry needs.
fn check_redirect(
    endpoint: &Endpoint,
    start: &Url,
    from: &Url,
    to: &Url,
) -> Result<(), FetchError> {
    let downgrade = to.origin.scheme == Scheme::Http
        && (from.origin.scheme == Scheme::Https || start.origin.scheme == Scheme::Https);
    if downgrade && !endpoint.allows_http() {
        return Err(redirect(endpoint, "from https to http"));
    }
    if to.origin.is_link_local() {
        return Err(redirect(endpoint, "to a link-local address"));
    }
    if to.origin.is_loopback() && !start.origin.is_loopback() {
        return Err(redirect(endpoint, "to a loopback address"));
    }
    Ok(())
}

fn redirect(endpoint: &Endpoint, detail: &str) -> FetchError {
    FetchError::Redirect {
        host: endpoint.authority.clone(),
        detail: detail.to_owned(),
    }
}

fn is_certificate(error: &FetchError) -> bool {
    let FetchError::Tls { source, .. } = error else {
        return false;
    };
    source.get_ref().is_some_and(|inner| {
        matches!(
            inner.downcast_ref::<rustls::Error>(),
            Some(rustls::Error::InvalidCertificate(_))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_neither_downgrade_nor_turn_inwards() {
        let endpoint = |schemes: &[Scheme]| Endpoint {
            authority: "r.test".to_owned(),
            credential_key: "r.test".to_owned(),
            prefix: String::new(),
            schemes: schemes.to_vec(),
            namespace: None,
            token_servers: Vec::new(),
            is_mirror: false,
        };
        let verified = endpoint(&[Scheme::Https]);
        let insecure = endpoint(&[Scheme::Https, Scheme::Http]);
        let allowed = |endpoint: &Endpoint, from: &str, to: &str| {
            let (from, to): (Url, Url) = (from.parse().unwrap(), to.parse().unwrap());
            check_redirect(endpoint, &from, &from, &to).is_ok()
        };
        let start = "https://r.test/v2/a/blobs/b";
        assert!(allowed(&verified, start, "https://cdn.test/b"));
        assert!(!allowed(&verified, start, "http://r.test/b"));
        assert!(allowed(&insecure, start, "http://r.test/b"));
        for inward in [
            "https://127.0.0.1/",
            "https://localhost/",
            "https://169.254.169.254/",
        ] {
            assert!(!allowed(&verified, start, inward), "{inward}");
            assert!(!allowed(&insecure, start, inward), "{inward}");
        }
        assert!(allowed(
            &insecure,
            "http://127.0.0.1:5000/a",
            "http://localhost:5001/b"
        ));
    }
}
